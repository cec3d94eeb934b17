"""What is shown: lines where there is no terminal, a bar where there is one, colour where it is seen, and little where
silence is asked for or nobody reads any more. The clock is ours."""

import io
import os
import sys
from contextlib import redirect_stderr
from types import ModuleType, SimpleNamespace

import pytest

from lowres_ssl import console
from lowres_ssl.console import CountProgress, PipeSafeStream, TrainingProgress

SETTINGS = {"name": "simclr on breast", "epochs": 3, "steps_per_epoch": 10, "done": 0, "views_per_step": 8.0}


class Clock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for name in ("NO_COLOR", "FORCE_COLOR", "CI", "LOWRES_SSL_QUIET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(console, "time", SimpleNamespace(monotonic=made.monotonic))
    return made


def steps(shown: TrainingProgress, number: int) -> None:
    for _ in range(number):
        shown.step()


def test_a_line_tells_epoch_loss_speed_and_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """15 of 30 steps in 60 seconds: 120 views in 60 seconds, and as long again. What is left out does not count."""
    with TrainingProgress(**SETTINGS) as shown:
        clock.now += 200
        shown.leave_out(200)
        steps(shown, 15)
        clock.now += 60
        shown.show(0.12345)
    assert capsys.readouterr().err == "simclr on breast: epoch 2/3, loss 0.123, 2 views/s, 01:00 left\n"


def test_a_terminal_gets_a_bar_with_the_same_numbers(clock: Clock) -> None:
    with redirect_stderr(Terminal()) as terminal, TrainingProgress(**SETTINGS) as shown:
        steps(shown, 15)
        clock.now += 60
        shown.show(0.12345)
        shown.bar.refresh()
        text = terminal.getvalue().rpartition("\r")[2]
    assert "simclr on breast epoch 2/3  50%|" in text
    assert "loss 0.123, 2 views/s" in text


def test_lines_become_fewer_as_the_work_becomes_longer(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    """Of ten hours: less than a line a minute, and not one every five seconds."""
    with TrainingProgress(**SETTINGS | {"epochs": 1, "steps_per_epoch": 36000}) as shown:
        for _ in range(36000):
            clock.now += 1
            shown.step()
            if shown.is_due():
                shown.show(0.5)
    lines = capsys.readouterr().err.count("\n")
    assert 10 * 60 <= lines <= 10 * 60 + 40


def test_images_are_counted_in_lines_with_the_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with CountProgress("features", 100, first="features of 100 images") as counted:
        for _ in range(10):
            clock.now += 3
            counted.add(10)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "features of 100 images"
    assert said[1] == "features: 20 of 100 images, 00:24 left"
    assert len(said) == 5  # at 6, 12, 18 and 24 seconds, and none when all is done


def test_notebook_gets_a_bar_though_it_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    with redirect_stderr(io.StringIO()) as cell, CountProgress("features", 10, first="features of 10") as counted:
        counted.add(5)
        counted.bar.refresh()
    assert "features:  50%" in cell.getvalue()


def test_line_that_is_said_meanwhile_leaves_the_bar_whole() -> None:
    with redirect_stderr(Terminal()) as terminal, CountProgress("features", 10, first="features of 10 images"):
        console.log_info("an image cannot be read")
        shown = terminal.getvalue()
    before, _, after = shown.partition("an image cannot be read\n")
    assert before.endswith("\r")  # the bar was wiped
    assert after.lstrip("\r").startswith("features:")  # and is drawn again below


@pytest.mark.parametrize(
    ("stream", "variables", "wanted"),
    [
        (Terminal(), {}, True),
        (io.StringIO(), {}, False),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),  # as no-color.org has it: set, and not empty
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (io.StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colour_is_for_terminals_unless_variables_say_otherwise(
    stream: io.StringIO, variables: dict[str, str], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with redirect_stderr(stream):
        console.log_warning("few images")
        console.log_error("no images")
    coloured = "\x1b[33mnote:\x1b[0m few images\n\x1b[31mlowres-ssl:\x1b[0m no images\n"
    assert stream.getvalue() == (coloured if wanted else "note: few images\nlowres-ssl: no images\n")


@pytest.mark.parametrize(("value", "quiet"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_quiet_keeps_errors_only(value: str, quiet: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOWRES_SSL_QUIET", value)
    with redirect_stderr(io.StringIO()) as shown:
        console.log_info("working")
        console.log_warning("few images")
        console.log_error("no images")
    errors, all_lines = ["lowres-ssl: no images"], ["working", "note: few images", "lowres-ssl: no images"]
    assert shown.getvalue().splitlines() == (errors if quiet else all_lines)
    with redirect_stderr(Terminal()) as terminal:
        with TrainingProgress(**SETTINGS) as training:
            steps(training, 1)
            training.show(0.5)
        with CountProgress("features", 10, first="features of 10 images") as counted:
            counted.add(10)
    assert (terminal.getvalue() == "") == quiet


def test_what_nobody_reads_any_more_goes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as unread:
        with pytest.raises(BrokenPipeError):
            os.write(writing, b"so it is without")
        monkeypatch.setattr(sys, "stdout", unread)
        monkeypatch.setattr(sys, "stderr", unread)
        for _ in range(2):  # wrapped once
            console.ignore_broken_pipe()
            assert isinstance(sys.stdout, PipeSafeStream)
            assert sys.stdout.stream is unread
        for _ in range(3):
            assert sys.stdout.write("a" * 100_000) == 100_000
            print("and on", flush=True)
        assert sys.stdout.encoding == unread.encoding
        assert not sys.stdout.isatty()
