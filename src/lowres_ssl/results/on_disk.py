"""Results on disk: what a probe said of a run's images, in a folder of the run. Written once, checked when read.

result.json                 scores, settings, where it comes from; the hashes of the others
predictions.npz             ids, groups, labels, predictions and scores of the test and validation images
probe.safetensors           beside a result of all labels: what the probe has learnt
"""

import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lowres_ssl.command_line.overrides import command_line
from lowres_ssl.errors import CheckpointError
from lowres_ssl.files.atomic import replacing
from lowres_ssl.files.hashes import file_hash
from lowres_ssl.files.sealed import write_sealed
from lowres_ssl.files.stored import WRITTEN, Stored, read_json

FITTED = "probe.safetensors"
# Of all arrays in a `predictions.npz`, unpacked: those of 500,000 images with long names have about half of it.
MOST_BYTES = 2**30
HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def write_result(folder: Path, result: Mapping[str, Any], predictions: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """The predictions first, and what the probe has learnt before this: a `result.json` says that all of it is there,
    and is of each other."""
    path = folder / "predictions.npz"
    with replacing(path) as file:
        np.savez_compressed(file, allow_pickle=False, **predictions)
    own = {"predictions_sha256": file_hash(path, remake(folder))}
    if (folder / FITTED).exists():
        own["fitted_sha256"] = file_hash(folder / FITTED, remake(folder))
    write_sealed(folder / "result.json", {"schema": WRITTEN["result"], **result, **own})


def read_result(folder: Path) -> dict[str, Any] | None:
    """What `result.json` in `folder` says; None if there is none. Raises `CheckpointError` if it is damaged."""
    return read_json(folder / "result.json", "result", remake(folder))


def read_predictions(folder: Path, result: Mapping[str, Any] | None = None) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays that `write_result` stored; `result`: what it stored beside them, where that was read already.

    Raises `CheckpointError` if they are not as they were written, or for a name that is looked up and not among them.
    """
    path, repair = folder / "predictions.npz", remake(folder)
    result = (read_result(folder) or {}) if result is None else result
    check_written(path, result.get("predictions_sha256"), repair)
    try:
        # Opened here, since NumPy would leave it open when it is no zip.
        check_sizes(path)
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            stored = Stored(arrays)
    except Exception as error:  # whatever the readers of zip and of arrays stumble over, the file is the cause
        raise CheckpointError(f"{path}: cannot be read ({error}); {repair}") from error
    stored.path, stored.repair = path, repair
    return stored


def check_predictions(folder: Path, result: Mapping[str, Any]) -> None:
    """Raises `CheckpointError` unless the predictions of a result are as they were written."""
    check_written(folder / "predictions.npz", result.get("predictions_sha256"), remake(folder))


def check_sizes(path: Path) -> None:
    """Raises `ValueError` if the arrays would take more memory than predictions do, or claim to hold more than there
    is. Raises whatever the readers of zip and of arrays stumble over."""
    with zipfile.ZipFile(path) as archive:
        whole = sum(info.file_size for info in archive.infolist())
        if whole > MOST_BYTES:
            raise ValueError(f"{whole:,} bytes of arrays, wanted at most {MOST_BYTES:,}")
        for info in archive.infolist():
            with archive.open(info) as file:
                read = HEADERS[np.lib.format.read_magic(file)]
                shape, _, dtype = read(file)
            if math.prod(shape) * dtype.itemsize > info.file_size:
                raise ValueError(f"{info.filename} claims to hold more than there is")


def fitted_file(folder: Path, result: Mapping[str, Any]) -> Path:
    """What the probe of a result has learnt, as it was written. Raises `CheckpointError` if it is not there, or holds
    something else."""
    path = folder / FITTED
    check_written(path, result.get("fitted_sha256"), remake(folder))
    return path


def check_written(path: Path, written: str | None, repair: str) -> None:
    """Raises `CheckpointError` unless the file has the hash that was `written` down; an earlier version wrote none."""
    if written is not None and file_hash(path, repair) != written:
        raise CheckpointError(f"{path}: not what its result was made from, or damaged; {repair}")


def remake(folder: Path) -> str:
    """What to type where a result is damaged."""
    return f"type the command that made it again, such as {command_line('evaluate', f'run={folder.parent}')}"
