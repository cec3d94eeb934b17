"""Jobs on a Slurm cluster, or on this machine as if it were one, by submitit."""

import os
import shutil
from typing import Any

import submitit
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from hydra_plugins.hydra_submitit_launcher.config import BaseQueueConf
from hydra_plugins.hydra_submitit_launcher.submitit_launcher import LocalLauncher, SlurmLauncher
from submitit.core.utils import (
    FailedJobError,
    FailedSubmissionError,
    JobPaths,
    UncompletedJobError,
    environment_variables,
)

from hydra_plugins.lowres_ssl import Job, Slurm
from lowres_ssl.console import log_info, pluralise
from lowres_ssl.errors import ConfigError

SHARED = frozenset(BaseQueueConf.__dataclass_fields__)  # settings of every cluster; others go by its name
OWN = ("submitit_folder", "max_num_timeout")


def run(launcher: Slurm, jobs: list[Job]) -> dict[int, JobReturn]:
    """What each job came to, by its number. Waits until all have ended, in the queue as well.

    Raises `ConfigError` if there is no Slurm, or it does not take them.
    """
    # What submitit stores and calls in the job is Hydra's own launcher, whose `checkpoint` puts it back into the queue.
    called = (SlurmLauncher if launcher.cluster == "slurm" else LocalLauncher)(**launcher.settings)
    called.setup(hydra_context=launcher.context, task_function=launcher.task, config=launcher.config)
    state = Singleton.get_state()
    arguments = [(job.overrides, "hydra.sweep.dir", job.number, str(job.number), state) for job in jobs]
    executor = executor_of(launcher.settings, launcher.cluster)
    whom, variables = "Slurm", {}
    if launcher.cluster == "local":
        whom = "submitit, all at once"
        if "OMP_NUM_THREADS" not in os.environ:  # all share the cores of this machine
            variables["OMP_NUM_THREADS"] = str(max(1, len(os.sched_getaffinity(0)) // len(jobs)))
    logs = JobPaths.get_first_id_independent_folder(executor.folder)
    log_info(f"lowres-ssl: {pluralise(len(jobs), 'job')} to {whom}; what they say: {logs}")
    try:
        with environment_variables(**variables):
            handed = executor.map_array(called, *zip(*arguments, strict=True))
    except (FailedJobError, FailedSubmissionError) as error:
        raise ConfigError(f"Slurm did not take the jobs: {last_line(error)}; see what sbatch wants here") from error
    returns = {}
    for job, submitted in zip(jobs, handed, strict=True):
        try:
            returns[job.number] = submitted.results()[0]
        except UncompletedJobError as error:
            log = submitted.task(0).paths.stderr
            where = log if log.exists() else submitted.task(0).paths.stdout
            returns[job.number] = launcher.lost(
                job, f"its process ended without a word ({type(error).__name__}), see {where}"
            )
    return returns


def executor_of(settings: dict[str, Any], cluster: str) -> submitit.AutoExecutor:
    """submitit's executor with the launcher's settings. Raises `ConfigError` where there is no Slurm."""
    if cluster == "slurm" and shutil.which("srun") is None:
        raise ConfigError(
            "hydra/launcher=slurm: got no Slurm (no srun here), wanted a machine that submits jobs; "
            "hydra/launcher=slurm_local tries the same without"
        )
    given = {key: value for key, value in settings.items() if value is not None and key not in OWN}
    limit = {f"{cluster}_max_num_timeout": settings[OWN[1]]} if OWN[1] in settings else {}
    executor = submitit.AutoExecutor(folder=settings[OWN[0]], cluster=cluster, **limit)
    executor.update_parameters(**{key if key in SHARED else f"{cluster}_{key}": value for key, value in given.items()})
    return executor


def last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip(" -")]
    return lines[-1] if lines else type(error).__name__
