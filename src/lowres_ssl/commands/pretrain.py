"""`lowres-ssl pretrain`: an encoder from the training images, found finished, resumed or trained; then its scores."""

from omegaconf import DictConfig

from lowres_ssl.experiment.train_run import run_main_rank, run_worker_rank
from lowres_ssl.train.world import join_world


def main(cfg: DictConfig) -> float | None:
    """The score that a search maximises; none of a run that was not scored by it."""
    with join_world() as processes:
        if processes.is_main:
            return run_main_rank(cfg, processes)
        run_worker_rank(cfg, processes)
        return None
