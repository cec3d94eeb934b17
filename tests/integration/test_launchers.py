"""Sweeps on other processes, by joblib, submitit and Ray; one of which is killed in the middle of a run.

Each sweep is typed in a process of its own, as a user does: joblib keeps its workers, and Ray its cluster, as long as
the process lives.
"""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import fake_slurm
import pytest
from small_runs import SMALL
from typed import Answer, Command, history_of, listed, the_run

from lowres_ssl.io.locks import get_lock_path
from lowres_ssl.train.checkpoint import load_latest_state, read_epochs_done

# Long enough to be in the middle of a run when its first epoch is saved.
TRAINING = ("dataset=folder", *SMALL, "evaluate=false", "checkpoint_seconds=0", "epochs=20")
PATIENCE = 600  # seconds, on a busy machine


@dataclass(frozen=True)
class Sweep:
    """A sweep that was typed, and may still be running."""

    folder: Path
    process: "subprocess.Popen[str]"

    def run_of(self, seed: int) -> Path:
        """The folder of the run with this seed. Waits until an epoch of it is in a checkpoint."""
        patience = time.monotonic() + PATIENCE
        while time.monotonic() < patience:
            ended = self.process.poll() is not None
            for run in self.folder.glob(f"outputs/pretrain/*-s{seed}-*"):
                # A run killed between two renames has its state in the file of the one before alone.
                if read_epochs_done(run / "checkpoint.pt"):
                    return run
            if ended:
                break
            time.sleep(0.02)
        raise AssertionError(f"the run of seed {seed} is not to be seen: {self.process.communicate()}")

    def send(self, number: int, seed: int) -> None:
        """Send a signal to the process that trains with this seed, in the middle of its run."""
        os.kill(pid_of(self.run_of(seed)), number)

    def end(self, code: int = 0) -> Answer:
        """Wait for the end, with this exit code."""
        answer = Answer(*self.process.communicate(timeout=PATIENCE))
        assert self.process.returncode == code, answer.err
        return answer

    def finished(self) -> list[int]:
        """The seeds of the finished runs."""
        described = [json.loads(path.read_text()) for path in self.folder.glob("outputs/pretrain/*/run.json")]
        return sorted(run["config"]["seed"] for run in described if run["outcome"])


def pid_of(run: Path) -> int:
    """The process that works on a run."""
    holder = re.search(r"^pid=(\d+)$", get_lock_path(run).read_text(), re.MULTILINE)
    assert holder is not None
    return int(holder[1])


def processes_like(pid: int) -> list[int]:
    """Those that the same process started as this one."""
    found = subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True, check=True)
    parent = found.stdout.strip()
    alike = subprocess.run(["ps", "-o", "pid=", "--ppid", parent], capture_output=True, text=True, check=True)
    return [int(word) for word in alike.stdout.split()]


Typing = Callable[..., Sweep]


@pytest.fixture
def type_sweep(tmp_path: Path, cells: Path) -> Iterator[Typing]:
    started = []

    def type_it(*overrides: str) -> Sweep:
        command = [sys.executable, "-m", "lowres_ssl", "pretrain", "-m", *TRAINING, *overrides]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        for name in ("LOWRES_SSL_DATA", "LOWRES_SSL_OUTPUTS"):
            environment.pop(name, None)
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        started.append(process)
        return Sweep(tmp_path, process)

    yield type_it
    for process in started:
        process.terminate()
        process.communicate()


def test_a_killed_process_of_joblib_leaves_the_rest_of_the_sweep_alone(type_sweep: Typing, lowres_ssl: Command) -> None:
    """It takes the job beside it along, joblib wills it; both are told with their commands, and go on from there."""
    sweep = type_sweep("hydra/launcher=processes", "seed=0,1,2")
    sweep.send(signal.SIGKILL, seed=1)
    answer = sweep.end(code=1)
    assert "Traceback" not in answer.err
    commands = [command for command, _ in listed(answer.err)]
    lost = [int(word[-1]) for command in commands for word in shlex.split(command) if word.startswith("seed=")]
    assert set(lost) in ({1}, {0, 1})
    assert sorted([*sweep.finished(), *lost]) == [0, 1, 2]
    saved = load_latest_state(sweep.run_of(1) / "checkpoint.pt")
    assert saved is not None
    lowres_ssl(*shlex.split(commands[lost.index(1)])[1:])
    assert 1 in sweep.finished()
    lines = history_of(the_run("*-s1-*", sweep.folder))
    assert lines[: saved["epoch"]] == saved["history"] != []  # seconds among it: it was not begun anew


@pytest.mark.slow
def test_what_other_processes_failed_at_or_foretold_is_told_at_the_end(type_sweep: Typing) -> None:
    answer = type_sweep("hydra/launcher=processes", "batch_size=1,4,8", "dry_run=true").end(code=2)
    ((command, message),) = listed(answer.err)
    assert "batch_size=1" in shlex.split(command)
    assert "compare the images of a batch" in message
    assert answer.out.strip().splitlines()[-1].startswith("2 runs: 0 finished or with nothing to train, 2 to go; ")


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["slurm_local", "slurm"])
def test_submitit_puts_a_preempted_job_back_and_tells_of_a_killed_one(
    type_sweep: Typing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    """2 is sent what Slurm sends before it takes a machine; 1 is killed. "slurm": by the script that it would run."""
    more = []
    if launcher == "slurm":
        fake_slurm.set_up(tmp_path / "slurm", monkeypatch)
        more = ["hydra.launcher.cpus_per_task=1"]
    # Long enough for both to be in the middle of their runs.
    sweep = type_sweep(f"hydra/launcher={launcher}", *more, "seed=1,2", "epochs=40")
    sweep.send(signal.SIGTERM, seed=2)
    sweep.send(signal.SIGUSR2, seed=2)
    sweep.send(signal.SIGKILL, seed=1)
    answer = sweep.end(code=1)
    assert "Traceback" not in answer.err
    ((command, _),) = listed(answer.err)
    assert "seed=1" in command
    assert sweep.finished() == [2]
    logs = [path.read_text() for path in sweep.folder.glob("outputs/sweeps/*/.submitit/*/*_log.out")]
    (requeued,) = [log for log in logs if "Requeued job" in log]
    assert "Bypassing signal SIGTERM" in requeued
    assert requeued.count("Starting with ") == 2
    assert requeued.count("epoch 1/40") <= 1


@pytest.mark.slow
def test_tasks_of_a_slurm_job_make_one_run_and_are_put_back_together(
    type_sweep: Typing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two tasks a job. Both are sent what Slurm sends; the run goes on, as one of two processes."""
    fake_slurm.set_up(tmp_path / "slurm", monkeypatch)
    tasks = ("hydra.launcher.cpus_per_task=1", "hydra.launcher.tasks_per_node=2", "device=cpu")
    sweep = type_sweep("hydra/launcher=slurm", *tasks, "seed=0,1")
    run = sweep.run_of(1)
    leader = pid_of(run)
    (other,) = [pid for pid in processes_like(leader) if pid != leader]
    for pid in (other, leader):
        os.kill(pid, signal.SIGUSR2)
    sweep.end()
    assert sweep.finished() == [0, 1]
    assert json.loads((run / "run.json").read_text())["outcome"]["processes"] == 2
    logs = [path.read_text() for path in sweep.folder.glob("outputs/sweeps/*/.submitit/*/*_0_log.out")]
    assert sorted(log.count("Requeued job") for log in logs) == [0, 1]


# Two workers on two processors.
RAY = (
    "hydra/launcher=ray_local",
    "hydra.launcher.ray.remote.num_gpus=0",
    "hydra.launcher.ray.remote.num_cpus=1",
    "+hydra.launcher.ray.init.num_cpus=2",
)


@pytest.mark.slow
@pytest.mark.parametrize("retries", [3, 0])
def test_ray_tries_the_job_of_a_killed_worker_again_or_tells_of_it(type_sweep: Typing, retries: int) -> None:
    pytest.importorskip("ray")
    sweep = type_sweep(*RAY, f"hydra.launcher.ray.remote.max_retries={retries}", "seed=0,1,2")
    sweep.send(signal.SIGKILL, seed=1)
    lost = listed(sweep.end(code=0 if retries else 1).err)
    assert ["seed=1" in command for command, _ in lost] == ([] if retries else [True])
    assert sweep.finished() == ([0, 1, 2] if retries else [0, 2])


@pytest.mark.slow
def test_optuna_is_given_the_validation_accuracy_of_knn(type_sweep: Typing) -> None:
    """Of three trials one cannot train: its warm-up is longer than the training."""
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    sweep = type_sweep(
        "hydra/sweeper=search",
        "hydra.sweeper.n_trials=3",
        "evaluate=true",
        "probe=[knn]",
        "epochs=1",
        "warmup_epochs=9,0,1",
        "learning_rate=tag(log,interval(0.001,0.1))",
    )
    answer = sweep.end(code=2)
    failed = listed(answer.err)
    assert all("warmup_epochs=9" in command for command, _ in failed)
    results = [
        json.loads(path.read_text()) for path in sweep.folder.glob("outputs/pretrain/*simclr*/knn-*/result.json")
    ]
    assert len(results) == 3 - len(failed) == 2
    best = max(result["validation"]["accuracy"] for result in results)
    said = re.search(
        r"best validation accuracy of KNN: (\S+), by\nlowres-ssl pretrain .*learning_rate=(\S+)", answer.out
    )
    assert said is not None
    assert float(said[1]) == pytest.approx(best, abs=1e-4)
    scored = {result["config"]["learning_rate"]: result["validation"]["accuracy"] for result in results}
    assert scored[float(said[2])] == best


@pytest.mark.slow
def test_a_search_without_a_score_is_refused_before_the_work(type_sweep: Typing) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper")
    answer = type_sweep("hydra/sweeper=search", "hydra.sweeper.n_trials=1", "epochs=1,2").end(code=1)
    assert "evaluate=false: the search is for the validation accuracy of KNN" in answer.err
    assert "the search has found nothing" in answer.last_line
