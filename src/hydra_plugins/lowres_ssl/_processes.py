"""Jobs on processes of this machine, by joblib."""

from concurrent.futures.process import BrokenProcessPool
from multiprocessing import TimeoutError as TookTooLong

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn
from hydra_plugins.hydra_joblib_launcher._core import execute_job, process_joblib_cfg
from joblib import Parallel, delayed, effective_n_jobs

from hydra_plugins.lowres_ssl import Job, Jobs
from lowres_ssl.errors import ConfigError

KILLED = "its process was killed (out of memory?), or ended with one that was, as processes of joblib do"
OUT_OF_TIME = "ran longer than hydra.launcher.timeout={:g} s"


def run(launcher: Jobs, jobs: list[Job]) -> dict[int, JobReturn]:
    """What each job came to, by its number.

    joblib gives up everything when a process dies, or when none has finished a job for `timeout` seconds. So those that
    were running count as lost, and the others go to new processes. Raises `ConfigError` for a `timeout` of nothing.
    """
    timeout = launcher.settings["timeout"]
    if timeout is not None and timeout <= 0:
        raise ConfigError(
            f"hydra.launcher.timeout={timeout:g}: wanted more than 0 seconds; type hydra.launcher.timeout=null for no "
            "limit"
        )
    settings = launcher.settings | {"backend": "loky", "return_as": "generator_unordered"}
    process_joblib_cfg(settings)
    at_once = effective_n_jobs(settings["n_jobs"])
    state = Singleton.get_state()
    returns: dict[int, JobReturn] = {}
    waiting = jobs
    while waiting:
        try:
            for number, returned in Parallel(**settings)(
                delayed(numbered)(job, launcher.context, launcher.config, launcher.task, state) for job in waiting
            ):
                returns[number] = returned
        except (BrokenProcessPool, TookTooLong) as error:
            why = KILLED if isinstance(error, BrokenProcessPool) else OUT_OF_TIME.format(timeout)
            running = [job for job in waiting if job.number not in returns][:at_once]
            returns |= {job.number: launcher.lost(job, why) for job in running}
        waiting = [job for job in waiting if job.number not in returns]
    return returns


def numbered(job: Job, *rest: object) -> tuple[int, JobReturn]:
    """In a process of joblib: the job's number and what it came to."""
    return job.number, execute_job(job.number, job.overrides, *rest)
