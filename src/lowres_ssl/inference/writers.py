"""Write rows piece by piece as Parquet, NPZ and CSV files that appear whole or not at all.

A writer takes pieces: columns by name, all of one length; texts (a list of str) or numbers, [n] or [n, D]. Every piece
has the columns, the types and the D of the first one. In memory are one piece, and of an NPZ the texts.
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
