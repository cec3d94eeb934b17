"""Rows -> files, piece by piece: Parquet, NPZ and CSV that appear whole or not at all.

A writer takes pieces: columns by name, all of one length; texts (a list of str) or numbers, [n] or [n, D]. Every piece
has the columns, the types and the D of the first one. What is kept in memory is one piece, and of an NPZ the texts.
"""

import csv
import io
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.errors import ConfigError
from lowres_ssl.io.atomic import atomic_write
from lowres_ssl.io.csv_escape import escape_formula

TableColumns = Mapping[str, list[str] | NDArray[Any]]
TableWriter = Callable[[TableColumns], None]

TEXT_BLOCK_ROWS = 10_000


@contextmanager
def open_parquet_writer(path: Path) -> Iterator[TableWriter]:
    """One row group a piece; a column [n, D] is a list of fixed length. Needs pyarrow."""
    arrow, parquet_of = import_pyarrow()

    def column(values: list[str] | NDArray[Any]) -> Any:
        if isinstance(values, list):
            return arrow.array(values, type=arrow.string())
        flat = arrow.array(np.ascontiguousarray(values).reshape(-1))
        return flat if values.ndim == 1 else arrow.FixedSizeListArray.from_arrays(flat, values.shape[1])

    with atomic_write(path) as file, ExitStack() as opened:
        writer: Any = None

        def write(columns: TableColumns) -> None:
            nonlocal writer
            table = arrow.table({name: column(values) for name, values in columns.items()})
            if writer is None:
                writer = opened.enter_context(parquet_of.ParquetWriter(file, table.schema, compression="zstd"))
            writer.write_table(table)

        yield write


@contextmanager
def open_npz_writer(path: Path) -> Iterator[TableWriter]:
    """What `numpy.load` reads. Numbers wait on disk beside `path` until it is known how many there are."""
    texts: dict[str, list[str]] = {}
    numbers: dict[str, tuple[Any, np.dtype[Any], tuple[int, ...]]] = {}  # where they wait, their type, shape of a row
    rows = 0

    with atomic_write(path) as file, ExitStack() as temporary:

        def write(columns: TableColumns) -> None:
            nonlocal rows
            for name, values in columns.items():
                if isinstance(values, list):
                    texts.setdefault(name, []).extend(values)
                else:
                    if name not in numbers:
                        waiting = temporary.enter_context(tempfile.TemporaryFile(dir=path.parent))
                        numbers[name] = waiting, values.dtype, values.shape[1:]
                    numbers[name][0].write(np.ascontiguousarray(values).data)
            rows += len(next(iter(columns.values())))

        yield write
        with zipfile.ZipFile(file, "w") as archive:
            for name, values in texts.items():
                kind = np.dtype(f"<U{max(map(len, values), default=1)}")
                with open_npz_member(archive, name, kind, (rows,)) as inside:
                    for start in range(0, rows, TEXT_BLOCK_ROWS):
                        inside.write(np.array(values[start : start + TEXT_BLOCK_ROWS], dtype=kind).tobytes())
            for name, (waiting, kind, row) in numbers.items():
                waiting.seek(0)
                with open_npz_member(archive, name, kind, (rows, *row)) as inside:
                    shutil.copyfileobj(waiting, inside, 2**20)


def open_npz_member(archive: zipfile.ZipFile, name: str, kind: np.dtype[Any], shape: tuple[int, ...]) -> Any:
    """An array inside an NPZ, open for its bytes. The same content gives the same file: it carries no date."""
    inside = archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True)
    header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(inside, header)
    return inside


@contextmanager
def open_csv_writer(path: Path) -> Iterator[TableWriter]:
    """A line a row, numbers to six digits, texts such that no spreadsheet computes them. Takes no column [n, D]."""
    with atomic_write(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer, begun = csv.writer(text, lineterminator="\n"), False

        def write(columns: TableColumns) -> None:
            nonlocal begun
            if not begun:
                writer.writerow(map(escape_formula, columns))
                begun = True
            told = [
                [escape_formula(one) for one in each] if isinstance(each, list) else [f"{one:.6g}" for one in each]
                for each in columns.values()
            ]
            writer.writerows(zip(*told, strict=True))

        yield write
        text.flush()
        text.detach()


WRITERS: dict[str, Callable[[Path], AbstractContextManager[TableWriter]]] = {
    "parquet": open_parquet_writer,
    "npz": open_npz_writer,
    "csv": open_csv_writer,
}


@contextmanager
def open_writers(folder: Path, name: str, formats: Sequence[str]) -> Iterator[tuple[TableWriter, list[Path]]]:
    """Write each piece as `name` in each of the `formats` of `WRITERS`; and the files there will be. Raises
    `ConfigError` where a library is missing."""
    if "parquet" in formats:
        import_pyarrow()
    paths = [folder / f"{name}.{each}" for each in formats]
    with ExitStack() as opened:
        writers = [opened.enter_context(WRITERS[each](path)) for each, path in zip(formats, paths, strict=True)]

        def write(columns: TableColumns) -> None:
            for one in writers:
                one(columns)

        yield write, paths


def import_pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError(
            "formats=[parquet] needs pyarrow; type pip install 'lowres-ssl[export]', or formats=[npz]"
        ) from error
    return pyarrow, pyarrow.parquet
