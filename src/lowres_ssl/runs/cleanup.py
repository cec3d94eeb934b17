"""Remove what nobody needs under `outputs/`: training states of finished runs, stores of no run, broken-off files."""

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lowres_ssl.console import count_bytes, format_bytes, format_table
from lowres_ssl.io.atomic import get_previous_path
from lowres_ssl.runs.run import find_runs

SECONDS_PER_DAY = 24 * 60 * 60  # seconds; what is younger may belong to a process that is still at work


@dataclass(frozen=True)
class Leftover:
    path: Path
    why: str


def find_leftovers(output_dir: Path, store_dir: Path) -> list[Leftover]:
    """What can go. Stores that lie outside `output_dir` may serve runs elsewhere: they are left alone.

    Raises `CheckpointError` if a run cannot be read, since then it is not known which store it needs.
    """
    runs = [run for folder in (output_dir, *find_benchmarks(output_dir)) for run in find_runs(folder)]
    records = [(run, run.read()) for run in runs]
    found = [
        Leftover(checkpoint, "training state of a finished run")
        for run, record in records
        for checkpoint in (run.checkpoint, get_previous_path(run.checkpoint))
        if record.outcome is not None and checkpoint.exists()
    ]
    if output_dir.resolve() in store_dir.resolve().parents and store_dir.is_dir():
        needed = {record.store for _, record in records}
        found += [
            Leftover(store.parent, "decoded images that no run needs, a day old")
            for store in sorted(store_dir.glob("*/store.json"))
            if store.parent.name not in needed and is_older_than_a_day(store)
        ]
    return [*found, *find_temp_files(output_dir)]


def find_benchmarks(output_dir: Path) -> list[Path]:
    """Folders of benchmarks, whose runs use the same decoded images."""
    return sorted(path for path in (output_dir / "benchmark").glob("*") if path.is_dir())


def find_temp_files(folder: Path) -> Iterator[Leftover]:
    for ending in (".part", ".lock"):  # what is locked has a heartbeat, so it is never old
        for path in sorted(folder.rglob(f".*{ending}")):
            if is_older_than_a_day(path):
                yield Leftover(path, "broken off more than a day ago")


def is_older_than_a_day(path: Path) -> bool:
    return time.time() - path.stat().st_mtime > SECONDS_PER_DAY


def remove_leftovers(output_dir: Path, store_dir: Path) -> None:
    """Show what can go, then remove it. Raises as `find_leftovers`, and `OSError`."""
    found = find_leftovers(output_dir, store_dir)
    if not found:
        print(f"nothing to remove below {output_dir}")
        return
    sizes = [count_bytes(leftover.path) for leftover in found]
    rows = [[str(leftover.path), format_bytes(size), leftover.why] for leftover, size in zip(found, sizes, strict=True)]
    print(format_table(["removed", "", ""], rows), flush=True)
    for leftover in found:
        if leftover.path.is_dir():
            shutil.rmtree(leftover.path)
        else:
            leftover.path.unlink(missing_ok=True)
    print(f"{format_bytes(sum(sizes))} freed")
