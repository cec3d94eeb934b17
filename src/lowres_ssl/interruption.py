"""Signals that wait for the end of a step: SIGINT and SIGTERM ask a loop to stop where nothing is lost."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from lowres_ssl.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Deferred:
    """Within the block, the first SIGINT or SIGTERM is remembered, not raised; the second SIGINT is raised at once.

    Outside the main thread, where Python delivers no signals, it does nothing.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Deferred":
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.signal(number, self.remember) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        if kind is None and self.received is not None:  # too late for the loop to see
            raise self.interrupted("what was finished is saved")

    def remember(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)

    def interrupted(self, saved: str) -> Interrupted:
        """What to raise once everything is saved: exit code 130 or 143, by the signal."""
        word, code = ("terminated", 143) if self.received == signal.SIGTERM else ("interrupted", 130)
        return Interrupted(f"{word}; {saved}; the same command (without force=true) goes on from there", code)
