"""Where the images of a stored run are, seen from another folder than the one it was made in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowres_ssl.runs import Run


def seen_from_here(run: Run, config: Mapping[str, Any], path: str) -> str:
    """A path of the run's stored `config` as it has to be typed here.

    A relative one was relative to the folder the command was typed in, and so was `output_dir`, below which the run
    stands: that leads back to the folder, and no result has to name it. Where that leads to nothing, `path` as it is.
    """
    outputs = Path(config.get("output_dir") or "/")
    if outputs.is_absolute() or Path(path).is_absolute() or Path(path).exists():
        return path
    place, depth = run.folder.resolve().parents[1], len(outputs.parts)
    if depth and place.parts[-depth:] != outputs.parts:
        return path
    there = (place.parents[depth - 1] if depth else place) / path
    return str(there) if there.exists() else path
