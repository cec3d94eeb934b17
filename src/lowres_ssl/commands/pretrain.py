"""Run `lowres-ssl pretrain`: train an encoder on the training images, or find it finished, then score it."""

from omegaconf import DictConfig

from lowres_ssl.config.check import read_experiment
from lowres_ssl.config.experiment_schema import PretrainConfig
from lowres_ssl.experiment.train_run import run_main_rank, run_worker_rank
from lowres_ssl.train.world import join_world


def main(cfg: DictConfig) -> float | None:
    """Return the score that a search maximises; None for a run without one."""
    with join_world() as processes:
        if processes.is_main:
            return run_main_rank(read_experiment(cfg, PretrainConfig), processes)
        run_worker_rank(cfg, processes)
        return None
