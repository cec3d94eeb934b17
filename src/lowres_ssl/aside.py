"""Calls that may fail or hang without anybody's harm: made one after the other, in a thread of their own."""

import queue
import threading
import time
from collections.abc import Callable

from lowres_ssl.errors import UserError
from lowres_ssl.terminal import warn

SECONDS_FOR_A_CALL = 120.0


class Aside:
    """The first call that raises, or takes too long, is said once, and is the last one: what comes after is not made.

    It is said by the thread that asks for the calls, so that no two write at once.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None
        self.trouble: str | None = None
        self.said = False
        self.since: float | None = None  # when the call that is being made began

    def do(self, call: Callable[[], None]) -> None:
        """Have it called, when those before it are done. Returns at once."""
        if self.is_over():
            return
        if self.thread is None:
            self.thread = threading.Thread(target=self.work, name=self.name, daemon=True)
            self.thread.start()
        self.calls.put(call)

    def work(self) -> None:
        while (call := self.calls.get()) is not None and self.trouble is None:
            self.since = time.monotonic()
            try:
                call()
            except BaseException as error:  # some tools end the process they are in: this is no place for that
                said = " ".join(str(error).split())[:300]
                kind = "" if isinstance(error, UserError) else type(error).__name__
                self.trouble = ": ".join(part for part in (kind, said) if part)
                return
            self.since = None

    def is_over(self) -> bool:
        """Whether it has failed."""
        since = self.since
        if self.trouble is None and since is not None and time.monotonic() - since > SECONDS_FOR_A_CALL:
            self.trouble = f"no answer for {SECONDS_FOR_A_CALL:.0f} s"
        if self.trouble is not None and not self.said:
            self.said = True
            warn(f"{self.name}: {self.trouble}; it is switched off, the run goes on without it")
        return self.trouble is not None

    def finish(self, seconds: float) -> None:
        """Wait for the calls that are still to be made, but no longer than that."""
        if self.thread is None:
            return
        self.calls.put(None)
        self.thread.join(seconds)
        if self.thread.is_alive() and self.trouble is None:
            self.trouble = f"not done within {seconds:.0f} s"
        self.is_over()
