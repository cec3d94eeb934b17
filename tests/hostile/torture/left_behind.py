"""What a run leaves, without what may differ: times, and nothing else."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

TIMES = ("seconds", "views_per_second", "training_seconds", "compile_seconds")


Outcome = dict[str, Any]


def outcome(folder: Path) -> Outcome:
    """Of all runs below `folder`, by path: bytes of encoders and splits, numbers of histories, results, predictions."""
    found: dict[str, Any] = {}
    for path in sorted((folder / "outputs").glob("pretrain/**/*")):
        name = path.relative_to(folder).as_posix()
        match path.suffix:
            case ".safetensors":
                found[name] = path.read_bytes()
            case ".csv":
                rows = csv.DictReader(path.read_text().splitlines())
                found[name] = [{key: value for key, value in row.items() if key not in TIMES} for row in rows]
            case ".json":
                found[name] = timeless(json.loads(path.read_text()))
            case ".npz":
                with np.load(path) as arrays:
                    found[name] = {key: arrays[key].tobytes() for key in arrays}
            case _ if path.is_file():
                found[name] = "there"
    return found


def timeless(content: dict[str, Any]) -> dict[str, Any]:
    """Without times, and without the hashes of what holds times."""
    left = {key: value for key, value in content.items() if key not in (*TIMES, "sha256")}
    if isinstance(left.get("outcome"), dict):  # of a finished run
        left["outcome"] = timeless(left["outcome"])
    if "files" in left:
        left["files"] = sorted(left["files"])
    return left


def leftovers(folder: Path) -> list[str]:
    """Temporary files and folders, and checkpoints of finished runs."""
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.name.endswith(".part") or path.name.startswith("checkpoint")
    )


def differences(got: Outcome, wanted: Outcome) -> list[str]:
    """The files that are not the same, by name."""
    return sorted(name for name in got.keys() | wanted.keys() if got.get(name) != wanted.get(name))
