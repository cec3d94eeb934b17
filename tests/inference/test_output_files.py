"""Files of `embed` and `predict`: whole or not there, nothing of others lost, no piece kept, one process at a time."""

import csv
import json
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pyarrow.parquet
import pytest
from made_runs import fake_encoder
from numpy.typing import NDArray

from lowres_ssl.errors import ConfigError, LockLostError
from lowres_ssl.inference import output_files
from lowres_ssl.inference.load import PortableEncoder
from lowres_ssl.inference.output_files import WRITERS, Piece, open_writers, write_rows
from lowres_ssl.io.atomic import write_text
from lowres_ssl.io.locks import Lock

IDS = [["a/1.png", "größe 2.png"], ["b/a very long name, with a comma.png"], ["4", "5", "6"]]
FEATURES = [np.random.default_rng(place).normal(size=(len(ids), 5)).astype(np.float32) for place, ids in enumerate(IDS)]
ALL_IDS, ALL_FEATURES = [id for ids in IDS for id in ids], np.concatenate(FEATURES)


def test_parquet_and_npz_hold_the_same_rows(tmp_path: Path) -> None:
    parquet, npz = tmp_path / "features.parquet", tmp_path / "features.npz"
    with open_writers([parquet, npz]) as write:
        for ids, features in zip(IDS, FEATURES, strict=True):
            write({"id": ids, "features": features})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["features.npz", "features.parquet"]
    with np.load(npz, allow_pickle=False) as arrays:
        assert arrays["id"].tolist() == ALL_IDS
        assert arrays["features"].dtype == np.float32
        np.testing.assert_array_equal(arrays["features"], ALL_FEATURES)
    table = pyarrow.parquet.read_table(parquet)
    assert table["id"].to_pylist() == ALL_IDS
    np.testing.assert_array_equal(np.array(table["features"].to_pylist(), dtype=np.float32), ALL_FEATURES)
    assert pyarrow.parquet.ParquetFile(parquet).num_row_groups == len(IDS)


def test_csv_holds_texts_and_numbers(tmp_path: Path) -> None:
    with open_writers([tmp_path / "table.csv"]) as write:
        for ids, features in zip(IDS, FEATURES, strict=True):
            write({"id": ids, "first": features[:, 0].astype(np.float64)})
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ALL_IDS
    np.testing.assert_allclose([float(row["first"]) for row in rows], ALL_FEATURES[:, 0], rtol=1e-5)


@pytest.mark.parametrize("suffix", WRITERS)
def test_same_rows_give_the_same_bytes_and_no_numbers_are_kept(tmp_path: Path, suffix: str) -> None:
    """So what is in memory does not grow with the number of images."""
    for name in ("one", "other"):
        kept: list[weakref.ref[NDArray[Any]]] = []
        with open_writers([tmp_path / f"{name}{suffix}"]) as write:
            for ids, features in zip(IDS, FEATURES, strict=True):
                numbers = features[:, 0].copy()
                kept.append(weakref.ref(numbers))
                write({"id": ids, "first": numbers})
                del numbers
                assert [each for each in kept if each() is not None] == []
    one, other = (tmp_path / f"{name}{suffix}" for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("id", ["=cmd|'/c calc'!A1.png", "+1.png", "-1.png", "@x.png", "＝1.png", "\t=1.png"])
def test_no_name_of_a_file_is_computed_by_a_spreadsheet(tmp_path: Path, id: str) -> None:
    with open_writers([tmp_path / "table.csv"]) as write:
        write({"id": [id, "a -1.png"], "label": ["=1+1", "b"]})
    with (tmp_path / "table.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["id", "label"], [f"'{id}", "'=1+1"], ["a -1.png", "b"]]


@cache
def stored_encoder() -> PortableEncoder:
    """An encoder with a file to be named by its content; which file it is does not matter here."""
    return replace(fake_encoder("resnet18"), file=Path(__file__))


def write_two(folder: Path, images: Path, between: Callable[[], object] = lambda: None) -> Path:
    """Write two pieces in each format; `between` is called after the first. Return the record."""

    def pieces() -> Iterator[Piece]:
        yield {"id": ["a"], "first": np.ones(1)}, []
        between()
        yield {"id": ["b"], "first": np.ones(1)}, []

    files = [folder / f"features{suffix}" for suffix in WRITERS]
    return write_rows(stored_encoder(), [str(images)], files, folder / "embed.json", pieces(), {}).record


def test_files_of_others_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "features.npz").touch()
    with pytest.raises(ConfigError, match=r"features\.npz: is there, and no embed\.json .*move it away"):
        write_two(tmp_path, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["features.npz"]
    record = write_two(tmp_path / "own", tmp_path)
    before = record.read_bytes()
    with pytest.raises(ConfigError, match="holds what was made of"):
        write_two(tmp_path / "own", tmp_path / "others")
    assert record.read_bytes() == before


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_call_that_fails_leaves_what_was(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        raise error

    def content() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    for _ in range(2):
        before = content()
        with pytest.raises(error):
            write_two(tmp_path, tmp_path, fail)
        assert content() == before
        write_two(tmp_path, tmp_path)


def test_what_a_process_left_that_was_killed_among_its_files_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had put one of its files in place."""
    record = tmp_path / "embed.json"

    def killed(path: Path, content: object) -> None:
        write_text(path, json.dumps(content))
        (tmp_path / "features.npz").touch()
        raise SystemExit(9)

    with monkeypatch.context() as patch:
        patch.setattr(output_files, "write_json", killed)
        with pytest.raises(SystemExit):
            write_two(tmp_path, tmp_path)
    assert json.loads(record.read_text()) == {"made_of": [str(tmp_path)], "finished": False}
    assert json.loads(write_two(tmp_path, tmp_path).read_text())["finished"]


@pytest.mark.parametrize(("images", "ended"), [("images", "written"), ("others", "refused")])
def test_second_process_waits_for_the_first_and_sees_what_it_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], images: str, ended: str
) -> None:
    order = []

    def second() -> None:
        try:
            write_two(tmp_path / "out", tmp_path / images)
            order.append("written")
        except ConfigError:
            order.append("refused")

    waiting = Thread(target=second)

    def first() -> None:
        waiting.start()
        waiting.join(timeout=0.5)
        order.append("first")

    write_two(tmp_path / "out", tmp_path / "images", first)
    waiting.join()
    assert order == ["first", ended]
    assert "works on it" in capsys.readouterr().err


def test_process_that_was_taken_over_leaves_the_files_to_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken_over(lock: Lock) -> None:
        raise LockLostError("taken over")

    monkeypatch.setattr(Lock, "check", taken_over)
    with pytest.raises(LockLostError):
        write_two(tmp_path, tmp_path)
    assert not list(tmp_path.iterdir())
