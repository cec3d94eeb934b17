"""Checkpoints by time and beside the loop: when one is due, what is in it, and what becomes of a write that fails."""

import errno
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from experiments import STEPS, Make
from fake_cuda import fake_cuda

from lowres_ssl.errors import LockLostError
from lowres_ssl.io.atomic import get_previous_path
from lowres_ssl.train.checkpoint import CheckpointWriter, copy_to_host, load_state, save_state
from lowres_ssl.train.state import TrainingState

SAVE = "lowres_ssl.train.checkpoint.save_state"


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr("lowres_ssl.train.checkpoint.time", made)
    return made


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """No thread writes before it is set."""
    opened = threading.Event()

    def save(path: Path, content: dict[str, Any]) -> None:
        if threading.current_thread() is not threading.main_thread():
            assert opened.wait(60)
        save_state(path, content)

    monkeypatch.setattr(SAVE, save)
    yield opened
    opened.set()


def test_a_copy_is_due_so_much_before_its_time_as_the_last_write_took(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(path: Path, content: dict[str, Any]) -> None:
        clock.now += 7

    monkeypatch.setattr(SAVE, slow)
    with CheckpointWriter(tmp_path / "checkpoint.pt", 60) as saver:
        clock.now += 59
        assert not saver.is_due()
        clock.now += 1
        assert saver.is_due()
        saver.begin({})
        saver.wait()  # 7 seconds old now
        clock.now += 45
        assert not saver.is_due()
        clock.now += 1
        assert saver.is_due()  # written, it will be 60 seconds after the one before


def test_what_is_written_is_what_was_there_when_it_was_copied(tmp_path: Path, gate: threading.Event) -> None:
    kernel = torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last)
    content = {"model": {"kernel": kernel}, "sums": [kernel[0, 0, 0]], "epoch": 3}
    with CheckpointWriter(tmp_path / "checkpoint.pt", 0) as saver:
        saver.begin(content)
        assert not saver.is_due()  # while it is being written
        kernel.zero_()
        content["epoch"] = 4
        gate.set()
    found = load_state(tmp_path / "checkpoint.pt")
    assert torch.equal(found["model"]["kernel"], torch.arange(24.0).view(1, 2, 3, 4))
    assert found["model"]["kernel"].stride() == kernel.stride()
    assert torch.equal(found["sums"][0], torch.arange(4.0))
    assert found["epoch"] == 3


def test_the_state_at_a_stop_is_the_newest_whatever_was_being_written(tmp_path: Path, gate: threading.Event) -> None:
    path = tmp_path / "checkpoint.pt"
    with CheckpointWriter(path, 0) as saver:
        saver.begin({"epoch": 1})
        threading.Timer(0.2, gate.set).start()
        saver.save({"epoch": 2})
    assert (load_state(path)["epoch"], load_state(get_previous_path(path))["epoch"]) == (2, 1)


def full(path: Path, content: dict[str, Any]) -> None:
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_a_write_that_fails_is_raised_once_at_the_next_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SAVE, full)
    with CheckpointWriter(tmp_path / "checkpoint.pt", 0) as saver:
        saver.begin({})
        saver.wait()
        with pytest.raises(OSError, match="No space left on device"):
            saver.is_due()
        assert saver.is_due()


def test_a_last_write_that_fails_is_raised_at_the_end_and_hides_no_other_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SAVE, full)
    with (
        pytest.raises(OSError, match="No space left on device"),
        CheckpointWriter(tmp_path / "checkpoint.pt", 0) as saver,
    ):
        saver.begin({})
    with pytest.raises(MemoryError), CheckpointWriter(tmp_path / "checkpoint.pt", 0) as saver:
        fail_beside(saver)


def fail_beside(saver: CheckpointWriter) -> None:
    saver.begin({})
    raise MemoryError


def test_a_stop_is_saved_though_the_write_before_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SAVE, full)
    with CheckpointWriter(tmp_path / "checkpoint.pt", 0) as saver:
        saver.begin({"epoch": 1})
        saver.wait()
        monkeypatch.setattr(SAVE, save_state)
        saver.save({"epoch": 2})
    assert load_state(tmp_path / "checkpoint.pt")["epoch"] == 2


def test_copying_from_a_gpu_waits_for_nothing() -> None:
    with fake_cuda() as gpu:
        kernel = torch.empty(8, 3, 5, 5, device="cuda").to(memory_format=torch.channels_last)
        copy = copy_to_host({"model": {"kernel": kernel}, "sums": [kernel.sum()]})
        assert (gpu.count("copy"), gpu.count("wait")) == (2, 0)
        assert {copy["model"]["kernel"].device.type, copy["sums"][0].device.type} == {"cpu"}
        assert copy["model"]["kernel"].stride() == kernel.stride()


@pytest.mark.gpu
def test_what_is_written_of_a_gpu_is_what_was_there_when_it_was_copied(tmp_path: Path) -> None:
    kernel = torch.rand(64, 3, 7, 7, device="cuda").to(memory_format=torch.channels_last)
    before = kernel.cpu()
    with CheckpointWriter(tmp_path / "checkpoint.pt", 0) as saver:
        for _ in range(100):  # what the copy has to wait for
            kernel.mul_(1)
        saver.begin({"kernel": kernel})
        kernel.zero_()
    assert torch.equal(load_state(tmp_path / "checkpoint.pt")["kernel"], before)


def test_training_goes_on_while_a_checkpoint_is_written(experiment: Make, gate: threading.Event) -> None:
    """The first one, after the first step, takes as long as the training."""
    run = experiment(training={"checkpoint_seconds": 0})
    run.after_epoch = lambda: gate.set() if len(run.histories) == 3 else None
    assert len(run.run().history) == 3
    assert load_state(run.checkpoint)["meter"]["steps"] == 1
    assert not get_previous_path(run.checkpoint).exists()


@pytest.mark.parametrize("seconds", [30, 60])
def test_within_an_epoch_as_well_a_state_is_never_older_than_it_may_be(
    experiment: Make, clock: Clock, seconds: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of steps that take 10 seconds each."""
    taken: list[int] = []
    content = TrainingState.content

    def noted(state: TrainingState, *args: Any) -> dict[str, Any]:
        taken.append(state.epoch * STEPS + state.meter.steps)
        return content(state, *args)

    monkeypatch.setattr(TrainingState, "content", noted)
    monkeypatch.setattr(
        CheckpointWriter, "begin", lambda saver, content: (saver.save(content), setattr(saver, "copied", clock.now))
    )
    run = experiment(training={"checkpoint_seconds": seconds})
    for step in range(3 * STEPS):
        run.at_call(2 * step + 1, lambda _: setattr(clock, "now", clock.now + 10))
    run.run()
    assert taken == list(range(seconds // 10, 3 * STEPS, seconds // 10))


@pytest.mark.parametrize("seconds", [0, 60])
def test_a_run_that_another_process_has_taken_over_writes_no_checkpoint(experiment: Make, seconds: int) -> None:
    """Neither by time, which may be long before the end of an epoch, nor at a stop."""
    run = experiment(training={"checkpoint_seconds": seconds})

    def refuse() -> None:
        raise LockLostError("taken over")

    run.before_saving = refuse
    run.at_call(2, lambda _: os.kill(os.getpid(), signal.SIGTERM) if seconds else None)
    with pytest.raises(LockLostError):
        run.run()
    assert not run.checkpoint.exists()
