"""Find an encoder's weights among the tensors of a file, whatever they are called there, and put them into it."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping

import torch
from torch import Tensor, nn

from lowres_ssl.errors import CheckpointError

# What the last layer of a classification network is called, by torchvision and by timm.
CLASSIFIER_LAYERS = ("fc", "head", "classifier")


def is_dense(value: Tensor) -> bool:
    """Whether a tensor is an array of numbers in memory, as weights are: not sparse, quantised or complex."""
    return value.layout is torch.strided and not (value.is_quantized or value.is_complex() or value.is_meta)


def load_encoder_weights(
    encoder: nn.Module, tensors: Mapping[str, Tensor], where: str, part: str | None = None
) -> None:
    """Put `tensors` into the encoder, strictly: each of its own has to be there, in its shape.

    What is no part of it is left out: a classification layer or projector, and what stands outside of the names that
    the encoder's begin with, such as "module.". `part`: these names, where the file holds several encoders. Raises
    `CheckpointError` with the first keys that do not fit, or for weights that are not finite.
    """
    wanted = encoder.state_dict()
    # PyTorch counts batches in a buffer that older files lack; it changes nothing here.
    counters = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")}
    inner = choose_part(tensors, {key: wanted[key] for key in wanted if key not in counters}, where, part)
    own = {key.split(".")[0] for key in wanted}
    given = counters | {key: value for key, value in inner.items() if key in wanted or not is_other_part(key, own)}
    given = {key: fit_channels(value, wanted.get(key)) for key, value in given.items()}
    problems = [f"{key} is missing" for key in wanted if key not in given]
    problems += [f"{key} is not known" for key in given if key not in wanted]
    problems += [
        f"{key} is {list(given[key].shape)}, wanted {list(wanted[key].shape)}"
        for key in wanted
        if key in given and given[key].shape != wanted[key].shape
    ]
    if problems:
        raise CheckpointError(
            f"{where}: these are weights of another architecture ({'; '.join(problems[:3])}; {len(problems)} in all); "
            "name the right one with backbone=NAME (and backbone.small_stem=true if it has one)"
        )
    odd = [key for key, value in given.items() if not is_dense(value)]
    if odd:
        raise CheckpointError(f"{where}: {odd[0]} is no plain tensor; save model.state_dict() of an ordinary model")
    bad = [key for key, value in given.items() if not value.float().isfinite().all()]
    if bad:
        raise CheckpointError(f"{where}: {bad[0]} holds NaN or infinite values; these weights are of no use")
    encoder.load_state_dict(given)


def is_other_part(key: str, own: Collection[str]) -> bool:
    """Whether a tensor belongs to a module beside those of the encoder, `own`, or to what only training needs."""
    first, _, rest = key.partition(".")
    return first in CLASSIFIER_LAYERS or first == "mask_token" or (bool(rest) and first not in own)


def fit_channels(given: Tensor, wanted: Tensor | None) -> Tensor:
    """Sum the three input channels of a first convolution where the encoder has one, and divide one among its three:
    of grey images, whose channels are the same, the outputs stay what they were."""
    if wanted is None or not given.ndim == wanted.ndim == 4:
        return given
    match given.shape[1], wanted.shape[1]:
        case 3, 1:
            return given.sum(dim=1, keepdim=True)
        case 1, 3 if wanted.shape[0] == given.shape[0]:
            return given.expand(-1, 3, -1, -1) / 3
    return given


def choose_part(
    tensors: Mapping[str, Tensor], wanted: Mapping[str, Tensor], where: str, asked: str | None
) -> Mapping[str, Tensor]:
    """Choose the tensors by the encoder's own names, which `wanted` has: those of the part that `asked` means, or the
    only one that fits; those that come nearest where none does. Raises `CheckpointError` for several parts, or another
    one."""
    if not wanted:
        return tensors
    first = next(iter(wanted))
    named = [key.removesuffix(first) for key in tensors if f".{key}".endswith(f".{first}")]
    parts = {
        part: {key.removeprefix(part): value for key, value in tensors.items() if key.startswith(part)}
        for part in named
    }
    whole = {part: own for part, own in parts.items() if has_shapes(own, wanted)}
    if not whole:
        numbered = name_numbered_parts(tensors, wanted)
        whole = {part: own for part, own in numbered.items() if has_shapes(own, wanted)}
        parts = numbered | parts
    names = {part: part.removesuffix(".") for part in whole}
    there = " or ".join(f"weights_part={name}" for name in names.values())
    found = list(whole)
    if asked is not None and whole:
        found = [part for part, name in names.items() if asked in (name, part) or name.endswith(f".{asked}")]
        if not found:
            raise CheckpointError(f"{where}: weights_part={asked}: no such encoder that fits; type {there}")
    if not found:
        return max(parts.values(), key=lambda own: len(own.keys() & wanted.keys()), default=tensors)
    chosen = whole[found[0]]
    if not all(is_same_memory(whole[part][key], chosen[key]) for part in found[1:] for key in wanted):
        raise CheckpointError(f"{where}: holds several encoders; type the one that is meant: {there}")
    return chosen


def has_shapes(own: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> bool:
    """Whether all that is wanted is there in its shape, but for the channels that `fit_channels` fits."""
    pairs = [(own[key].shape, value.shape) for key, value in wanted.items() if key in own]
    return len(pairs) == len(wanted) and all(
        given == shape or (len(shape) == 4 and (given[:1], given[2:]) == (shape[:1], shape[2:]))
        for given, shape in pairs
    )


def is_same_memory(one: Tensor, other: Tensor) -> bool:
    """Whether two names stand for one tensor: a module that was saved as a part of two."""
    return is_dense(one) and is_dense(other) and one.data_ptr() == other.data_ptr()


def name_numbered_parts(tensors: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, dict[str, Tensor]]:
    """Name the tensors of each part that numbers its modules, as `nn.Sequential` does, after those of the encoder, in
    order: "0.weight" is "conv1.weight". Modules without tensors have a number too, so that some are not there."""
    numbers: dict[str, set[str]] = defaultdict(set)
    for key in tensors:
        for found in re.finditer(r"(?:^|(?<=\.))\d{1,4}(?=\.)", key):
            numbers[key[: found.start()]].add(found[0])
    modules = list(dict.fromkeys(key.split(".")[0] for key in wanted))
    parts: dict[str, dict[str, Tensor]] = {}
    for part, own in numbers.items():
        names = dict(zip(sorted(own, key=int), modules, strict=False))
        inner = [
            (key.removeprefix(part).partition("."), value) for key, value in tensors.items() if key.startswith(part)
        ]
        parts[part] = {f"{names.get(first, first)}.{rest}": value for (first, _, rest), value in inner}
    return parts
