"""Read and write an encoder's weights: whole or not at all, and without running any code that a file may hold."""

import errno
import io
import json
import mmap
import pickletools
import shlex
import warnings
import zipfile
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from lowres_ssl.errors import CheckpointError
from lowres_ssl.io.atomic import atomic_write
from lowres_ssl.io.checksummed_json import check_version

TENSORS_VERSION = 1  # of encoders, classifiers and features


PYTHON_3_NAMES = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # of the modules that pickles call as Python 2 did
SAVED_OBJECT = "/data.pkl"  # in the zip that `torch.save` writes


def save_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
    """Write a safetensors file. The metadata is one JSON text under "lowres_ssl": several keys would be written in an
    order that differs from process to process, and the bytes with it."""
    text = json.dumps({"schema": TENSORS_VERSION, **metadata}, sort_keys=True, ensure_ascii=False)
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_write(path) as file:
        file.write(safetensors.torch.save(plain, metadata={"lowres_ssl": text}))


def load_tensors(path: Path, names: Collection[str] | None = None) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Load tensors (those of these names, None: all) and metadata of a safetensors file.

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
            return {name: file.get_tensor(name) for name in (file.keys() if names is None else names)}, metadata
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not a safetensors file, or a damaged one ({error})") from error


def load_metadata(path: Path) -> dict[str, Any]:
    """Load the metadata of a file that this package wrote; none of another file. Raises as `load_tensors`."""
    return load_tensors(path, ())[1] if path.suffix == ".safetensors" else {}


def load_weights(path: Path) -> dict[str, Tensor]:
    """Load the tensors of a weights file: safetensors, or what `torch.save` wrote, read with `weights_only=True`.

    Tensors of nested dicts are named by their keys, "state_dict.conv1.weight", those of a module as its `state_dict()`
    names them. Objects of other classes are read as `Placeholder`. Raises `CheckpointError` for a file without tensors,
    or what `load_state` raises where the machine is at fault.
    """
    if path.suffix == ".safetensors" or not path.is_file():
        return load_tensors(path)[0]
    try:
        check_not_compressed(path)
        with warnings.catch_warnings(), torch.serialization.safe_globals(list_placeholders(path)):
            warnings.simplefilter("ignore")  # a refused pickle is reported below, in one line
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a pickle that wants to run code is refused in many ways
        if is_machine_error(error):
            raise
        raise CheckpointError(
            f"{path}: neither safetensors nor a PyTorch file of plain tensors{suggest_conversion(path, error)}"
        ) from error
    tensors = collect_tensors(loaded)
    if not tensors:
        raise CheckpointError(f"{path}: wanted tensors by name, got {type(loaded).__name__} without any")
    return tensors


class Placeholder:
    """Stand for a class or function that a file names and `weights_only=True` refuses: nothing of it is imported or
    called. Of an object, the attributes that the file has written are kept."""

    def __new__(cls, *_arguments: object) -> Any:
        return super().__new__(cls)

    def __init__(self, *_arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        if isinstance(state, dict):
            self.__dict__.update(state)


class DictPlaceholder:
    """Stand likewise for a class that is a dict, such as Lightning's AttributeDict: its items are kept as well."""

    def __new__(cls, *_arguments: object) -> Any:
        return OrderedDict()


def list_placeholders(path: Path) -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """List a placeholder for each class or function that a PyTorch file names, and its name, without loading one."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            inside = next(name for name in archive.namelist() if name.endswith(SAVED_OBJECT))
            return [make_placeholder(name) for name in list_names(io.BytesIO(archive.read(inside)), 1)]
    # Before PyTorch 1.6: a number, a version, the machine, and only then what was saved. A map reads no more than
    # there is, whatever length is written there.
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return [make_placeholder(name) for name in list_names(content, 4)]


def list_names(file: Any, pickles: int) -> list[str]:
    """List what the first so many pickles in a file name, "module name" each."""
    steps = (step for _ in range(pickles) for step in pickletools.genops(file))
    return sorted({str(name) for code, name, _ in steps if code.name == "GLOBAL"})


def make_placeholder(named: str) -> tuple[Callable[..., Any], str]:
    module, _, name = named.partition(" ")
    return DictPlaceholder if "dict" in name.lower() else Placeholder, f"{PYTHON_3_NAMES.get(module, module)}.{name}"


def suggest_conversion(path: Path, error: Exception) -> str:
    """Explain what to type for a file of PyTorch's that cannot be read without running code; "" for others."""
    if "weights_only" not in str(error):  # which PyTorch names where it alone is in the way
        return ""
    is_script = "TorchScript" in str(error)
    load = "torch.jit.load(f, 'cpu')" if is_script else "torch.load(f, 'cpu', weights_only=False)"
    return (
        '; if you trust it, for this may run code of it, type python -c "import sys, torch; f, to = sys.argv[1:]; '
        f"x = {load}; torch.save(x.state_dict() if hasattr(x, 'state_dict') else x.get('state_dict', x), to)\" "
        f"{shlex.quote(str(path))} plain.pt where the code that wrote it is installed, and name plain.pt"
    )


def collect_tensors(loaded: object) -> dict[str, Tensor]:
    """Name each tensor in dicts and in what was read as `Placeholder`, at any depth, by its keys with dots between."""
    tensors: dict[str, Tensor] = {}
    waiting: deque[tuple[str, object]] = deque([("", loaded)])
    seen: set[int] = set()  # a dict may hold itself
    while waiting:
        name, value = waiting.popleft()
        if isinstance(value, Tensor):
            tensors.setdefault(name, value)
        elif isinstance(value, dict | Placeholder) and id(value) not in seen:
            seen.add(id(value))
            items = value if isinstance(value, dict) else {}
            for key, inner in {**items, **getattr(value, "__dict__", {})}.items():
                is_part = key in ("_modules", "_parameters", "_buffers")  # of a module
                waiting.append((name if is_part else f"{name}.{key}" if name else str(key), inner))
    return {name: value for name, value in tensors.items() if name}


def is_machine_error(error: Exception) -> bool:
    """Whether memory ran out or the disk failed, which is no fault of what the file holds."""
    if isinstance(error, OSError):
        return error.errno not in (None, errno.EINVAL)  # a damaged zip leads to places before the file's first byte
    # PyTorch has no error of its own for a CPU's memory.
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "allocate memory" in str(error))


def check_not_compressed(path: Path) -> None:
    """Raise `ValueError` for a zip that holds more than its own size: PyTorch never compresses, a bomb does."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(info.file_size for info in archive.infolist()) > path.stat().st_size:
                raise ValueError("it is compressed")
