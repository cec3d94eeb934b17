"""Calls in a thread of their own: in order, and none that fails or hangs does any harm."""

import sys
import threading
import time

import pytest

from lowres_ssl.tracking import background
from lowres_ssl.tracking.background import BackgroundWorker


def test_calls_are_made_in_order_and_waited_for() -> None:
    made: list[int] = []
    calls = BackgroundWorker("tracker=x")
    for number in range(20):
        calls.submit(lambda number=number: made.append(number))
    calls.finish(10)
    assert made == list(range(20))


def test_first_error_is_said_once_and_is_the_last_call(capsys: pytest.CaptureFixture[str]) -> None:
    made: list[str] = []
    calls = BackgroundWorker("tracker=x")
    calls.submit(lambda: made.append("before"))
    calls.submit(lambda: [][1])
    for _ in range(3):
        calls.submit(lambda: made.append("after"))
    calls.finish(10)
    assert made == ["before"]
    said = capsys.readouterr().err
    assert said.count("tracker=x: IndexError: list index out of range; it is switched off") == 1


def test_call_that_ends_the_process_ends_its_thread_only(capsys: pytest.CaptureFixture[str]) -> None:
    calls = BackgroundWorker("tracker=x")
    calls.submit(lambda: sys.exit(3))
    calls.finish(10)
    assert "tracker=x: SystemExit: 3" in capsys.readouterr().err


def test_call_that_hangs_is_given_up_and_holds_nothing_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(background, "CALL_TIMEOUT_SECONDS", 0.05)
    gate = threading.Event()
    made: list[str] = []
    calls = BackgroundWorker("tracker=x")
    started = time.monotonic()
    calls.submit(gate.wait)
    while not calls.has_failed():
        time.sleep(0.01)
    calls.submit(lambda: made.append("after"))
    calls.finish(0.1)
    assert time.monotonic() - started < 5
    assert capsys.readouterr().err.count("switched off") == 1
    gate.set()
    assert calls.thread is not None
    calls.thread.join(5)
    assert made == []


def test_end_is_not_waited_for_longer_than_that(capsys: pytest.CaptureFixture[str]) -> None:
    gate = threading.Event()
    calls = BackgroundWorker("tracker=x")
    calls.submit(gate.wait)
    calls.finish(0.05)
    assert "not done within 0 s" in capsys.readouterr().err
    gate.set()
