"""Run `lowres-ssl evaluate`: score a finished run's encoder, or a file of weights, again."""

from omegaconf import DictConfig

from lowres_ssl.experiment.score_run import score_run


def main(cfg: DictConfig) -> None:
    score_run(cfg)
