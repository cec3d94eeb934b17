"""Calls that may fail or hang without anybody's harm: made one after the other, in a thread of their own."""

import queue
import threading
import time
from collections.abc import Callable

from lowres_ssl.console import log_warning
from lowres_ssl.errors import UserError

CALL_TIMEOUT_SECONDS = 120.0


class BackgroundWorker:
    """The first call that raises, or takes too long, is said once, and is the last one: what comes after is not made.

    It is said by the thread that asks for the calls, so that no two write at once.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None
        self.failure: str | None = None
        self.said = False
        self.since: float | None = None  # when the call that is being made began

    def submit(self, call: Callable[[], None]) -> None:
        """Have it called, when those before it are done. Returns at once."""
        if self.has_failed():
            return
        if self.thread is None:
            self.thread = threading.Thread(target=self.work, name=self.name, daemon=True)
            self.thread.start()
        self.calls.put(call)

    def work(self) -> None:
        while (call := self.calls.get()) is not None and self.failure is None:
            self.since = time.monotonic()
            try:
                call()
            except BaseException as error:  # some tools end the process they are in: this is no place for that
                said = " ".join(str(error).split())[:300]
                kind = "" if isinstance(error, UserError) else type(error).__name__
                self.failure = ": ".join(part for part in (kind, said) if part)
                return
            self.since = None

    def has_failed(self) -> bool:
        """Whether it has failed."""
        since = self.since
        if self.failure is None and since is not None and time.monotonic() - since > CALL_TIMEOUT_SECONDS:
            self.failure = f"no answer for {CALL_TIMEOUT_SECONDS:.0f} s"
        if self.failure is not None and not self.said:
            self.said = True
            log_warning(f"{self.name}: {self.failure}; it is switched off, the run goes on without it")
        return self.failure is not None

    def finish(self, seconds: float) -> None:
        """Wait for the calls that are still to be made, but no longer than that."""
        if self.thread is None:
            return
        self.calls.put(None)
        self.thread.join(seconds)
        if self.thread.is_alive() and self.failure is None:
            self.failure = f"not done within {seconds:.0f} s"
        self.has_failed()
