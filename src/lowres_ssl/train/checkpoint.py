"""Write a training's state while it trains, and read it to go on: whole or not at all, running no code it may hold."""

import time
import warnings
import zipfile
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from lowres_ssl.console import log_warning
from lowres_ssl.encoders.weights_file import check_not_compressed, is_machine_error
from lowres_ssl.errors import DamagedError
from lowres_ssl.io.atomic import atomic_write, get_previous_path
from lowres_ssl.io.checksummed_json import check_version

CHECKPOINT_VERSION = 2  # 1 had neither a memory layout nor a compiler's seconds
RESTART_HINT = "start the run again from scratch with force=true"


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors, numbers, strings and containers of them. The state before stays, at `get_previous_path(path)`."""
    with atomic_write(path, keep_previous=True) as file:
        try:
            torch.save({"version": CHECKPOINT_VERSION, **state}, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # a full disk, which PyTorch hides
                raise error.__context__ from None
            raise


def list_states(path: Path) -> list[Path]:
    """List the files that `save_state` left at `path`, the newest first; perhaps damaged."""
    return [place for place in (path, get_previous_path(path)) if place.exists()]


def load_latest_state(path: Path) -> dict[str, Any] | None:
    """Load the newest whole state of those that `save_state` left at `path`; None if there is none.

    A damaged one is named and removed if the one before is whole. Raises `DamagedError` if none is, else what
    `load_state` raises: one that could not be read for another reason stays.
    """
    damage: DamagedError | None = None
    for place in list_states(path):
        try:
            state = load_state(place)
        except DamagedError as error:
            damage = damage or error
            continue
        if damage is not None:
            log_warning(f"{path}: the checkpoint is damaged; going on from the one before it, {place.name}")
            path.unlink(missing_ok=True)  # it must not take the place of the one before
        return state
    if damage is not None:
        raise damage
    return None


def read_epochs_done(path: Path) -> int:
    """Read how many epochs are done in the state that `load_latest_state` would find, without its tensors; 0 if there
    is none."""
    for place in list_states(path):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                epoch = torch.load(place, map_location="cpu", weights_only=True, mmap=True)["epoch"]
            return epoch if type(epoch) is int and epoch >= 0 else 0
        except Exception:  # damaged, in one of many ways; that is reported when it is loaded
            continue
    return 0


def load_state(path: Path) -> dict[str, Any]:
    """Load what `save_state` wrote, on the CPU. Raises `DamagedError`, `CheckpointError` if it is of another version,
    or `OSError` and `MemoryError` where the machine is at fault."""
    try:
        check_not_compressed(path)
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # PyTorch writes checksums, and does not look at them when it reads
        if damaged is not None:
            raise ValueError(f"{damaged} does not fit its checksum")
        state = dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # whatever else the reader stumbles over, the file is the cause
        if is_machine_error(error):
            raise
        raise DamagedError(f"{path}: the checkpoint is damaged; {RESTART_HINT}") from error
    check_version(state.pop("version", 0), CHECKPOINT_VERSION, path, RESTART_HINT)
    return state


class CheckpointWriter:
    """Write the checkpoints of one training, at `path`. Use it as a context manager: leaving it waits for the last
    write, and raises what that failed with unless something else is being raised.

    The last good state is never older than `seconds`, or a step: a copy is due so much earlier as the last write took.
    No copy is taken while one is being written. `math.inf`: none is due by itself.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self.path, self.seconds = path, seconds
        self.copied = time.monotonic()  # when the last copy was taken
        self.took = 0.0  # seconds to write it
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self.writing: Future[float] | None = None  # returns the seconds that it took

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.pool.shutdown()
        if kind is None:
            self.finish()

    def is_due(self) -> bool:
        """Whether to take a copy now. Raises what the last write failed with, such as `OSError` on a full disk."""
        if self.writing is not None and not self.writing.done():
            return False
        self.finish()
        return time.monotonic() - self.copied + self.took >= self.seconds

    def begin(self, content: Mapping[str, Any]) -> None:
        """Copy `content` and write the copy in a thread. What it holds may change when this returns."""
        self.finish()
        self.copied = time.monotonic()
        copy, copied = copy_to_host(content), None
        if torch.cuda.is_initialized():  # the copies wait in its stream, before the steps to come
            copied = torch.cuda.Event()
            copied.record()
        self.writing = self.pool.submit(self.write, copy, copied)

    def save(self, content: Mapping[str, Any]) -> None:
        """Write `content` now, after what is being written; whether that failed is then of no interest."""
        self.wait()
        self.writing = None
        save_state(self.path, content)

    def write(self, content: Mapping[str, Any], copied: torch.cuda.Event | None) -> float:
        """Write in the thread; return the seconds that it took."""
        if copied is not None:
            copied.synchronize()
        started = time.monotonic()
        save_state(self.path, content)
        return time.monotonic() - started

    def wait(self) -> None:
        """Wait until nothing is being written."""
        if self.writing is not None:
            wait([self.writing])

    def finish(self) -> None:
        """Wait for the last write. Raises what it failed with, once."""
        writing, self.writing = self.writing, None
        if writing is not None:
            self.took = writing.result()


def copy_to_host(value: Any) -> Any:
    """Copy tensors, and what holds them, into the host's memory. From a GPU into pinned memory, without waiting:
    it is whole once the GPU's current stream has come so far."""
    if isinstance(value, Tensor):
        if value.device.type != "cuda":
            return value.detach().clone()
        target = torch.empty_like(value, device="cpu", pin_memory=True)
        return target.copy_(value.detach(), non_blocking=True)
    if isinstance(value, Mapping):
        return {key: copy_to_host(each) for key, each in value.items()}
    return [copy_to_host(each) for each in value] if isinstance(value, list) else value
