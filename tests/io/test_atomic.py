"""A file appears whole or not at all, and nothing is left behind."""

import errno
import json
import os
from pathlib import Path

import pytest

from lowres_ssl.io.atomic import atomic_write, write_json, write_text


def names_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_file_is_not_there_before_the_block_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with atomic_write(path) as file:
        file.write(b"whole")
        file.flush()
        assert not path.exists()
    assert path.read_bytes() == b"whole"
    assert names_below(tmp_path) == ["a.bin"]


def test_old_content_stands_until_the_new_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"a much longer old content")
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"a much longer old content"
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, b"old"])
def test_error_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, error: type[BaseException], old: bytes | None
) -> None:
    path = tmp_path / "a.bin"
    if old is not None:
        path.write_bytes(old)

    def write_half() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            raise error("stop")

    with pytest.raises(error, match="stop"):
        write_half()
    assert names_below(tmp_path) == ([] if old is None else ["a.bin"])
    assert old is None or path.read_bytes() == old


def test_folder_in_the_way_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken" / "inner").mkdir(parents=True)
    with pytest.raises(OSError, match="taken"):
        write_text(tmp_path / "taken", "text")
    assert names_below(tmp_path) == ["taken", "taken/inner"]


def test_content_is_synced_before_the_rename_and_the_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    really_sync, really_replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        done.append("folder" if os.fstat(descriptor).st_nlink > 1 else f"file of {os.fstat(descriptor).st_size}")
        really_sync(descriptor)

    def rename(self: Path, target: Path) -> Path:
        done.append("rename")
        return really_replace(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", rename)
    write_text(tmp_path / "a.txt", "12345")
    assert done == ["file of 5", "rename", "folder"]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "one" / "two" / "a.txt", "text")
    assert names_below(tmp_path) == ["one", "one/two", "one/two/a.txt"]


def test_others_can_read_the_file(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "text")
    assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127, "日" * 80, "with space, [comma].json", ".hidden"])
def test_any_name_the_system_takes_will_do(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "text")
    assert names_below(tmp_path) == [name]


def test_text_is_utf8_and_its_line_ends_stay(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "Größe\r\n日\n")
    assert (tmp_path / "a.txt").read_bytes() == "Größe\r\n日\n".encode()


def test_json_is_read_back_and_ends_with_a_line_end(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None, True], "a": {"Größe": "日"}, "third": 0.1 + 0.2}
    write_json(tmp_path / "a.json", value)
    text = (tmp_path / "a.json").read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.endswith("}\n")
    assert "Größe" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_nan_and_infinity_are_refused_and_leave_what_was_there(tmp_path: Path, value: float) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"old": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"deep": [1, {"in": value}]})
    assert json.loads(path.read_text()) == {"old": 1}
    assert names_below(tmp_path) == ["a.json"]


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_folder_in_the_place_of_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.bin").mkdir()
    with pytest.raises(IsADirectoryError) as caught, atomic_write(tmp_path / "a.bin") as file:
        file.write(b"new")
    assert caught.value.filename == str(tmp_path / "a.bin")
    assert names_below(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("fails", ["write", "fsync", "rename"])
def test_full_disk_names_the_file_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    if fails == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    if fails == "rename":
        monkeypatch.setattr(Path, "replace", full)

    def write() -> None:
        with atomic_write(path) as file:
            file.write(b"new")
            if fails == "write":
                full()

    with pytest.raises(OSError, match=f"No space left on device: '{path}'"):
        write()
    assert names_below(tmp_path) == ["a.bin"]
    assert path.read_bytes() == b"old"
