"""Results on disk: what a probe predicted of a run's images, in a folder of the run. Written once, checked when read.

result.json                 scores, settings, where it comes from; the hashes of the others (`records.ResultRecord`)
predictions.npz             ids, groups, labels, predictions and scores of the test and validation images
probe.safetensors           beside a result of all labels: what the probe has learnt
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lowres_ssl.config.overrides import format_command
from lowres_ssl.errors import CheckpointError
from lowres_ssl.io.atomic import atomic_write
from lowres_ssl.io.checksummed_json import hash_file, read_record, write_record
from lowres_ssl.runs.records import ResultRecord

PROBE_FILE = "probe.safetensors"
Arrays = Mapping[str, np.ndarray[Any, Any]]


def write_result(folder: Path, result: ResultRecord, predictions: Arrays) -> ResultRecord:
    """Write the predictions, then the result with the hashes of what lies beside it: a `result.json` means that all of
    it is there. The result as it was written."""
    path = folder / "predictions.npz"
    with atomic_write(path) as file:
        np.savez_compressed(file, allow_pickle=False, **predictions)
    files = [each for each in (path, folder / PROBE_FILE) if each.exists()]
    hashes = [hash_file(each, format_rescore_hint(folder)) for each in files]
    result = replace(result, predictions_sha256=hashes[0], fitted_sha256=hashes[1] if len(hashes) > 1 else None)
    write_record(folder / "result.json", result)
    return result


def find_result(folder: Path) -> ResultRecord | None:
    """Read `result.json` in `folder`; None if there is none. Raises `CheckpointError` if it is damaged."""
    return read_record(folder / "result.json", ResultRecord, format_rescore_hint(folder))


def read_result(folder: Path) -> ResultRecord:
    """Read `result.json` in `folder`. Raises `CheckpointError` if it is damaged, or gone."""
    result = find_result(folder)
    if result is None:
        raise CheckpointError(f"{folder}: its result.json is gone; {format_rescore_hint(folder)}")
    return result


def read_predictions(folder: Path, result: ResultRecord | None = None) -> Arrays:
    """Read the arrays that `write_result` stored; `result`: what it stored beside them, where that was read already.
    Raises `CheckpointError` if they are not as they were written."""
    path = check_file_hash(folder / "predictions.npz", (result or read_result(folder)).predictions_sha256)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except Exception as error:  # whatever the readers of zip and of arrays stumble over, the file is the cause
        raise CheckpointError(f"{path}: cannot be read ({error}); {format_rescore_hint(folder)}") from error


def get_fitted_file(folder: Path, result: ResultRecord) -> Path:
    """Get the file of what the probe of a result has learnt, as it was written. Raises as `check_file_hash`."""
    return check_file_hash(folder / PROBE_FILE, result.fitted_sha256)


def check_file_hash(path: Path, written: str | None) -> Path:
    """Check a file of a result and return it. Raises `CheckpointError` if it is gone, or has not the hash that was
    `written` down, where one was."""
    repair = format_rescore_hint(path.parent)
    if written is not None and hash_file(path, repair) != written:
        raise CheckpointError(f"{path}: not what its result was made from, or damaged; {repair}")
    return path


def format_rescore_hint(folder: Path) -> str:
    """Format what to type where a result is damaged."""
    return f"type the command that made it again, such as {format_command('evaluate', f'run={folder.parent}')}"
