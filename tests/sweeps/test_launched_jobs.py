"""What becomes of jobs that launchers hand on, with made-up jobs and engines."""

import importlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from hydra_plugins.lowres_ssl import Job, Processes
from lowres_ssl.errors import ConfigError
from lowres_ssl.io.atomic import write_json
from lowres_ssl.sweeps import FAILURE_NOTE, Failure, get_note_path, iter_failures, print_found, record_lost_job

FOR_EVER = 600  # seconds


def sweep_in(folder: Path, **more: Any) -> DictConfig:
    hydra = {"sweep": {"dir": str(folder)}, "job": {"config_name": "pretrain"}}
    return OmegaConf.create({"hydra": hydra} | more)


def launch(jobs: int, folder: Path, timeout: float) -> Sequence[JobReturn]:
    """Start so many jobs, `seed=0` and so on, on processes of joblib."""
    launcher = Processes(n_jobs=2, batch_size=1, pre_dispatch="n_jobs", timeout=timeout)
    launcher.setup(hydra_context=None, task_function=None, config=sweep_in(folder))
    return launcher.launch([[f"seed={number}"] for number in range(jobs)], 0)


def test_jobs_of_joblib_that_run_too_long_are_told_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _processes = pytest.importorskip("hydra_plugins.lowres_ssl._processes")

    def made_up(job: Job, *_: object) -> tuple[int, JobReturn]:
        if job.number < 2:
            time.sleep(FOR_EVER)
        return job.number, JobReturn(overrides=job.overrides, status=JobStatus.COMPLETED, _return_value=job.number)

    monkeypatch.setattr(_processes, "numbered", made_up)
    started = time.monotonic()
    returns = launch(4, tmp_path, timeout=6)
    assert time.monotonic() - started < FOR_EVER / 4
    assert [returned._return_value for returned in returns] == [None, None, 2, 3]
    failures = list(iter_failures(tmp_path))
    assert [failure.command for failure in failures] == ["lowres-ssl pretrain seed=0", "lowres-ssl pretrain seed=1"]
    assert {failure.message for failure in failures} == {
        "ran longer than hydra.launcher.timeout=6 s; the same command goes on from what was saved"
    }


def test_time_limit_of_nothing_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.lowres_ssl._processes")
    with pytest.raises(ConfigError, match=r"^hydra\.launcher\.timeout=0: "):
        launch(1, tmp_path, timeout=0)


@pytest.fixture
def on_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The launcher's module for Ray, with a stand-in for Ray itself."""
    ray, exceptions = ModuleType("ray"), ModuleType("ray.exceptions")
    for name in ("RayError", "RayTaskError"):
        setattr(exceptions, name, type(name, (Exception,), {}))
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", exceptions)
    name, variables = "hydra_plugins.lowres_ssl._ray", dict(os.environ)
    real = sys.modules.pop(name, None)
    yield importlib.import_module(name)
    for variable in set(os.environ) - set(variables):
        del os.environ[variable]
    del sys.modules[name]
    if real is not None:
        sys.modules[name] = real


def node(alive: bool = True, **resources: float) -> dict[str, Any]:
    return {"Alive": alive, "Resources": resources}


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([node(CPU=64.0), node(CPU=2.0, GPU=1.0)], None),
        # Two machines that have a half each are none that has it: the job would wait for ever.
        ([node(CPU=64.0), node(CPU=1.0, GPU=1.0)], "num_cpus=2: no machine of the cluster with num_gpus=1 has more"),
        ([node(alive=False, CPU=2.0, GPU=1.0), node(CPU=2.0)], "num_gpus=1: no machine of the cluster has more than 0"),
        ([], "num_gpus=1: no machine of the cluster has more than 0; type hydra.launcher.ray.remote.num_gpus=0"),
    ],
)
def test_job_that_no_one_machine_of_a_ray_cluster_can_run_is_refused(
    on_ray: ModuleType, nodes: list[dict[str, Any]], said: str | None
) -> None:
    on_ray.ray.nodes = lambda: nodes
    wanted = {"num_gpus": 1, "num_cpus": 2}
    with nullcontext() if said is None else pytest.raises(ConfigError, match=said):
        on_ray.check_fits(wanted)


@pytest.mark.usefixtures("on_ray")
def test_job_that_ray_stops_for_memory_is_not_tried_again_for_ever() -> None:
    """On whichever cluster: it is a variable of the process that hands the jobs over."""
    assert ("RAY_task_oom_retries", "3") in os.environ.items()


def test_failures_come_in_the_order_of_the_jobs_whoever_was_first(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        write_json(get_note_path(tmp_path, FAILURE_NOTE, number), asdict(Failure(f"job {number}", "why", 3)))
    write_json(get_note_path(tmp_path, "other", 0), {"anything": 1})
    assert [failure.command for failure in iter_failures(tmp_path)] == ["job 1", "job 2", "job 10"]


def test_dead_job_is_noted_with_its_command_unless_it_left_a_note(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = Failure("lowres-ssl pretrain method=dcl", "batch_size=1: too few", 2)
    write_json(get_note_path(tmp_path, FAILURE_NOTE, 0), asdict(said))
    record_lost_job(sweep_in(tmp_path), 0, ["method=dcl"], "it was killed")
    record_lost_job(sweep_in(tmp_path), 4, ["method=dcl", "dataset.root=my cells"], "it was killed")
    first, second = iter_failures(tmp_path)
    assert first == said
    assert second.command == "lowres-ssl pretrain method=dcl 'dataset.root=my cells'"
    assert second.message == "it was killed; the same command goes on from what was saved"
    assert second.exit_code == 1
    assert "job 4: it was killed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("fractions", "labels"), [([1.0], ""), ([0.1, 1.0], ""), ([0.1, 0.5], " with 50% of the labels")]
)
def test_what_was_found_is_a_result_also_where_it_is_to_be_quiet(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fractions: list[float],
    labels: str,
) -> None:
    monkeypatch.setenv("LOWRES_SSL_QUIET", "1")
    found = {"name": "optuna", "best_params": {"learning_rate": 0.01}, "best_value": 0.75}
    OmegaConf.save(OmegaConf.create(found), tmp_path / "optimization_results.yaml")
    task = ["dataset=breast", "learning_rate=tag(log,interval(0.001,0.1))"]
    print_found(OmegaConf.merge(sweep_in(tmp_path, label_fraction=fractions), {"hydra": {"overrides": {"task": task}}}))
    best, command = capsys.readouterr().out.splitlines()
    assert best == f"best validation accuracy of KNN{labels}: 0.7500, by"
    assert command == "lowres-ssl pretrain dataset=breast learning_rate=0.01"
