"""What is shown of training, with a clock of our own: lines where there is no terminal, a bar where there is one."""

import io
import sys
from contextlib import redirect_stderr
from types import ModuleType, SimpleNamespace

import pytest

from lowres_ssl import console
from lowres_ssl.console import ImageProgress, TrainingProgress, log_info

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


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for name in ("CI", "LOWRES_SSL_QUIET"):
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


def test_quiet_shows_neither_bar_nor_line(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOWRES_SSL_QUIET", "1")
    with redirect_stderr(Terminal()) as terminal:
        with TrainingProgress(**SETTINGS) as shown:
            steps(shown, 1)
            shown.show(0.5)
        with ImageProgress("features", 10, first="features of 10 images") as counted:
            counted.add(10)
    assert terminal.getvalue() == ""


def test_notebook_gets_a_bar_though_it_is_no_terminal(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipykernel", ModuleType("ipykernel"))
    with (
        redirect_stderr(io.StringIO()) as cell,
        ImageProgress("features", 10, first="features of 10 images") as counted,
    ):
        counted.add(5)
        counted.bar.refresh()
    assert "features:  50%" in cell.getvalue()


def test_images_are_counted_in_lines_with_the_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with ImageProgress("features", 100, first="features of 100 images") as counted:
        for _ in range(10):
            clock.now += 3
            counted.add(10)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "features of 100 images"
    assert said[1] == "features: 20 of 100 images, 00:24 left"
    assert len(said) == 5  # at 6, 12, 18 and 24 seconds, and none when all is done


def test_line_that_is_said_meanwhile_leaves_the_bar_whole(clock: Clock) -> None:
    with redirect_stderr(Terminal()) as terminal, ImageProgress("features", 10, first="features of 10 images"):
        log_info("an image cannot be read")
        shown = terminal.getvalue()
    before, _, after = shown.partition("an image cannot be read\n")
    assert before.endswith("\r")  # the bar was wiped
    assert after.lstrip("\r").startswith("features:")  # and is drawn again below
