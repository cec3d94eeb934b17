"""Write the files of `embed` and `predict`, piece by piece, each whole or not at all."""

import csv
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.environment import describe_environment
from lowres_ssl.errors import ConfigError, LockLostError
from lowres_ssl.inference.load import PortableEncoder, UnreadableFiles
from lowres_ssl.io.atomic import atomic_write, write_json
from lowres_ssl.io.checksummed_json import hash_file, to_json
from lowres_ssl.io.locks import Lock, lock
from lowres_ssl.reporting.tables.formats import escape_formula

TableColumns = Mapping[str, list[str] | NDArray[Any]]
TableWriter = Callable[[TableColumns], None]


@contextmanager
def open_parquet_writer(path: Path) -> Iterator[TableWriter]:
    """Write a row group for each piece; a column [n, D] is a list of fixed length. Needs pyarrow."""
    arrow, parquet = import_pyarrow()

    def convert(values: list[str] | NDArray[Any]) -> Any:
        if isinstance(values, list):
            return arrow.array(values, type=arrow.string())
        flat = arrow.array(np.ascontiguousarray(values).reshape(-1))
        return flat if values.ndim == 1 else arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])

    with atomic_write(path) as file, ExitStack() as opened:
        writer: Any = None

        def write(columns: TableColumns) -> None:
            nonlocal writer
            table = arrow.table({name: convert(values) for name, values in columns.items()})
            if writer is None:
                writer = opened.enter_context(parquet.ParquetWriter(file, table.schema, compression="zstd"))
            writer.write_table(table)

        yield write


@contextmanager
def open_npz_writer(path: Path) -> Iterator[TableWriter]:
    """Write what `numpy.load` reads. Numbers wait on disk beside `path` until their count is known."""
    texts: dict[str, list[str]] = {}
    numbers: dict[str, tuple[Any, NDArray[Any]]] = {}  # the file where they wait, an array of none of them
    rows = 0

    with atomic_write(path) as file, ExitStack() as temporary:

        def write(columns: TableColumns) -> None:
            nonlocal rows
            rows += len(next(iter(columns.values())))
            for name, values in columns.items():
                if isinstance(values, list):
                    texts.setdefault(name, []).extend(values)
                    continue
                if name not in numbers:
                    waiting = temporary.enter_context(tempfile.TemporaryFile(dir=path.parent))
                    numbers[name] = waiting, np.empty_like(values[:0])
                numbers[name][0].write(np.ascontiguousarray(values).data)

        yield write
        with zipfile.ZipFile(file, "w") as archive:
            for name in [*texts, *numbers]:
                # Without a date: the same content gives the same file.
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as inside:
                    if name in texts:
                        np.lib.format.write_array(inside, np.array(texts[name], dtype=np.str_))
                        continue
                    waiting, empty = numbers[name]
                    header = np.lib.format.header_data_from_array_1_0(empty)
                    np.lib.format.write_array_header_2_0(inside, header | {"shape": (rows, *empty.shape[1:])})
                    waiting.seek(0)
                    shutil.copyfileobj(waiting, inside, 2**20)


@contextmanager
def open_csv_writer(path: Path) -> Iterator[TableWriter]:
    """Write a line for each row, numbers to six digits, texts that no spreadsheet computes. Takes no column [n, D]."""
    with atomic_write(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer, begun = csv.writer(text, lineterminator="\n"), False

        def write(columns: TableColumns) -> None:
            nonlocal begun
            if not begun:
                writer.writerow(map(escape_formula, columns))
                begun = True
            cells = [
                [escape_formula(one) for one in each] if isinstance(each, list) else [f"{one:.6g}" for one in each]
                for each in columns.values()
            ]
            writer.writerows(zip(*cells, strict=True))

        yield write
        text.flush()
        text.detach()


WRITERS: dict[str, Callable[[Path], AbstractContextManager[TableWriter]]] = {
    "parquet": open_parquet_writer,
    "npz": open_npz_writer,
    "csv": open_csv_writer,
}


@contextmanager
def open_writers(folder: Path, name: str, formats: Sequence[str]) -> Iterator[TableWriter]:
    """Write each piece as `name` in each of the `formats`. Raises `ConfigError` where a library is missing."""
    if "parquet" in formats:
        import_pyarrow()
    with ExitStack() as opened:
        writers = [opened.enter_context(WRITERS[each](folder / f"{name}.{each}")) for each in formats]

        def write(columns: TableColumns) -> None:
            for each in writers:
                each(columns)

        yield write


def import_pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            "formats=[parquet] needs pyarrow; type pip install 'lowres-ssl[export]', or formats=[npz]"
        ) from error
    return pyarrow, pyarrow.parquet


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
