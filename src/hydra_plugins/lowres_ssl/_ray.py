"""Jobs on a Ray cluster, which may be this machine alone. Ray queues them, places them and tries them again."""

import os
import sys
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # else Ray reports home
os.environ.setdefault("RAY_DEDUP_LOGS", "0")  # else lines that two jobs print alike are shown once
# How often a job is tried again that Ray stops since the machine runs out of memory: for ever unless it is set here,
# by whoever hands the job over, whichever cluster it is handed to.
os.environ.setdefault("RAY_task_oom_retries", "3")
if "NO_COLOR" in os.environ or not sys.stderr.isatty():
    os.environ.setdefault("RAY_COLOR_PREFIX", "0")

from hydra.core.hydra_config import HydraConfig
from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, run_job, setup_globals
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from hydra_plugins.lowres_ssl import Job, Jobs
from lowres_ssl.errors import ConfigError

try:
    import ray
    from ray.exceptions import RayError, RayTaskError
except ModuleNotFoundError as error:
    if error.name != "ray":
        raise
    raise ConfigError("Ray is not installed; type pip install 'lowres-ssl[ray]'") from error

# Of whoever types the sweep: where things are, and that it is to be quiet.
HANDED_ON = ("LOWRES_SSL_DATA", "LOWRES_SSL_OUTPUTS", "LOWRES_SSL_QUIET")


def run(launcher: Jobs, jobs: list[Job]) -> dict[int, JobReturn]:
    """What each job came to, by its number. Raises `ConfigError` if there is no cluster, or none that could run one."""
    settings = launcher.settings["ray"]
    join(settings["init"])
    check_fits(settings["remote"])
    remote = ray.remote(**settings["remote"])(job)
    variables = {name: os.environ[name] for name in HANDED_ON if name in os.environ}
    state = Singleton.get_state()
    folder, context, task = str(Path.cwd()), launcher.context, launcher.task
    handed = [remote.remote(folder, variables, context, configured(launcher, each), task, state) for each in jobs]
    returns = {}
    for each, reference in zip(jobs, handed, strict=True):
        try:
            returns[each.number] = ray.get(reference)
        except RayTaskError as error:  # not in the job, which raises nothing: before it
            returns[each.number] = launcher.lost(each, f"it could not be begun there: {str(error).splitlines()[-1]}")
        except RayError as error:
            returns[each.number] = launcher.lost(each, f"its process ended without a word ({type(error).__name__})")
    return returns


def join(settings: dict[str, Any]) -> None:
    """Start a cluster, or join the one that is there; another batch of the same sweep finds it joined."""
    if ray.is_initialized():
        return
    try:
        ray.init(**settings)
    except ConnectionError as error:
        raise ConfigError(
            f"hydra.launcher.ray.init.address={settings.get('address')}: got no answer, wanted a Ray cluster; "
            "start one with ray start --head (with a token it wants RAY_AUTH_MODE=token), or type "
            "hydra/launcher=ray_local"
        ) from error


def check_fits(wanted: dict[str, Any]) -> None:
    """Raises `ConfigError` if no machine of the cluster has what one job asks for: it would wait for ever."""
    fitting = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    among = "no machine of the cluster"
    for key, resource, hint in (("num_gpus", "GPU", "0"), ("num_cpus", "CPU", "1")):
        share = wanted.get(key, 0)
        most = max((node.get(resource, 0.0) for node in fitting), default=0.0)
        if share > most:
            raise ConfigError(
                f"hydra.launcher.ray.remote.{key}={share}: {among} has more than {most:g}; "
                f"type hydra.launcher.ray.remote.{key}={hint}"
            )
        fitting = [node for node in fitting if node.get(resource, 0.0) >= share]
        among = f"{among} with {key}={share}" if share else among


def configured(launcher: Jobs, job: Job) -> DictConfig:
    config = launcher.context.config_loader.load_sweep_config(launcher.config, job.overrides)
    with open_dict(config):
        config.hydra.job.id = f"{config.hydra.job.name}_{job.number}"
        config.hydra.job.num = job.number
    return config


def job(
    folder: str,
    variables: dict[str, str],
    context: HydraContext,
    config: DictConfig,
    task: TaskFunction,
    state: Any,
) -> JobReturn:
    """In a process of Ray, on whichever machine: the job, in the folder and with the places of whoever typed it."""
    os.chdir(folder)
    os.environ.update(variables)
    setup_globals()
    Singleton.set_state(state)
    HydraConfig.instance().set_config(config)
    return run_job(
        hydra_context=context,
        task_function=task,
        config=config,
        job_dir_key="hydra.sweep.dir",
        job_subdir_key="hydra.sweep.subdir",
    )
