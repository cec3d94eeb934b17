"""Read and write an encoder's weights: whole or not at all, and without running any code that a file may hold."""

import errno
import json
import warnings
import zipfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from lowres_ssl.errors import CheckpointError
from lowres_ssl.io.atomic import atomic_write
from lowres_ssl.io.checksummed_json import check_version

TENSORS_VERSION = 1  # of encoders, classifiers and features


def all_finite(tensor: Tensor) -> Tensor:
    """bool [], on the tensor's device: true if no element is NaN or infinite. Any shape; dense, float16 to
    float64, bfloat16 or whole numbers."""
    if not tensor.numel():
        return torch.ones((), dtype=torch.bool, device=tensor.device)
    smallest, largest = tensor.aminmax()  # NaN if any element is
    return smallest.isfinite() & largest.isfinite()


# What the last layer of a classification network is called, by torchvision and by timm.
CLASSIFIER_LAYERS = ("fc", "head", "classifier")


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """A safetensors file. The metadata is one JSON text under "lowres_ssl": several keys would be written in an order
    that differs from process to process, and the bytes with it."""
    text = json.dumps({"schema": TENSORS_VERSION, **metadata}, sort_keys=True, ensure_ascii=False)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_write(path) as file:
        file.write(safetensors.torch.save(plain, metadata={"lowres_ssl": text}))


def load_tensors(path: Path, names: Collection[str] | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors (those of these names, or all) and metadata of a safetensors file.

    Raises `CheckpointError` if it is missing or is none.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; wanted a .safetensors file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = json.loads((file.metadata() or {}).get("lowres_ssl", "{}"))
            if not isinstance(metadata, dict):
                raise ValueError("its metadata are not ours")
            # Files of others have no version, and ours had none before there was a second one.
            check_version(
                metadata.pop("schema", TENSORS_VERSION), TENSORS_VERSION, path, "make it anew with force=true"
            )
            return {name: file.get_tensor(name) for name in names or file.keys()}, metadata
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a safetensors file, or a damaged one ({error})") from error


def load_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a weights file: safetensors, or a PyTorch state dict that loads with `weights_only=True`.

    A state dict may stand under "state_dict" or "model". Raises `CheckpointError` for anything else, or what
    `load_state` raises where the machine is at fault.
    """
    if path.suffix == ".safetensors" or not path.is_file():
        return load_tensors(path)[0]
    try:
        check_not_compressed(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a refused pickle is reported below, in one line
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle that wants to run code is refused in many ways
        if is_machine_error(error):
            raise
        raise CheckpointError(
            f"{path}: neither safetensors nor a PyTorch file of plain tensors; save it again with "
            "safetensors.torch.save_file(model.state_dict(), 'encoder.safetensors')"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
    if not isinstance(loaded, dict) or not all(isinstance(value, Tensor) for value in loaded.values()):
        raise CheckpointError(f"{path}: wanted a dict of tensors, got {type(loaded).__name__}")
    if not all(isinstance(key, str) for key in loaded):
        raise CheckpointError(f"{path}: wanted tensors by name, got other keys; save model.state_dict()")
    return loaded


def is_machine_error(error: Exception) -> bool:
    """Whether memory ran out or the disk failed, which is no fault of what the file holds."""
    if isinstance(error, OSError):
        return error.errno not in (None, errno.EINVAL)  # a damaged zip leads to places before the file's first byte
    # PyTorch has no error of its own for a CPU's memory.
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in str(error))


def check_not_compressed(path: Path) -> None:
    """Raises `ValueError` for a zip that holds more than its own size: PyTorch never compresses, a bomb does."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > path.stat().st_size:
                raise ValueError("it is compressed")


def is_dense(value: Tensor) -> bool:
    """Whether a tensor is an array of numbers in memory, as weights are: not sparse, quantised or complex."""
    return value.layout is torch.strided and not (value.is_quantized or value.is_complex() or value.is_meta)


def load_encoder_weights(encoder: nn.Module, tensors: Mapping[str, Tensor], where: str) -> None:
    """Put `tensors` into the encoder, strictly; a classification layer is left out, and so is a name such as "module."
    before each of the encoder's, with whatever else stands outside of it.

    Raises `CheckpointError` with the first keys that do not fit, or for weights that are not finite.
    """
    wanted = encoder.state_dict()
    # PyTorch counts batches in a buffer that older files lack; it changes nothing here.
    counters = {key: value for key, value in wanted.items() if key.endswith("num_batches_tracked")}
    inner = strip_prefix(tensors, [key for key in wanted if key not in counters], where)
    left_out = {key for key in inner if key.split(".")[0] in CLASSIFIER_LAYERS and key not in wanted}
    given = counters | {key: value for key, value in inner.items() if key not in left_out}
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
    bad = [key for key, value in given.items() if not all_finite(value.float())]
    if bad:
        raise CheckpointError(f"{where}: {bad[0]} holds NaN or infinite values; these weights are of no use")
    encoder.load_state_dict(given)


def strip_prefix(tensors: Mapping[str, Tensor], wanted: Sequence[str], where: str) -> Mapping[str, Tensor]:
    """The tensors by the encoder's own names: those of a model that held it as a part begin with that part's name.

    As they are if the names are the encoder's, or no part fits as a whole. Raises `CheckpointError` if several do.
    """
    if not wanted or wanted[0] in tensors:
        return tensors
    parts = [key.removesuffix(wanted[0]) for key in tensors if key.endswith(f".{wanted[0]}")]
    whole = [part for part in parts if all(f"{part}{key}" in tensors for key in wanted)]
    if len(whole) > 1:
        raise CheckpointError(f"{where}: holds several encoders ({', '.join(whole)}); save the one that is meant alone")
    if not whole:
        return tensors
    return {key.removeprefix(whole[0]): value for key, value in tensors.items() if key.startswith(whole[0])}
