"""What under `outputs/` nobody needs any more: training states of finished runs, stores of no run, broken-off files."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lowres_ssl.files.atomic import previous_of
from lowres_ssl.runs import find_runs

DAY = 24 * 60 * 60  # seconds; what is younger may belong to a process that is still at work


@dataclass(frozen=True)
class Leftover:
    path: Path
    why: str


def leftovers(output_dir: Path, store_dir: Path) -> list[Leftover]:
    """What can go. Stores that lie outside `output_dir` may serve runs elsewhere: they are left alone.

    Raises `CheckpointError` if a run cannot be read, since then it is not known which store it needs.
    """
    runs = [run for folder in (output_dir, *benchmarks_in(output_dir)) for run in find_runs(folder)]
    descriptions = [(run, run.description()) for run in runs]
    found = [
        Leftover(checkpoint, "training state of a finished run")
        for run, description in descriptions
        for checkpoint in (run.checkpoint, previous_of(run.checkpoint))
        if description["finished"] and checkpoint.exists()
    ]
    if output_dir.resolve() in store_dir.resolve().parents and store_dir.is_dir():
        needed = {description["store"] for _, description in descriptions}
        found += [
            Leftover(store.parent, "decoded images that no run needs, a day old")
            for store in sorted(store_dir.glob("*/store.json"))
            if store.parent.name not in needed and is_old(store)
        ]
    return [*found, *broken_off(output_dir)]


def benchmarks_in(output_dir: Path) -> list[Path]:
    """Folders of benchmarks, whose runs use the same decoded images."""
    return sorted(path for path in (output_dir / "benchmark").glob("*") if path.is_dir())


def broken_off(folder: Path) -> Iterator[Leftover]:
    for ending in (".part", ".lock", ".since"):  # what is locked has a heartbeat, so it is never old
        for path in sorted(folder.rglob(f".*{ending}")):
            if is_old(path):
                yield Leftover(path, "broken off more than a day ago")


def is_old(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > DAY


def remove(leftover: Leftover) -> None:
    """Raises `OSError`."""
    if leftover.path.is_dir():
        shutil.rmtree(leftover.path)
    else:
        leftover.path.unlink(missing_ok=True)
