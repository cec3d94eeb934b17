"""What a checkpoint has to hold so that this training can go on from it. Its checksums tell damage, not who wrote it:
what fits in its form but not in its content would end hours later, or in a traceback."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from lowres_ssl.checkpoint import is_plain

# Of a line of the history, beside the terms of the loss.
COLUMNS = frozenset(["epoch", "loss", "learning_rate", "embedding_std", "effective_rank"]) | frozenset(
    ["views_per_second", "seconds", "compile_seconds"]
)
SET_EACH_STEP = ("lr", "params")  # of the optimiser's options


def check_plain(value: Any) -> None:
    """Raises `ValueError` unless all tensors in it are arrays of real numbers, which parameters can be copied from."""
    if isinstance(value, Tensor):
        check(is_plain(value), "tensors")
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            check_plain(inner)


def check_progress(content: Mapping[str, Any], steps: int) -> None:
    """Raises `ValueError` or `KeyError` unless epoch, history and meter are those of a training of so many `steps` an
    epoch."""
    epoch, history, meter = content["epoch"], content["history"], content["meter"]
    check(is_count(epoch), "epoch")
    check(isinstance(history, list) and len(history) == epoch, "history")
    for number, line in enumerate(history, start=1):
        check(isinstance(line, dict) and line.keys() >= COLUMNS and line.keys() == history[0].keys(), "history")
        check(all(is_number(each) for each in line.values()) and line["epoch"] == number, "history")
    check(isinstance(meter, dict), "meter")
    made, sums, embeddings = (meter[key] for key in ("steps", "sums", "embeddings"))
    check(is_count(made) and made < steps, "meter.steps")
    for key in ("seconds", "compile_seconds"):
        check(is_number(meter[key]) and 0 <= meter[key] < math.inf, f"meter.{key}")
    check(isinstance(sums, dict) and all(isinstance(name, str) for name in sums), "meter.sums")
    check(all(is_floats(each, 0) for each in sums.values()) and bool(sums) == bool(made), "meter.sums")
    check(isinstance(embeddings, list) and all(is_floats(each, 2) for each in embeddings), "meter.embeddings")
    check(bool(embeddings) == bool(made) and len({each.shape[1] for each in embeddings}) <= 1, "meter.embeddings")


def check_best(best: Any, epoch: int, encoder: Mapping[str, Tensor], classifier: Mapping[str, Tensor]) -> None:
    """Raises `ValueError` or `KeyError` unless it is None, or weights that fit these, as of an epoch before."""
    if best is None:
        return
    check(isinstance(best, dict) and best.keys() == {"epoch", "accuracy", "encoder", "classifier"}, "best")
    check(is_count(best["epoch"]) and 1 <= best["epoch"] <= epoch and is_number(best["accuracy"]), "best")
    check(are_like(best["encoder"], encoder), "best.encoder")
    check(are_like(best["classifier"], classifier), "best.classifier")


def check_options(saved: Any) -> None:
    """Raises `ValueError` or `KeyError` unless it has the form of an optimiser's state, before PyTorch takes it."""
    check(isinstance(saved, dict) and isinstance(saved["state"], dict), "optimiser.state")
    check(isinstance(saved["param_groups"], list), "optimiser.param_groups")
    for group in saved["param_groups"]:
        whole = isinstance(group, dict) and isinstance(group["params"], list) and all(map(is_count, group["params"]))
        check(whole, "optimiser.param_groups")


def check_optimiser(optimiser: torch.optim.Optimizer, before: list[dict[str, Any]]) -> None:
    """Raises `ValueError` unless what it has loaded fits its parameters, and its options are those of `before`."""
    for loaded, own in zip(optimiser.param_groups, before, strict=True):
        for key, value in own.items():
            same = key in SET_EACH_STEP or (type(loaded.get(key)) is type(value) and loaded[key] == value)
            check(same, f"optimiser.{key}")
        for parameter in loaded["params"]:
            kept = optimiser.state[parameter]
            check(isinstance(kept, dict), "optimiser.state")
            fit = all(each is None or (isinstance(each, Tensor) and is_like(each, parameter)) for each in kept.values())
            check(fit, "optimiser.state")
            check(not own.get("momentum") or kept.get("momentum_buffer") is not None, "optimiser.state")


def check(fits: bool, what: str) -> None:
    if not fits:
        raise ValueError(f"{what}: not what this training saves")


def is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def is_number(value: Any) -> bool:
    return type(value) in (int, float)


def is_floats(value: Any, dimensions: int) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point() and value.dim() == dimensions


def is_like(value: Tensor, own: Tensor) -> bool:
    return value.layout is own.layout and value.shape == own.shape and value.dtype == own.dtype


def are_like(given: Any, own: Mapping[str, Tensor]) -> bool:
    return (
        isinstance(given, dict)
        and given.keys() == own.keys()
        and all(isinstance(given[name], Tensor) and is_like(given[name], own[name]) for name in own)
    )
