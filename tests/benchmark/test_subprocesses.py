"""Commands in processes of their own: how they end, what they leave in the log, and that a signal reaches them once."""

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

import pytest

from lowres_ssl.benchmark import runner
from lowres_ssl.benchmark.runner import read_last_line, run_subprocess
from lowres_ssl.errors import Interrupted

# Says when it is ready, writes down each signal that it gets, ends a little after the first.
RECORDER = """
import signal, sys, time
got = []
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, frame: got.append(number))
print("ready", flush=True)
while not got:
    time.sleep(0.01)
time.sleep(0.3)
print("got", *map(int, got), flush=True)
sys.exit(130)
"""


@pytest.fixture
def recorder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "CLI_COMMAND", (sys.executable, "-SE", "-c", RECORDER))


def test_exit_code_and_words_are_kept(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "log.txt"
    assert run_subprocess(["--version"], log=log).code == 0
    assert run_subprocess(["trian"], log=log).code == 2
    text = log.read_text()
    assert text.startswith("\n$ lowres-ssl --version\nlowres-ssl ")
    assert read_last_line(log).startswith("lowres-ssl: unknown command 'trian'")


@pytest.mark.usefixtures("recorder")
def test_command_without_more_time_is_asked_to_stop_and_waited_for(tmp_path: Path) -> None:
    ended = run_subprocess(["x"], log=tmp_path / "log", limit=2.0)
    assert ended.stopped
    assert ended.code == 130
    assert 2.0 < ended.seconds < 30
    assert read_last_line(tmp_path / "log") == f"got {int(signal.SIGINT)}"


@pytest.mark.usefixtures("recorder")
@pytest.mark.parametrize(("code", "passed_on"), [(130, signal.SIGINT), (143, signal.SIGTERM)])
def test_interruption_is_passed_on_once_and_waits(tmp_path: Path, code: int, passed_on: signal.Signals) -> None:
    def interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
        raise Interrupted("interrupted", code)

    log, before = tmp_path / "log", signal.signal(signal.SIGALRM, interrupt)

    def when_ready() -> None:
        while read_last_line(log) != "ready":
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGALRM)

    thread = threading.Thread(target=when_ready)
    thread.start()
    try:
        with pytest.raises(Interrupted):
            run_subprocess(["x"], log=log)
    finally:
        thread.join()
        signal.signal(signal.SIGALRM, before)
    assert read_last_line(log) == f"got {int(passed_on)}"
