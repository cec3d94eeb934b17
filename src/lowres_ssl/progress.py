"""How far training is: a bar where there is a terminal, a plain line every few seconds where there is none."""

import sys
import time
from types import TracebackType

from tqdm import tqdm

from lowres_ssl.terminal import say

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Steps done, loss, views a second, time left; on standard error. Use it as a context manager."""

    def __init__(self, *, name: str, epochs: int, steps_per_epoch: int, done: int, views_per_step: float) -> None:
        self.name, self.epochs, self.steps_per_epoch = name, epochs, steps_per_epoch
        self.total, self.done, self.views_per_step = epochs * steps_per_epoch, done, views_per_step
        self.first = done
        self.started = self.shown = time.monotonic()
        self.bar: tqdm | None = None  # type: ignore[type-arg]  # generic in its stubs only
        if sys.stderr.isatty():
            layout = "{desc} {percentage:3.0f}%|{bar}| {postfix} {elapsed}<{remaining}"
            self.bar = tqdm(total=self.total, initial=done, bar_format=layout, leave=False)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.close()

    def is_due(self) -> bool:
        """Whether it is time to show something: looking at the loss makes a GPU wait."""
        return time.monotonic() - self.shown >= (0.5 if self.bar is not None else SECONDS_BETWEEN_LINES)

    def step(self) -> None:
        self.done += 1

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
