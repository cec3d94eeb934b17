"""Write to the console: tables, units, notices, and progress as a bar or as lines."""

import os
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TextIO, cast

from tqdm import tqdm

from lowres_ssl.errors import escape_line


def format_table(heads: Sequence[str] | None, rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> str:
    """Format rows below their heads, each column as wide as its widest cell; columns in `right` aligned right."""
    lines = [list(heads), *rows] if heads is not None else list(rows)
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    padded = (
        (cell.rjust(width) if place in right else cell.ljust(width))
        for line in lines
        for place, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    return "\n".join("  ".join(next(padded) for _ in widths).rstrip() for _ in lines)


def format_path_size(path: Path) -> str:
    """Format how much a file or a folder takes."""
    return format_bytes(count_bytes(path))


def count_bytes(path: Path) -> int:
    """Count the bytes of a file, or of all files below a folder."""
    files = [path] if path.is_file() else (each for each in path.rglob("*") if each.is_file())
    return sum(file.stat().st_size for file in files)


def format_bytes(count: float) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def pluralise(number: int, what: str) -> str:
    """Format a count: "1 epoch", "2 epochs"."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def shorten_list(names: Sequence[str], most: int = 5) -> str:
    """Format "a, b and 9 more": at most so many names of what may be thousands."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def format_duration(seconds: float) -> str:
    """Format a duration: "40 s", "12 min", "3.5 h", "2.1 days"."""
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
    """Whether a bar can be redrawn there: no pipe, no file, no log of a build."""
    watched = os.environ.get("CI", "") in ("", "0", "false")
    return watched and stream.isatty() and os.environ.get("TERM") != "dumb"


def supports_colour(stream: TextIO) -> bool:
    """Use colour on terminals, unless NO_COLOR (https://no-color.org) or, second, FORCE_COLOR is set to anything."""
    if os.environ.get("NO_COLOR"):
        return False
    return bool(os.environ.get("FORCE_COLOR")) or (stream.isatty() and os.environ.get("TERM") != "dumb")


def apply_style(text: str, style: str, stream: TextIO) -> str:
    """Style the text with one of `ANSI_STYLES`, if `stream` has colour."""
    return f"\x1b[{ANSI_STYLES[style]}m{text}\x1b[0m" if supports_colour(stream) else text


def log_info(text: str) -> None:
    """Report what is being done, on standard error: standard output is for results."""
    if not is_quiet():
        write_line(escape_line(text))


def log_warning(text: str) -> None:
    """Report what is doubtful, or was corrected."""
    if not is_quiet():
        write_line(f"{apply_style('note:', 'warning', sys.stderr)} {escape_line(text)}")


def log_error(text: str) -> None:
    """Report what failed, even with LOWRES_SSL_QUIET."""
    write_line(f"{apply_style('lowres-ssl:', 'failure', sys.stderr)} {escape_line(text)}")


def write_line(line: str) -> None:
    """Write a line on standard error without breaking a bar that is shown there."""
    with tqdm.external_write_mode(file=sys.stderr):
        # In one call: a signal between a text and its line's end would join the next line to it.
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


class PipeSafeStream:
    """Wrap a text stream; discard what is written once its reader has closed the pipe."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        with self.discarding():
            self.stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self.discarding():
            self.stream.flush()

    @contextmanager
    def discarding(self) -> Iterator[None]:
        try:
            yield
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())  # discards the stream's buffer as well
            os.close(nowhere)


def ignore_broken_pipe() -> None:
    """Wrap standard output and standard error, once."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, PipeSafeStream):
            setattr(sys, name, cast(TextIO, PipeSafeStream(stream)))


LINE_INTERVAL_SECONDS = 5.0
MAX_LINE_INTERVAL_SECONDS = 60.0
BAR_INTERVAL_SECONDS = 0.5
BAR_LAYOUT = "{desc} {percentage:3.0f}%|{bar}| {postfix} {elapsed}<{remaining}"


def make_progress_bar(**settings: Any) -> Any:
    """Make tqdm's bar, in a notebook as a widget; None where lines are written instead: in a pipe, a file, a build's
    log; and with LOWRES_SSL_QUIET."""
    if is_quiet():
        return None
    if "ipykernel" in sys.modules:  # a notebook's kernel; a command that a notebook starts with `!` has a terminal
        from tqdm.auto import tqdm as widget  # or text, where ipywidgets is missing

        return widget(**settings)
    return tqdm(**settings) if is_terminal(sys.stderr) else None


class Progress:
    """Show progress on standard error: a bar, or where there can be none a line now and then. A context manager."""

    def __init__(self, total: int, done: int = 0, *, wanted: bool = True, **bar_settings: Any) -> None:
        self.total, self.done, self.first = total, done, done
        self.started = self.shown = time.monotonic()
        self.bar = make_progress_bar(total=total, initial=done, leave=False, **bar_settings) if wanted else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def is_due(self) -> bool:
        """Whether it is time to show something: few lines for short work, and not thousands for long work."""
        now = time.monotonic()
        wait = min(MAX_LINE_INTERVAL_SECONDS, max(LINE_INTERVAL_SECONDS, (now - self.started) / 10))
        return now - self.shown >= (wait if self.bar is None else BAR_INTERVAL_SECONDS)

    def format_time_left(self) -> str:
        seconds = (time.monotonic() - self.started) / max(self.done - self.first, 1)
        return tqdm.format_interval(seconds * (self.total - self.done))


class TrainingProgress(Progress):
    """Show epoch, loss, views a second and time left of a training that starts at step `done`."""

    def __init__(self, *, name: str, epochs: int, steps_per_epoch: int, done: int, views_per_step: float) -> None:
        super().__init__(epochs * steps_per_epoch, done, bar_format=BAR_LAYOUT)
        self.name, self.epochs, self.steps_per_epoch = name, epochs, steps_per_epoch
        self.views_per_step = views_per_step

    def step(self) -> None:
        self.done += 1

    def leave_out(self, seconds: float) -> None:
        """Leave the last seconds out of the speed and of the time left."""
        self.started += seconds
        if self.bar is not None and seconds:
            self.bar.unpause()

    def show(self, loss: float) -> None:
        """Show the loss; call it when `is_due`, since reading the loss makes a GPU wait."""
        self.shown = time.monotonic()
        epoch = min((self.done - 1) // self.steps_per_epoch + 1, self.epochs)
        speed = (self.done - self.first) * self.views_per_step / max(self.shown - self.started, 1e-9)
        text = f"loss {loss:.3f}, {speed:,.0f} views/s"
        if self.bar is not None:
            self.bar.set_description_str(f"{self.name} epoch {epoch}/{self.epochs}", refresh=False)
            self.bar.set_postfix_str(text, refresh=False)
            self.bar.update(self.done - self.bar.n)
        else:
            log_info(f"{self.name}: epoch {epoch}/{self.epochs}, {text}, {self.format_time_left()} left")


class CountProgress(Progress):
    """Show how many of `total` images or steps are done. `first`: the line at the start where there is no bar."""

    def __init__(self, name: str, total: int, unit: str = "image", *, first: str, wanted: bool = True) -> None:
        super().__init__(total, wanted=wanted, desc=name, unit=unit)
        self.name, self.unit, self.wanted = name, unit, wanted
        if wanted and self.bar is None:
            log_info(first)

    def add(self, done: int) -> None:
        self.done += done
        if self.bar is not None:
            self.bar.update(done)
        elif self.wanted and self.done < self.total and self.is_due():
            self.shown = time.monotonic()
            log_info(f"{self.name}: {self.done:,} of {self.total:,} {self.unit}s, {self.format_time_left()} left")
