"""Where `embed` and `predict` write: one process at a time, and over nothing but what the same images gave before."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lowres_ssl.environment import describe_environment
from lowres_ssl.errors import ConfigError, LockLostError
from lowres_ssl.inference.load import PortableEncoder
from lowres_ssl.io.atomic import atomic_write, write_json
from lowres_ssl.io.checksummed_json import FORMAT_VERSIONS, hash_file
from lowres_ssl.io.locks import Lock, lock

UnreadableFiles = list[tuple[Path, str]]  # the path of each image that could not be read, and why


@dataclass(frozen=True)
class WrittenFiles:
    """`files` that were written, with `images` rows each; `record`, a JSON file, says how they were made."""

    files: list[Path]
    record: Path
    images: int
    unreadable: UnreadableFiles


@contextmanager
def lock_destination(record: Path, images: Path, files: Sequence[str]) -> Iterator[Lock]:
    """`files` beside `record`, which is to say how they are made of `images`, belong to the block.

    While it lasts the record says no more than the images: a process that is killed leaves it so, and the same call
    goes on from there. A block that fails before it has replaced a file leaves the record that was there. What is
    yielded is to be asked before files are put in their place.

    Raises `ConfigError` for a folder that is none, or that holds what was made of other images or by others.
    """
    check_no_overwrite(record, images, files)
    record.parent.mkdir(parents=True, exist_ok=True)
    with lock(record, str(record)) as hold:
        check_no_overwrite(record, images, files)  # another process may have been there first
        before, there = record.read_bytes() if record.exists() else None, get_inodes(record.parent, files)
        write_json(record, {"schema": FORMAT_VERSIONS["record"], "folder": str(images.resolve()), "finished": False})
        try:
            yield hold
        except LockLostError:  # it is another process's now
            raise
        except BaseException:
            if get_inodes(record.parent, files) == there:
                if before is None:
                    record.unlink()
                else:
                    with atomic_write(record) as file:
                        file.write(before)
            raise


def get_inodes(folder: Path, files: Sequence[str]) -> list[int | None]:
    """Which file each is; None for one that is not there. One that replaces another is another."""
    return [(folder / name).stat().st_ino if (folder / name).exists() else None for name in files]


def check_no_overwrite(record: Path, images: Path, files: Sequence[str]) -> None:
    elsewhere = "type folder=FOLDER for another place"
    folder = record.parent
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"folder={folder}: got a file, wanted a folder; {elsewhere}")
    try:
        before = Path(json.loads(record.read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        others = [name for name in files if (folder / name).exists()]
        if others:
            raise ConfigError(
                f"{folder / others[0]}: is there, and no {record.name} that says what it was made of; move it away, or "
                f"{elsewhere}"
            ) from None
        return
    if before.resolve() != images.resolve():
        raise ConfigError(f"{folder}: holds what was made of {before}, got images={images}; {elsewhere}")


def write_file_record(
    encoder: PortableEncoder,
    images: Path,
    record: Path,
    paths: list[Path],
    count: int,
    unreadable: UnreadableFiles,
    said: Mapping[str, Any],
) -> WrittenFiles:
    """Write down how the files were made, last: then they are all there."""
    content = {
        "schema": FORMAT_VERSIONS["record"],
        "run": encoder.run.name,
        "encoder": {"file": encoder.file.name, "sha256": hash_file(encoder.file)},
        "preprocessing": asdict(encoder.preprocessing),
        "finished": True,
        "folder": str(images.resolve()),
        "images": count,
        "unreadable": [{"file": str(path), "why": why} for path, why in unreadable],
        "files": [path.name for path in paths],
        **said,
        **describe_environment(encoder.compute.describe()),
    }
    write_json(record, content)
    return WrittenFiles(paths, record, count, unreadable)
