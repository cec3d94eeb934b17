"""Run the jobs of a sweep on joblib, submitit or Ray. Hydra takes launchers from a package of this name only.

The launchers hand the jobs over as Hydra's own plugins for these engines do, to joblib and submitit by parts of those.
What they add is what happens when a process dies: the other jobs go on, and the one that is lost counts as failed,
which every sweeper understands. Hydra imports this module whenever it starts, so it imports no engine.
"""

import os
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, ListConfig, OmegaConf


@dataclass(frozen=True)
class Job:
    """One of a sweep's: its number, and what was typed for it."""

    number: int
    overrides: list[str]


class Jobs(Launcher):
    """What the launchers share. `settings`: those of the engine, as `hydra.launcher` has them."""

    def __init__(self, **settings: Any) -> None:
        self.settings = {key: plain(value) for key, value in settings.items()}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        jobs = [Job(initial_job_idx + place, list(overrides)) for place, overrides in enumerate(job_overrides)]
        returns = self.run(jobs)
        return [returns[job.number] for job in jobs]

    @abstractmethod
    def run(self, jobs: list[Job]) -> dict[int, JobReturn]:
        """What each job came to, by its number."""

    def lost(self, job: Job, why: str) -> JobReturn:
        """What a job came to whose process is gone."""
        from lowres_ssl.sweeps.jobs import record_lost_job

        record_lost_job(self.config, job.number, job.overrides, why)
        return JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED)


class Processes(Jobs):
    """On processes of this machine, by joblib."""

    def run(self, jobs: list[Job]) -> dict[int, JobReturn]:
        from hydra_plugins.lowres_ssl._processes import run

        return run(self, jobs)


class Slurm(Jobs):
    """On a Slurm cluster, by submitit."""

    def run(self, jobs: list[Job]) -> dict[int, JobReturn]:
        from hydra_plugins.lowres_ssl._slurm import run

        return run(self, jobs, "slurm")


class SlurmLocal(Jobs):
    """As on a Slurm cluster, without one: processes that submitit starts, all at once."""

    def run(self, jobs: list[Job]) -> dict[int, JobReturn]:
        from hydra_plugins.lowres_ssl._slurm import run

        return run(self, jobs, "local")


class Ray(Jobs):
    """On a Ray cluster, which may be this machine alone."""

    def run(self, jobs: list[Job]) -> dict[int, JobReturn]:
        from lowres_ssl.errors import ConfigError

        try:
            from hydra_plugins.lowres_ssl._ray import run
        except ModuleNotFoundError as error:
            if error.name != "ray":
                raise
            raise ConfigError("Ray is not installed; type pip install 'lowres-ssl[ray]'") from error
        return run(self, jobs)


PLUGINS = (Processes, Slurm, SlurmLocal, Ray)


def plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if isinstance(value, DictConfig | ListConfig) else value


def threads_each(jobs: int) -> dict[str, str]:
    """OMP_NUM_THREADS with which so many processes share the cores of this machine; nothing where it is set."""
    if "OMP_NUM_THREADS" in os.environ:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) // jobs))}
