"""Files written piece by piece: whole or not there, the same numbers in each format, no piece kept."""

import csv
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from numpy.typing import NDArray

from lowres_ssl.inference.output_files import WRITERS, open_writers

IDS = [["a/1.png", "größe 2.png"], ["b/a very long name, with a comma.png"], ["4", "5", "6"]]


def pieces() -> Iterator[tuple[list[str], NDArray[np.float32]]]:
    for place, ids in enumerate(IDS):
        yield ids, np.random.default_rng(place).normal(size=(len(ids), 5)).astype(np.float32)


def all_features() -> NDArray[np.float32]:
    return np.concatenate([features for _, features in pieces()])


def test_parquet_and_npz_hold_the_same_rows(tmp_path: Path) -> None:
    with open_writers(tmp_path, "features", ["parquet", "npz"]) as write:
        for ids, features in pieces():
            write({"id": ids, "features": features})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features.npz", "features.parquet"]
    names = [id for ids in IDS for id in ids]
    with np.load(tmp_path / "features.npz", allow_pickle=False) as arrays:
        assert arrays["id"].tolist() == names
        assert arrays["features"].dtype == np.float32
        np.testing.assert_array_equal(arrays["features"], all_features())
    table = pyarrow.parquet.read_table(tmp_path / "features.parquet")
    assert table["id"].to_pylist() == names
    np.testing.assert_array_equal(np.array(table["features"].to_pylist(), dtype=np.float32), all_features())
    assert pyarrow.parquet.ParquetFile(tmp_path / "features.parquet").num_row_groups == len(IDS)


def test_csv_holds_texts_and_numbers(tmp_path: Path) -> None:
    with open_writers(tmp_path, "table", ["csv"]) as write:
        for ids, features in pieces():
            write({"id": ids, "first": features[:, 0].astype(np.float64)})
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [id for ids in IDS for id in ids]
    np.testing.assert_allclose([float(row["first"]) for row in rows], all_features()[:, 0], rtol=1e-5)


@pytest.mark.parametrize("kind", WRITERS)
def test_same_rows_give_the_same_bytes_and_a_failure_leaves_the_old_file(tmp_path: Path, kind: str) -> None:
    def write_all(fail: bool) -> bytes:
        with open_writers(tmp_path, "rows", [kind]) as write:
            for ids, features in pieces():
                write({"id": ids, "first": features[:, 0].copy()})
                assert not fail, "the disk is full"
        return (tmp_path / f"rows.{kind}").read_bytes()

    before = write_all(fail=False)
    assert write_all(fail=False) == before
    with pytest.raises(AssertionError, match="disk is full"):
        write_all(fail=True)
    assert [path.name for path in tmp_path.iterdir()] == [f"rows.{kind}"]
    assert next(tmp_path.iterdir()).read_bytes() == before


def test_no_writer_keeps_the_numbers_of_a_piece(tmp_path: Path) -> None:
    """So what is in memory does not grow with the number of images."""
    kept: list[weakref.ref[Any]] = []
    with open_writers(tmp_path, "rows", list(WRITERS)) as write:
        for ids, features in pieces():
            numbers = features[:, 0].copy()
            kept.append(weakref.ref(numbers))
            write({"id": ids, "first": numbers})
            del numbers, features
            assert [each for each in kept if each() is not None] == []


@pytest.mark.parametrize("id", ["=cmd|'/c calc'!A1.png", "+1.png", "-1.png", "@x.png", "＝1.png", "\t=1.png"])
def test_no_name_of_a_file_is_computed_by_a_spreadsheet(tmp_path: Path, id: str) -> None:
    with open_writers(tmp_path, "table", ["csv"]) as write:
        write({"id": [id, "a -1.png"], "label": ["=1+1", "b"]})
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["id", "label"], [f"'{id}", "'=1+1"], ["a -1.png", "b"]]
