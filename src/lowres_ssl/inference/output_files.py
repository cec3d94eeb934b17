"""Write the files of `embed` and `predict`, piece by piece, each whole or not at all."""

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
import pandas as pd
from numpy.typing import NDArray

from lowres_ssl.console import shorten_list
from lowres_ssl.environment import describe_environment
from lowres_ssl.errors import ConfigError
from lowres_ssl.inference.load import PortableEncoder, UnreadableFiles
from lowres_ssl.io.atomic import atomic_write, write_json
from lowres_ssl.io.checksummed_json import hash_file, to_json
from lowres_ssl.io.locks import lock
from lowres_ssl.registry import import_extra
from lowres_ssl.reporting.tables.formats import escape_formula

TableColumns = Mapping[str, list[str] | NDArray[Any]]
TableWriter = Callable[[TableColumns], None]
Piece = tuple[TableColumns, UnreadableFiles]  # rows of readable images, and the images that were not


@contextmanager
def open_parquet_writer(path: Path) -> Iterator[TableWriter]:
    """Write a row group for each piece; a column [n, D] is a list of fixed length. Raises `ConfigError` without
    pyarrow."""
    pyarrow = import_extra("pyarrow", "export", "formats=[parquet]", "formats=[npz]")
    from pyarrow.parquet import ParquetWriter

    def convert(values: list[str] | NDArray[Any]) -> Any:
        if isinstance(values, list):
            return pyarrow.array(values, type=pyarrow.string())
        flat = pyarrow.array(np.ascontiguousarray(values).reshape(-1))
        return flat if values.ndim == 1 else pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])

    with atomic_write(path) as file, ExitStack() as opened:
        writer: Any = None

        def write(columns: TableColumns) -> None:
            nonlocal writer
            table = pyarrow.table({name: convert(values) for name, values in columns.items()})
            if writer is None:
                writer = opened.enter_context(ParquetWriter(file, table.schema, compression="zstd"))
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
        is_first = True

        def write(columns: TableColumns) -> None:
            nonlocal is_first
            cells = {
                escape_formula(name): list(map(escape_formula, values)) if isinstance(values, list) else values
                for name, values in columns.items()
            }
            text = pd.DataFrame(cells).to_csv(index=False, header=is_first, float_format="%.6g", lineterminator="\n")
            file.write(text.encode())
            is_first = False

        yield write


WRITERS: dict[str, Callable[[Path], AbstractContextManager[TableWriter]]] = {
    ".parquet": open_parquet_writer,
    ".npz": open_npz_writer,
    ".csv": open_csv_writer,
}


@contextmanager
def open_writers(files: Sequence[Path]) -> Iterator[TableWriter]:
    """Write each piece to each of the files, by its suffix. Raises `ConfigError` where a library is missing."""
    with ExitStack() as opened:
        writers = [opened.enter_context(WRITERS[path.suffix](path)) for path in files]

        def write(columns: TableColumns) -> None:
            for each in writers:
                each(columns)

        yield write


@dataclass(frozen=True)
class WrittenFiles:
    """Name the `files` that were written, with `images` rows each, and their `record`, a JSON file."""

    files: list[Path]
    record: Path
    images: int
    unreadable: UnreadableFiles


def write_rows(
    encoder: PortableEncoder,
    sources: list[str],
    files: list[Path],
    record: Path,
    pieces: Iterable[Piece],
    more: Mapping[str, Any],
) -> WrittenFiles:
    """Write the pieces of the images in `sources` to the files as they come, by one process at a time, then the
    `record` beside them, a JSON file of how they came, with `more`: then the files are all there.

    A process that is killed while it puts files in their place leaves a record that names the images, so that the same
    call goes on from there. Raises `ConfigError` for a folder that is none, or that holds files of other images or of
    other programs.
    """
    count = 0
    unreadable: UnreadableFiles = []
    about: dict[str, Any] = {"made_of": sources, "finished": False}
    check_no_overwrite(files, record, sources)
    record.parent.mkdir(parents=True, exist_ok=True)
    with lock(record, str(record)) as held:
        check_no_overwrite(files, record, sources)  # another process may have been there first
        with open_writers(files) as write:
            for columns, left_out in pieces:
                if len(columns["id"]):
                    write(columns)
                count += len(columns["id"])
                unreadable += left_out
            held.check()
            write_json(record, about)
        content = {
            "run": encoder.run.name,
            "encoder": {"file": encoder.file.name, "sha256": hash_file(encoder.file)},
            "preprocessing": asdict(encoder.preprocessing),
            **about,
            "finished": True,
            "images": count,
            "unreadable": [{"file": str(path), "why": why} for path, why in unreadable],
            "files": [path.name for path in files],
            **more,
            **to_json(describe_environment(encoder.compute.describe())),
        }
        write_json(record, content)
    return WrittenFiles(files, record, count, unreadable)


def check_no_overwrite(files: list[Path], record: Path, sources: list[str]) -> None:
    folder, elsewhere = record.parent, "type folder=FOLDER for another place"
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"folder={folder}: got a file, wanted a folder; {elsewhere}")
    try:
        before = list(json.loads(record.read_text(encoding="utf-8"))["made_of"])
    except (OSError, ValueError, KeyError, TypeError):
        others = [path for path in files if path.exists()]
        if others:
            why = f"is there, and no {record.name} that says what it was made of"
            raise ConfigError(f"{others[0]}: {why}; move it away, or {elsewhere}") from None
        return
    if before != sources:
        made, got = (shorten_list(names, 1) for names in (before, sources))
        raise ConfigError(f"{folder}: holds what was made of {made}, got images={got}; {elsewhere}")
