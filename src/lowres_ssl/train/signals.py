"""Hold back signals until the end of a step: they ask a loop to stop where nothing is lost.

SIGINT, SIGTERM, and the one by which a scheduler warns that it is about to take the machine away.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any, NoReturn

from lowres_ssl.config.experiment_schema import PretrainConfig
from lowres_ssl.errors import Interrupted

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def raise_terminated(_signal: int, _frame: FrameType | None) -> NoReturn:
    """Handle a signal where there is no step to wait for."""
    raise Interrupted("terminated; what was finished is kept, and the same command goes on", 143)


def install_handler(preemption: signal.Signals | None) -> None:
    """End by `raise_terminated` on this signal, unless somebody handles it already, as submitit does."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if preemption is not None and in_main_thread and signal.getsignal(preemption) is signal.SIG_DFL:
        signal.signal(preemption, raise_terminated)


def has_foreign_handler(number: signal.Signals | None) -> bool:
    """Whether there is a handler for this signal that is neither Python's nor ours."""
    handler = signal.SIG_DFL if number is None else signal.getsignal(number)
    return callable(handler) and handler not in (raise_terminated, signal.default_int_handler)


class DeferredSignals:
    """Within the block, record the first stop signal or `preemption` instead of raising it; raise a second SIGINT.

    Where somebody else handled `preemption` (submitit, which puts the job back into the queue), that handler gets it
    when the block is left, so when everything is saved. SIGTERM, if it is handled there as well, is left to it: before
    Slurm takes a machine away it sends both, and a run that ended by SIGTERM would not be put back. Outside the main
    thread, where Python delivers no signals, nothing happens.
    """

    def __init__(self, preemption: signal.Signals | None = None) -> None:
        self.received: signal.Signals | None = None
        self.preemption = preemption
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "DeferredSignals":
        if threading.current_thread() is threading.main_thread():
            numbers = {*STOP_SIGNALS, *([] if self.preemption is None else [self.preemption])}
            if has_foreign_handler(self.preemption) and has_foreign_handler(signal.SIGTERM):
                numbers.remove(signal.SIGTERM)
            self.before = {number: signal.signal(number, self.record_signal) for number in numbers}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        passed_on = self.received if self.received == self.preemption and kind in (None, Interrupted) else None
        if passed_on is not None and has_foreign_handler(passed_on):  # the handlers are back
            signal.raise_signal(passed_on)
        if kind is None and self.received is not None:  # too late for the loop to see
            raise self.interrupted("what was finished is saved")

    def record_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)

    def interrupted(self, saved: str) -> Interrupted:
        """Build what to raise once everything is saved: exit code 130 or 143, by the signal."""
        word, code = ("interrupted", 130) if self.received == signal.SIGINT else ("terminated", 143)
        if self.received is not None and self.received == self.preemption:
            word = f"terminated by {self.received.name}"
        return Interrupted(f"{word}; {saved}; the same command (without force=true) goes on from there", code)


def get_preemption_signal(config: PretrainConfig) -> signal.Signals | None:
    name = config.preemption_signal.name
    return None if name == "none" else signal.Signals[f"SIG{name}"]
