"""How far the work is: a bar where it can be written over, a plain line now and then where it cannot."""

import os
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, TypeVar, cast

from tqdm import tqdm

from lowres_ssl.errors import escape_line


def format_table(heads: Sequence[str] | None, rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """The rows below their heads, each column as wide as its widest cell; those in `right` aligned to the right."""
    lines = [list(heads), *rows] if heads is not None else list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    padded = (
        (cell.rjust(width) if place in right else cell.ljust(width))
        for line in lines
        for place, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    return "\n".join("  ".join(next(padded) for _ in widths).rstrip() for _ in lines)


def format_path_size(path: Path) -> str:
    """How much a file or a folder takes, in words."""
    return format_bytes(count_bytes(path))


def count_bytes(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    files = [path] if path.is_file() else (each for each in path.rglob("*") if each.is_file())
    return sum(file.stat().st_size for file in files)


def format_bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def pluralise(number: int, what: str) -> str:
    """ "1 epoch", "2 epochs"."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def format_duration(seconds: float) -> str:
    """ "40 s", "12 min", "3.5 h", "2.1 days"."""
    for unit, length in (("days", 86400.0), ("h", 3600.0)):
        if seconds >= 1.5 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds / 60:.0f} min" if seconds >= 90 else f"{max(1, round(seconds))} s"


QUIET_VARIABLE = "LOWRES_SSL_QUIET"
ANSI_STYLES = {"best": "1", "failure": "31", "warning": "33"}  # bold, red, yellow


def is_quiet() -> bool:
    """Whether only results and errors are wanted."""
    return os.environ.get(QUIET_VARIABLE, "") not in ("", "0")


def is_terminal(stream: TextIO) -> bool:
    """Whether what is written there can be written over: no pipe, no file, no log of a build."""
    watched = os.environ.get("CI", "") in ("", "0", "false")
    return watched and stream.isatty() and os.environ.get("TERM") != "dumb"


def supports_colour(stream: TextIO) -> bool:
    """NO_COLOR (https://no-color.org) goes before FORCE_COLOR, either set to anything; without, a terminal has it."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")


def apply_style(text: str, style: str, stream: TextIO) -> str:
    """The text in one of `STYLES`, if `stream` has colour."""
    return f"\x1b[{ANSI_STYLES[style]}m{text}\x1b[0m" if supports_colour(stream) else text


def log_info(text: str) -> None:
    """What is being done, on standard error: standard output is for results."""
    if not is_quiet():
        write_line(escape_line(text))


def log_warning(text: str) -> None:
    """What is doubtful, or was put right."""
    if not is_quiet():
        write_line(f"{apply_style('note:', 'warning', sys.stderr)} {escape_line(text)}")


def log_error(text: str) -> None:
    """What went wrong; said even when it is quiet."""
    write_line(f"{apply_style('lowres-ssl:', 'failure', sys.stderr)} {escape_line(text)}")


def write_line(line: str) -> None:
    """A line on standard error that leaves a bar that is shown there whole."""
    bars: Any = sys.modules.get("tqdm")  # where nobody has loaded it, there is none
    with bars.tqdm.external_write_mode(file=sys.stderr) if bars is not None else nullcontext():
        # In one piece: a signal between a text and its line's end would glue the next line to it.
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


Result = TypeVar("Result")


class PipeSafeStream:
    """A text stream whose words go nowhere once nobody reads them. Else as the stream that it is made of."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        return self.call_safely(lambda: self.stream.write(text), len(text))

    def flush(self) -> None:
        self.call_safely(self.stream.flush, None)

    def call_safely(self, act: Callable[[], Result], otherwise: Result) -> Result:
        try:
            return act()
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())  # takes what waits in the stream as well
            os.close(nowhere)
            return otherwise


def ignore_broken_pipe() -> None:
    """Have it so in this process, for standard output and standard error. Once or often, it is the same."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, PipeSafeStream):
            setattr(sys, name, cast(TextIO, PipeSafeStream(stream)))


LINE_INTERVAL_SECONDS = 5.0
MAX_LINE_INTERVAL_SECONDS = 60.0
LOOK_INTERVAL_SECONDS = 0.5  # at what a bar shows


def make_progress_bar(**settings: Any) -> Any:
    """tqdm's bar with these settings: in a terminal its usual one, in a notebook its widget where there is ipywidgets.

    None where lines have to do: in a pipe, a file, a build's log; and where it is to be quiet.
    """
    if is_quiet():
        return None
    if is_in_notebook():
        if find_spec("ipywidgets") is None:
            return tqdm(**settings)
        from tqdm.notebook import tqdm as widget

        return widget(**settings)
    return tqdm(**settings) if is_terminal(sys.stderr) else None


def is_in_notebook() -> bool:
    """Whether this process is a notebook's kernel. What a notebook starts with `!` has a terminal."""
    if "ipykernel" not in sys.modules:
        return False
    shell: Any = sys.modules["IPython"].get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def get_line_interval(spent: float) -> float:
    """From one line to the next: few lines of a short work, and not thousands of a long one."""
    return min(MAX_LINE_INTERVAL_SECONDS, max(LINE_INTERVAL_SECONDS, spent / 10))


class TrainingProgress:
    """Steps done, loss, views a second, time left; on standard error. Use it as a context manager."""

    def __init__(self, *, name: str, epochs: int, steps_per_epoch: int, done: int, views_per_step: float) -> None:
        self.name, self.epochs, self.steps_per_epoch = name, epochs, steps_per_epoch
        self.total, self.done, self.views_per_step = epochs * steps_per_epoch, done, views_per_step
        self.first = done
        self.started = self.shown = time.monotonic()
        layout = "{desc} {percentage:3.0f}%|{bar}| {postfix} {elapsed}<{remaining}"
        self.bar = make_progress_bar(total=self.total, initial=done, bar_format=layout, leave=False)

    def __enter__(self) -> "TrainingProgress":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.close()

    def is_due(self) -> bool:
        """Whether it is time to show something: looking at the loss makes a GPU wait."""
        now = time.monotonic()
        wait = LOOK_INTERVAL_SECONDS if self.bar is not None else get_line_interval(now - self.started)
        return now - self.shown >= wait

    def step(self) -> None:
        self.done += 1

    def leave_out(self, seconds: float) -> None:
        """The last seconds, so many, say nothing of how long the steps to come will take."""
        self.started += seconds
        if self.bar is not None and seconds:
            self.bar.unpause()

    def show(self, loss: float) -> None:
        self.shown = time.monotonic()
        spent = self.shown - self.started
        steps = self.done - self.first
        epoch = min((self.done - 1) // self.steps_per_epoch + 1, self.epochs)
        text = f"loss {loss:.3f}, {steps * self.views_per_step / max(spent, 1e-9):,.0f} views/s"
        if self.bar is not None:
            self.bar.set_description_str(f"{self.name} epoch {epoch}/{self.epochs}", refresh=False)
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(self.done - self.bar.n)
            return
        left = tqdm.format_interval(spent / max(steps, 1) * (self.total - self.done))
        log_info(f"{self.name}: epoch {epoch}/{self.epochs}, {text}, {left} left")


class ImageProgress:
    """How many of `total` images are done, on standard error. Use it as a context manager.

    `first`: the line that begins it where there is no bar. `wanted=False`: nothing of it is shown.
    """

    def __init__(self, name: str, total: int, *, first: str, wanted: bool = True) -> None:
        self.name, self.total, self.done, self.first, self.wanted = name, total, 0, first, wanted
        self.started = self.shown = time.monotonic()
        self.bar: Any = None

    def __enter__(self) -> "ImageProgress":
        if self.wanted:
            self.bar = make_progress_bar(total=self.total, desc=self.name, unit="image", leave=False)
            if self.bar is None:
                log_info(self.first)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.close()

    def add(self, images: int) -> None:
        self.done += images
        if self.bar is not None:
            self.bar.update(images)
        elif self.wanted:
            now = time.monotonic()
            if now - self.shown >= get_line_interval(now - self.started) and self.done < self.total:
                self.shown = now
                left = tqdm.format_interval((now - self.started) / self.done * (self.total - self.done))
                log_info(f"{self.name}: {self.done:,} of {self.total:,} images, {left} left")


class DownloadProgress:
    """A download as pooch tells of it, in a line now and then: `total` and `update` are in bytes."""

    def __init__(self, name: str) -> None:
        self.name, self.total, self.done = name, 0, 0
        self.started = self.shown = time.monotonic()

    def update(self, size: int) -> None:
        self.done += size
        now = time.monotonic()
        if now - self.shown >= get_line_interval(now - self.started) and self.done < self.total:
            self.shown = now
            left = tqdm.format_interval((now - self.started) / self.done * (self.total - self.done))
            log_info(f"{self.name}: {format_bytes(self.done)} of {format_bytes(self.total)}, {left} left")

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        """There is nothing to take away."""
