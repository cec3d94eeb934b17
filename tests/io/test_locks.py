"""Locks between real processes: waiting, dying, standing still, taking over."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lowres_ssl.io import locks
from lowres_ssl.io.locks import get_lock_path, lock

SILENCE = 2.0  # instead of two minutes; a heartbeat each fifth of it
PROGRAM = f"""
import sys, time
from pathlib import Path
from lowres_ssl.io import locks
from lowres_ssl.errors import LockLostError
locks.EXPIRY_SECONDS, locks.HEARTBEAT_SECONDS, locks.POLL_SECONDS = {SILENCE}, {SILENCE / 5}, 0.02
run = Path(sys.argv[1])
with locks.lock(run, "the run") as hold:
"""
# Prints when it has the lock and whether it lost it, and keeps it until a line comes.
HOLDER = f"""{PROGRAM}
    print("held", flush=True)
    sys.stdin.readline()
    try:
        hold.check()
    except LockLostError as error:
        print(error, flush=True)
"""
# Does its work, which takes a moment, unless it is done: a line in the file is a time that it was done.
WORKER = f"""{PROGRAM}
    if not run.exists():
        time.sleep(0.2)
        with run.with_suffix(".done").open("a") as file:
            file.write("once\\n")
        run.touch()
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "EXPIRY_SECONDS", SILENCE)
    monkeypatch.setattr(locks, "HEARTBEAT_SECONDS", SILENCE / 5)
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.02)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "a-run-1234abcd"


@pytest.fixture
def holder(run: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of `run`."""
    process = started(HOLDER, run)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def started(program: str, run: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", program, str(run)], stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def test_one_thread_may_nest_it_and_it_leaves_nothing(run: Path) -> None:
    with lock(run, "the run") as outer:
        with lock(run, "the run") as inner:
            inner.check()
        outer.check()
        assert get_lock_path(run).exists()
    with pytest.raises(RuntimeError, match="within"), lock(run, "the run"):
        raise RuntimeError("within")
    assert list(run.parent.iterdir()) == []


def test_the_second_waits_and_prints_once_for_whom(run: Path, holder: subprocess.Popen[str]) -> None:
    second = started(WORKER, run)
    assert second.stderr is not None
    printed = second.stderr.readline()
    time.sleep(1.5 * SILENCE)  # as long as the heart beats, no time is too long
    assert second.poll() is None
    assert not run.exists()
    holder.communicate("go on\n")
    assert second.wait(10) == 0
    assert run.exists()
    assert f", process {holder.pid}, works on it; waiting for that to end" in printed
    assert second.communicate()[1] == ""


def test_a_dead_holder_is_succeeded_at_once(run: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    assert get_lock_path(run).exists()
    started_waiting = time.monotonic()
    with lock(run, "the run") as hold:
        hold.check()
    assert time.monotonic() - started_waiting < SILENCE / 2


def test_of_many_who_find_a_dead_holder_one_does_the_work(run: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    workers = [started(WORKER, run) for _ in range(6)]
    for worker in workers:
        _, printed = worker.communicate()
        assert worker.returncode == 0, printed
    assert run.with_suffix(".done").read_text() == "once\n"
    assert not get_lock_path(run).exists()


def test_a_holder_whose_heart_stopped_is_succeeded_and_knows_it(run: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGSTOP)
    started_waiting = time.monotonic()
    with lock(run, "the run") as hold:
        waited = time.monotonic() - started_waiting
        assert 0.7 * SILENCE < waited < 3 * SILENCE
        holder.send_signal(signal.SIGCONT)
        printed, _ = holder.communicate("go on\n")
        assert printed.startswith("the run: taken over by ")
        assert "stood still for more than 2 s; type the same command again" in printed
        hold.check()  # what the other released was not this lock
        assert get_lock_path(run).exists()


@pytest.mark.parametrize("name", ["ä" * 127, "a" * 250 + "-1234", "with a space"])
def test_long_and_odd_names_have_locks(tmp_path: Path, name: str) -> None:
    with lock(tmp_path / name, name) as hold:
        hold.check()
    assert get_lock_path(tmp_path / f"{'a' * 250}-1234") != get_lock_path(tmp_path / f"{'a' * 250}-1235")


def test_a_link_to_a_folder_has_the_lock_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("there")
    assert get_lock_path(tmp_path / "link") == get_lock_path(tmp_path / "there")
