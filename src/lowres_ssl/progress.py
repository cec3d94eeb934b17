"""How far the work is: a bar where it can be written over, a plain line now and then where it cannot."""

import sys
import time
from importlib.util import find_spec
from types import TracebackType
from typing import Any

from tqdm import tqdm

from lowres_ssl.terminal import in_words, is_quiet, is_terminal, say

SECONDS_BETWEEN_LINES = 5.0
MOST_SECONDS_BETWEEN_LINES = 60.0
SECONDS_BETWEEN_LOOKS = 0.5  # at what a bar shows


def make_bar(**settings: Any) -> Any:
    """tqdm's bar with these settings: in a terminal its usual one, in a notebook its widget where there is ipywidgets.

    None where lines have to do: in a pipe, a file, a build's log; and where it is to be quiet.
    """
    if is_quiet():
        return None
    if in_notebook():
        if find_spec("ipywidgets") is None:
            return tqdm(**settings)
        from tqdm.notebook import tqdm as widget

        return widget(**settings)
    return tqdm(**settings) if is_terminal(sys.stderr) else None


def in_notebook() -> bool:
    """Whether this process is a notebook's kernel. What a notebook starts with `!` has a terminal."""
    if "ipykernel" not in sys.modules:
        return False
    shell: Any = sys.modules["IPython"].get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def seconds_to_wait(spent: float) -> float:
    """From one line to the next: few lines of a short work, and not thousands of a long one."""
    return min(MOST_SECONDS_BETWEEN_LINES, max(SECONDS_BETWEEN_LINES, spent / 10))


class Progress:
    """Steps done, loss, views a second, time left; on standard error. Use it as a context manager."""

    def __init__(self, *, name: str, epochs: int, steps_per_epoch: int, done: int, views_per_step: float) -> None:
        self.name, self.epochs, self.steps_per_epoch = name, epochs, steps_per_epoch
        self.total, self.done, self.views_per_step = epochs * steps_per_epoch, done, views_per_step
        self.first = done
        self.started = self.shown = time.monotonic()
        layout = "{desc} {percentage:3.0f}%|{bar}| {postfix} {elapsed}<{remaining}"
        self.bar = make_bar(total=self.total, initial=done, bar_format=layout, leave=False)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.close()

    def is_due(self) -> bool:
        """Whether it is time to show something: looking at the loss makes a GPU wait."""
        now = time.monotonic()
        wait = SECONDS_BETWEEN_LOOKS if self.bar is not None else seconds_to_wait(now - self.started)
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
        say(f"{self.name}: epoch {epoch}/{self.epochs}, {text}, {left} left")


class Counted:
    """How many of `total` images are done, on standard error. Use it as a context manager.

    `first`: the line that begins it where there is no bar. `wanted=False`: nothing of it is shown.
    """

    def __init__(self, name: str, total: int, *, first: str, wanted: bool = True) -> None:
        self.name, self.total, self.done, self.first, self.wanted = name, total, 0, first, wanted
        self.started = self.shown = time.monotonic()
        self.bar: Any = None

    def __enter__(self) -> "Counted":
        if self.wanted:
            self.bar = make_bar(total=self.total, desc=self.name, unit="image", leave=False)
            if self.bar is None:
                say(self.first)
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
            if now - self.shown >= seconds_to_wait(now - self.started) and self.done < self.total:
                self.shown = now
                left = tqdm.format_interval((now - self.started) / self.done * (self.total - self.done))
                say(f"{self.name}: {self.done:,} of {self.total:,} images, {left} left")


class Lines:
    """A download as pooch tells of it, in a line now and then: `total` and `update` are in bytes."""

    def __init__(self, name: str) -> None:
        self.name, self.total, self.done = name, 0, 0
        self.started = self.shown = time.monotonic()

    def update(self, size: int) -> None:
        self.done += size
        now = time.monotonic()
        if now - self.shown >= seconds_to_wait(now - self.started) and self.done < self.total:
            self.shown = now
            left = tqdm.format_interval((now - self.started) / self.done * (self.total - self.done))
            say(f"{self.name}: {in_words(self.done)} of {in_words(self.total)}, {left} left")

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        """There is nothing to take away."""
