"""What a checkpoint has to hold so that this training can go on from it. Its checksums tell damage, not who wrote it:
what fits in its form but not in its content would end hours later, or in a traceback.
"""

import math
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor

from lowres_ssl.encoders.weights_file import is_dense, save_state

# Of a line of the history, beside the terms of the loss.
HISTORY_COLUMNS = frozenset(["epoch", "loss", "learning_rate", "embedding_std", "effective_rank"]) | frozenset(
    ["views_per_second", "seconds", "compile_seconds"]
)
STEP_OPTIONS = ("lr", "params")  # of the optimiser's options


def check_dense_tensors(value: Any) -> None:
    """Raises `ValueError` unless all tensors in it are arrays of real numbers, which parameters can be copied from."""
    if isinstance(value, Tensor):
        check_saved_value(is_dense(value), "tensors")
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            check_dense_tensors(inner)


def check_saved_progress(content: Mapping[str, Any], steps: int) -> None:
    """Raises `ValueError` or `KeyError` unless epoch, history and meter are those of a training of so many `steps` an
    epoch."""
    epoch, history, meter = content["epoch"], content["history"], content["meter"]
    check_saved_value(is_count(epoch), "epoch")
    check_saved_value(isinstance(history, list) and len(history) == epoch, "history")
    for number, line in enumerate(history, start=1):
        check_saved_value(
            isinstance(line, dict) and line.keys() >= HISTORY_COLUMNS and line.keys() == history[0].keys(), "history"
        )
        check_saved_value(all(is_number(each) for each in line.values()) and line["epoch"] == number, "history")
    check_saved_value(isinstance(meter, dict), "meter")
    made, sums, embeddings = (meter[key] for key in ("steps", "sums", "embeddings"))
    check_saved_value(is_count(made) and made < steps, "meter.steps")
    for key in ("seconds", "compile_seconds"):
        check_saved_value(is_number(meter[key]) and 0 <= meter[key] < math.inf, f"meter.{key}")
    check_saved_value(isinstance(sums, dict) and all(isinstance(name, str) for name in sums), "meter.sums")
    check_saved_value(
        all(is_float_tensor(each, 0) for each in sums.values()) and bool(sums) == bool(made), "meter.sums"
    )
    check_saved_value(
        isinstance(embeddings, list) and all(is_float_tensor(each, 2) for each in embeddings), "meter.embeddings"
    )
    check_saved_value(
        bool(embeddings) == bool(made) and len({each.shape[1] for each in embeddings}) <= 1, "meter.embeddings"
    )


def check_saved_best(best: Any, epoch: int, encoder: Mapping[str, Tensor], classifier: Mapping[str, Tensor]) -> None:
    """Raises `ValueError` or `KeyError` unless it is None, or weights that fit these, as of an epoch before."""
    if best is None:
        return
    check_saved_value(isinstance(best, dict) and best.keys() == {"epoch", "accuracy", "encoder", "classifier"}, "best")
    check_saved_value(is_count(best["epoch"]) and 1 <= best["epoch"] <= epoch and is_number(best["accuracy"]), "best")
    check_saved_value(is_same_state_form(best["encoder"], encoder), "best.encoder")
    check_saved_value(is_same_state_form(best["classifier"], classifier), "best.classifier")


def check_saved_options(saved: Any) -> None:
    """Raises `ValueError` or `KeyError` unless it has the form of an optimiser's state, before PyTorch takes it."""
    check_saved_value(isinstance(saved, dict) and isinstance(saved["state"], dict), "optimiser.state")
    check_saved_value(isinstance(saved["param_groups"], list), "optimiser.param_groups")
    for group in saved["param_groups"]:
        whole = isinstance(group, dict) and isinstance(group["params"], list) and all(map(is_count, group["params"]))
        check_saved_value(whole, "optimiser.param_groups")


def check_loaded_optimiser(optimiser: torch.optim.Optimizer, before: list[dict[str, Any]]) -> None:
    """Raises `ValueError` unless what it has loaded fits its parameters, and its options are those of `before`."""
    for loaded, own in zip(optimiser.param_groups, before, strict=True):
        for key, value in own.items():
            same = key in STEP_OPTIONS or (type(loaded.get(key)) is type(value) and loaded[key] == value)
            check_saved_value(same, f"optimiser.{key}")
        for parameter in loaded["params"]:
            kept = optimiser.state[parameter]
            check_saved_value(isinstance(kept, dict), "optimiser.state")
            fit = all(
                each is None or (isinstance(each, Tensor) and is_same_form(each, parameter)) for each in kept.values()
            )
            check_saved_value(fit, "optimiser.state")
            check_saved_value(not own.get("momentum") or kept.get("momentum_buffer") is not None, "optimiser.state")


def check_saved_value(fits: bool, what: str) -> None:
    if not fits:
        raise ValueError(f"{what}: not what this training saves")


def is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def is_number(value: Any) -> bool:
    return type(value) in (int, float)


def is_float_tensor(value: Any, dimensions: int) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.dim() == dimensions


def is_same_form(value: Tensor, own: Tensor) -> bool:
    return value.layout is own.layout and value.shape == own.shape and value.dtype == own.dtype


def is_same_state_form(given: Any, own: Mapping[str, Tensor]) -> bool:
    return (
        isinstance(given, dict)
        and given.keys() == own.keys()
        and all(isinstance(given[name], Tensor) and is_same_form(given[name], own[name]) for name in own)
    )


class CheckpointWriter:
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

    def __enter__(self) -> "CheckpointWriter":
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
        copy = copy_to_host(content)
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


def copy_to_host(value: Any) -> Any:
    """A copy in the host's memory: of tensors, and of what holds them. From a GPU into pinned memory, without waiting:
    it is whole once the GPU's current stream has come so far."""
    if isinstance(value, Tensor):
        if value.device.type != "cuda":
            return value.detach().clone()
        target = torch.empty_like(value, device="cpu", pin_memory=True)
        return target.copy_(value.detach(), non_blocking=True)
    if isinstance(value, Mapping):
        return {key: copy_to_host(each) for key, each in value.items()}
    return [copy_to_host(each) for each in value] if isinstance(value, list) else value
