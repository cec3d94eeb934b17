"""What the jobs of a sweep leave in its folder for the sweep's end: files, since a job may run in any process, on any
machine. A note is a dataclass of plain values; it is one file, `<kind>-<number of the job>.json`.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode

from lowres_ssl.files.atomic import write_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Note = TypeVar("Note", bound=DataclassInstance)
else:
    Note = TypeVar("Note")


def in_a_sweep() -> bool:
    """Whether the job at hand is one of a sweep."""
    return HydraConfig.get().mode is RunMode.MULTIRUN


def leave(kind: str, note: "DataclassInstance") -> None:
    """Of the job at hand, which is one of a sweep."""
    hydra = HydraConfig.get()
    write_json(place(Path(hydra.sweep.dir), kind, hydra.job.num), asdict(note))


def place(folder: Path, kind: str, number: int) -> Path:
    return folder / f"{kind}-{number}.json"


def left(folder: Path, kind: str, note: type[Note]) -> Iterator[Note]:
    """Those of a kind that jobs left there, in the jobs' order."""
    for path in sorted(folder.glob(f"{kind}-*.json"), key=lambda path: int(path.stem.removeprefix(f"{kind}-"))):
        yield note(**json.loads(path.read_text(encoding="utf-8")))
