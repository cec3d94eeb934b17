"""Write the files of `embed` and `predict`: one process at a time, and only over files of the same images."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lowres_ssl.environment import describe_environment
from lowres_ssl.errors import ConfigError, LockLostError
from lowres_ssl.inference.load import PortableEncoder, UnreadableFiles
from lowres_ssl.inference.writers import TableColumns, open_writers
from lowres_ssl.io.atomic import atomic_write, write_json
from lowres_ssl.io.checksummed_json import hash_file, to_json
from lowres_ssl.io.locks import Lock, lock


@dataclass(frozen=True)
class Destination:
    """Name the files in `folder`: `name` in each of the formats, and `command`.json, the record of how they came."""

    folder: Path
    command: str
    name: str
    formats: Sequence[str]

    @property
    def record(self) -> Path:
        return self.folder / f"{self.command}.json"

    @property
    def files(self) -> list[Path]:
        return [self.folder / f"{self.name}.{each}" for each in self.formats]


@dataclass(frozen=True)
class WrittenFiles:
    """Name the `files` that were written, with `images` rows each, and their `record`, a JSON file."""

    files: list[Path]
    record: Path
    images: int
    unreadable: UnreadableFiles


def write_rows(
    encoder: PortableEncoder,
    images: Path,
    destination: Destination,
    pieces: Iterable[tuple[TableColumns, UnreadableFiles]],
    more: Mapping[str, Any],
) -> WrittenFiles:
    """Write the pieces as they come, then the record with `more`: then the files are all there."""
    count = 0
    unreadable: UnreadableFiles = []
    with lock_destination(destination, images) as held:
        with open_writers(destination.folder, destination.name, destination.formats) as write:
            for columns, left_out in pieces:
                if len(columns["id"]):
                    write(columns)
                count += len(columns["id"])
                unreadable += left_out
            held.check()
        content = {
            "run": encoder.run.name,
            "encoder": {"file": encoder.file.name, "sha256": hash_file(encoder.file)},
            "preprocessing": asdict(encoder.preprocessing),
            "finished": True,
            "folder": str(images.resolve()),
            "images": count,
            "unreadable": [{"file": str(path), "why": why} for path, why in unreadable],
            "files": [path.name for path in destination.files],
            **more,
            **to_json(describe_environment(encoder.compute.describe())),
        }
        write_json(destination.record, content)
    return WrittenFiles(destination.files, destination.record, count, unreadable)


@contextmanager
def lock_destination(destination: Destination, images: Path) -> Iterator[Lock]:
    """Lock the destination while the block writes its files.

    Meanwhile the record has the images only: a process that is killed leaves it so, and the same call goes on from
    there. A block that fails before it has replaced a file leaves the record that was there. Check the lock before
    files are put in their place.

    Raises `ConfigError` for a folder that is none, or that holds files of other images or of other programs.
    """
    record = destination.record
    check_no_overwrite(destination, images)
    record.parent.mkdir(parents=True, exist_ok=True)
    with lock(record, str(record)) as held:
        check_no_overwrite(destination, images)  # another process may have been there first
        before, there = record.read_bytes() if record.exists() else None, get_inodes(destination)
        write_json(record, {"folder": str(images.resolve()), "finished": False})
        try:
            yield held
        except LockLostError:  # it is another process's now
            raise
        except BaseException:
            if get_inodes(destination) == there:
                if before is None:
                    record.unlink()
                else:
                    with atomic_write(record) as file:
                        file.write(before)
            raise


def get_inodes(destination: Destination) -> list[int | None]:
    """Identify each file, None where there is none: one that replaces another has another number."""
    return [path.stat().st_ino if path.exists() else None for path in destination.files]


def check_no_overwrite(destination: Destination, images: Path) -> None:
    folder, record, elsewhere = destination.folder, destination.record, "type folder=FOLDER for another place"
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"folder={folder}: got a file, wanted a folder; {elsewhere}")
    try:
        before = Path(json.loads(record.read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        others = [path for path in destination.files if path.exists()]
        if others:
            why = f"is there, and no {record.name} that says what it was made of"
            raise ConfigError(f"{others[0]}: {why}; move it away, or {elsewhere}") from None
        return
    if before.resolve() != images.resolve():
        raise ConfigError(f"{folder}: holds what was made of {before}, got images={images}; {elsewhere}")
