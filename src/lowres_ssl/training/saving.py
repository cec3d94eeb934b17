"""Write checkpoints by time and beside the loop: between two steps a copy is taken, which a thread writes."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from lowres_ssl.checkpoint import save_state


class Saver:
    """The checkpoints of one training, at `path`. Use it as a context manager: leaving it waits for the last write, and
    raises what that failed with unless something else is being raised.

    The last good state is never older than `seconds`, or a step: a copy is due so much earlier as the last write took.
    No copy is taken while one is being written. `math.inf`: none is due by itself.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self.path, self.seconds = path, seconds
        self.taken = time.monotonic()  # when the last copy was
        self.took = 0.0  # seconds to write it
        self.thread: threading.Thread | None = None
        self.error: BaseException | None = None

    def __enter__(self) -> "Saver":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.wait()
        if kind is None:
            self.raise_error()

    def is_due(self) -> bool:
        """Whether to take a copy now. Raises what the last write failed with, such as `OSError` on a full disk."""
        if self.thread is not None and self.thread.is_alive():
            return False
        self.raise_error()
        return time.monotonic() - self.taken + self.took >= self.seconds

    def begin(self, content: Mapping[str, Any]) -> None:
        """Copy `content` and write the copy in a thread. What it holds may change when this returns."""
        self.wait()
        self.raise_error()
        self.taken = time.monotonic()
        copy = on_host(content)
        copied = None
        if torch.cuda.is_initialized():  # the copies wait in its stream, before the steps to come
            copied = torch.cuda.Event()
            copied.record()
        self.thread = threading.Thread(target=self.write, args=(copy, copied), name="checkpoint")
        self.thread.start()

    def save(self, content: Mapping[str, Any]) -> None:
        """Write `content` now, after what is being written."""
        self.wait()
        self.error = None  # this is a newer state, and another attempt
        save_state(self.path, content)

    def write(self, content: Mapping[str, Any], copied: torch.cuda.Event | None) -> None:
        """What the thread does."""
        try:
            if copied is not None:
                copied.synchronize()
            started = time.monotonic()
            save_state(self.path, content)
            self.took = time.monotonic() - started
        except BaseException as error:  # the loop's to raise
            self.error = error

    def wait(self) -> None:
        if self.thread is not None:
            self.thread.join()
            self.thread = None

    def raise_error(self) -> None:
        error, self.error = self.error, None
        if error is not None:
            raise error


def on_host(value: Any) -> Any:
    """A copy in the host's memory: of tensors, and of what holds them. From a GPU into pinned memory, without waiting:
    it is whole once the GPU's current stream has come so far."""
    if isinstance(value, Tensor):
        if value.device.type != "cuda":
            return value.detach().clone()
        target = torch.empty_like(value, device="cpu", pin_memory=True)
        return target.copy_(value.detach(), non_blocking=True)
    if isinstance(value, Mapping):
        return {key: on_host(each) for key, each in value.items()}
    return [on_host(each) for each in value] if isinstance(value, list) else value
