"""Run the jobs of a sweep on joblib, submitit or Ray. Hydra takes launchers from a package of this name only.

The launchers hand the jobs over as Hydra's own plugins for these engines do, to joblib and submitit by parts of those.
What they add is what happens when a process dies: the other jobs go on, and the one that is lost counts as failed,
which every sweeper understands. Hydra imports this module whenever it starts, so it imports no engine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal

from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf


@dataclass(frozen=True)
class Job:
    """One of a sweep's: its number, and what was typed for it."""

    number: int
    overrides: list[str]


class Jobs(Launcher):
    """What the launchers share. `settings`: those of the engine, as `hydra.launcher` has them."""

    engine: ClassVar[str]  # the module beside this one whose `run` returns what each job came to, by its number

    def __init__(self, **settings: Any) -> None:
        self.settings: dict[str, Any] = {
            key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
            for key, value in settings.items()
        }

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.context, self.task, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        Path(self.config.hydra.sweep.dir).mkdir(parents=True, exist_ok=True)
        jobs = [Job(initial_job_idx + place, list(overrides)) for place, overrides in enumerate(job_overrides)]
        returns = import_module(f"{__name__}.{self.engine}").run(self, jobs)
        return [returns[job.number] for job in jobs]

    def lost(self, job: Job, why: str) -> JobReturn:
        """What a job came to whose process is gone."""
        from lowres_ssl.sweeps import record_lost_job

        record_lost_job(self.config, job.number, job.overrides, why)
        return JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED)


class Processes(Jobs):
    """On processes of this machine, by joblib."""

    engine = "_processes"


class Slurm(Jobs):
    """On a Slurm cluster, by submitit."""

    engine = "_slurm"
    cluster: ClassVar[Literal["slurm", "local"]] = "slurm"


class SlurmLocal(Slurm):
    """As on a Slurm cluster, without one: processes that submitit starts, all at once."""

    cluster = "local"


class Ray(Jobs):
    """On a Ray cluster, which may be this machine alone."""

    engine = "_ray"


PLUGINS = (Processes, Slurm, SlurmLocal, Ray)
