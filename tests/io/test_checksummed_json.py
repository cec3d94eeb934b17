"""Stored records are read as they were written; what is damaged or of another version is refused."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from omegaconf import MISSING

from lowres_ssl.encoders.weights_file import TENSORS_VERSION, load_tensors, save_tensors
from lowres_ssl.errors import CheckpointError, DamagedError
from lowres_ssl.io.atomic import write_json
from lowres_ssl.io.checksummed_json import CHECKSUM_KEY, JSON, hash_content, read_record, write_record

Colour = Enum("Colour", ["red", "green"])


@dataclass
class Small:
    a: int


@dataclass
class Large(Small):
    b: str = MISSING


@dataclass(frozen=True)
class Example:
    VERSION: ClassVar[int] = 3

    number: float
    names: tuple[str, ...] = ()
    pair: tuple[int, Path] = (1, Path("x"))
    lists: list[list[float]] = field(default_factory=list)
    colour: Colour = Colour.red
    choice: Literal["selected", "last"] = "last"
    maybe: int | None = None
    either: Small | Large | None = None
    by_name: Mapping[str, Small] = field(default_factory=dict)
    anything: JSON = None


FULL = Example(
    number=1.5,
    names=("ä", "b"),
    pair=(2, Path("a/b")),
    lists=[[0.1], []],
    colour=Colour.green,
    maybe=3,
    either=Large(1, "two"),
    by_name={"one": Small(1)},
    anything={"k": [1, None]},
)


def read(path: Path) -> Example | None:
    return read_record(path, Example, "mend it")


def seal(path: Path, content: dict[str, Any]) -> None:
    """Write a file of these values, with a checksum that fits."""
    write_json(path, content | {CHECKSUM_KEY: hash_content(content)})


@pytest.mark.parametrize("record", [FULL, Example(2.0), replace(FULL, either=Small(1), maybe=None)])
def test_record_is_read_as_it_was_written(tmp_path: Path, record: Example) -> None:
    assert read(tmp_path / "a.json") is None
    write_record(tmp_path / "a.json", record)
    assert read(tmp_path / "a.json") == record


@pytest.mark.parametrize("version", [2, 4, None])
def test_other_version_is_refused(tmp_path: Path, version: int | None) -> None:
    seal(tmp_path / "a.json", {"version": version, "number": 1.5})
    with pytest.raises(CheckpointError, match=r"a\.json: got version .*, wanted 3, .*; mend it$"):
        read(tmp_path / "a.json")


@pytest.mark.parametrize("content", [{}, {"number": 1, "either": {"a": 1, "c": 2}}, {"number": 1, "either": {"b": ""}}])
def test_field_may_be_missing_only_where_it_has_a_default(tmp_path: Path, content: dict[str, Any]) -> None:
    seal(tmp_path / "a.json", {"version": 3, **content})
    if "either" in content and "a" in content["either"]:
        assert read(tmp_path / "a.json") == Example(1.0, either=Small(1))
    else:
        with pytest.raises(CheckpointError, match=r"a\.json: '(number|a)' is missing; mend it"):
            read(tmp_path / "a.json")


@pytest.mark.parametrize("content", [b"", b'{"version": 3, "nu', b"\x80\xff", b'{"version": 3, "sha256": "0"}'])
def test_damage_is_an_error_of_its_own(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(DamagedError, match=r"a\.json: cannot be read .*; mend it$") as caught:
        read(tmp_path / "a.json")
    assert "\n" not in str(caught.value)
    (tmp_path / "a.json").unlink()
    (tmp_path / "a.json").mkdir()  # it may be whole all the same
    with pytest.raises(CheckpointError) as caught:
        read(tmp_path / "a.json")
    assert not isinstance(caught.value, DamagedError)


def test_digest_is_pinned() -> None:
    """A change here makes every finished run a stranger."""
    assert hash_content({"b": [1, 2.5, None, True], "a": "ä"}) == (
        "70ad804d232fe65934ffb82489079c89a49a4e70122ef3f137e3a3f5b15fa6d4"
    )


def test_digest_is_of_every_value_and_not_of_the_order_of_keys() -> None:
    content: dict[str, Any] = {"seed": 0, "images": {"digest": "ab", "mean": [0.5, 0.25]}}
    assert hash_content({"images": {"mean": [0.5, 0.25], "digest": "ab"}, "seed": 0}) == hash_content(content)
    for other in ({"seed": 1}, {"seed": "0"}, {"more": None}, {"images": {"digest": "ab", "mean": [0.25, 0.5]}}):
        assert hash_content(content | other) != hash_content(content)
    with pytest.raises(ValueError, match="JSON compliant"):
        hash_content({"rate": float("nan")})


@pytest.mark.parametrize("version", [TENSORS_VERSION + 1, "1", None])
def test_tensors_of_another_version_are_refused(tmp_path: Path, version: object) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.zeros(1)}, {"more": 1})
    assert load_tensors(path)[1]["more"] == 1
    save_tensors(path, {"a": torch.zeros(1)}, {"schema": version})
    with pytest.raises(CheckpointError, match="wanted 1, written by"):
        load_tensors(path)
