"""A file or a folder appears whole or not at all, and nothing is left behind."""

import errno
import json
import os
import signal
import threading
from pathlib import Path

import pytest

from lowres_ssl.io import atomic
from lowres_ssl.io.atomic import (
    atomic_write,
    get_previous_path,
    make_temp_folder,
    replacing_folder,
    write_json,
    write_text,
)


def names_below(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize("old", [None, b"a much longer old content"])
def test_old_content_stands_until_the_new_is_whole(tmp_path: Path, old: bytes | None) -> None:
    path = tmp_path / "one" / "two" / "a.bin"
    if old is not None:
        path.parent.mkdir(parents=True)
        path.write_bytes(old)
    with atomic_write(path) as file:
        file.write(b"new")
        file.flush()
        assert (path.read_bytes() if path.exists() else None) == old
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o644
    assert names_below(tmp_path) == ["one", "one/two", "one/two/a.bin"]


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    "fails", [ValueError("stop"), OSError("stop"), KeyboardInterrupt("stop"), None, "fsync", "rename"]
)
@pytest.mark.parametrize("old", [None, b"old"])
def test_failure_leaves_what_was_there_and_a_full_disk_names_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: BaseException | str | None, old: bytes | None
) -> None:
    path = tmp_path / "a.bin"
    if old is not None:
        path.write_bytes(old)
    if fails == "fsync":
        monkeypatch.setattr(os, "fsync", full)
    if fails == "rename":
        monkeypatch.setattr(Path, "replace", full)

    def write() -> None:
        with atomic_write(path) as file:
            file.write(b"half")
            if isinstance(fails, BaseException):
                raise fails
            if fails is None:
                full()

    is_full = not isinstance(fails, BaseException)
    message = f"No space left on device: '{path}'" if is_full else "^stop$"
    with pytest.raises(OSError if is_full else type(fails), match=message):
        write()
    assert names_below(tmp_path) == ([] if old is None else ["a.bin"])
    assert old is None or path.read_bytes() == old


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


@pytest.mark.parametrize("name", ["a" * 255, "é" * 127, "日" * 80, "with space, [comma].json", ".hidden"])
def test_any_name_the_system_takes_will_do(tmp_path: Path, name: str) -> None:
    write_text(tmp_path / name, "Größe\r\n日\n")
    assert names_below(tmp_path) == [name]
    assert (tmp_path / name).read_bytes() == "Größe\r\n日\n".encode()


def test_json_is_read_back_and_refuses_nan(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    value = {"b": [1, 2.5, None, True], "a": {"Größe": "日"}, "third": 0.1 + 0.2}
    write_json(path, value)
    text = path.read_text(encoding="utf-8")
    assert json.loads(text) == value
    assert text.endswith("}\n")
    assert "Größe" in text
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"deep": [1, {"in": float("nan")}]})
    assert path.read_text(encoding="utf-8") == text


def test_folder_in_the_place_of_a_file_is_named_and_stays(tmp_path: Path) -> None:
    (tmp_path / "taken" / "inner").mkdir(parents=True)
    with pytest.raises(IsADirectoryError) as caught:
        write_text(tmp_path / "taken", "text")
    assert caught.value.filename == str(tmp_path / "taken")
    assert names_below(tmp_path) == ["taken", "taken/inner"]


def test_file_before_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    for content in ("one", "two", "three"):
        with atomic_write(path, keep_previous=True) as file:
            file.write(content.encode())
            if content == "three":
                assert (path.read_text(), get_previous_path(path).read_text()) == ("two", "one")
    assert (path.read_text(), get_previous_path(path).read_text()) == ("three", "two")
    assert names_below(tmp_path) == ["a-previous.pt", "a.pt"]


def test_folder_appears_when_it_is_full_and_takes_the_place_of_an_older_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "deep" / "target")  # a link to the folder stays a link
    for name, target in (("old", "deep/target"), ("new", "link")):
        with replacing_folder(tmp_path / target) as folder:
            (folder / name).write_text("x")
            assert (tmp_path / target).exists() == (name == "new")

    def interrupted() -> None:
        with replacing_folder(tmp_path / "link") as folder:
            (folder / "third").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "link").is_symlink()
    assert names_below(tmp_path) == ["deep", "deep/target", "deep/target/new", "link"]


@pytest.mark.parametrize("_", range(5))
def test_of_several_writers_at_once_one_stays_whole(tmp_path: Path, _: int) -> None:
    failures: list[BaseException] = []
    barrier = threading.Barrier(4)

    def write(name: str) -> None:
        try:
            with replacing_folder(tmp_path / "target") as folder:
                for part in ("1", "2"):
                    (folder / part).write_text(name)
                barrier.wait()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=write, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert names_below(tmp_path) == ["target", "target/1", "target/2"]
    assert (tmp_path / "target" / "1").read_text() == (tmp_path / "target" / "2").read_text()


def left_by_a_killed_process(path: Path) -> None:
    """Half a file and half a folder, each meant to become `path`."""
    child = os.fork()
    if child == 0:
        with atomic_write(path) as file, make_temp_folder(path) as folder:
            file.write(b"half")
            file.flush()
            (folder / "inner").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert len(list(path.parent.glob(".*.part"))) == 2


def test_what_is_written_after_a_kill_leaves_nothing_of_the_attempt_before(tmp_path: Path) -> None:
    left_by_a_killed_process(tmp_path / "a.json")
    write_text(tmp_path / "b.json", "of another name")
    assert len(list(tmp_path.iterdir())) == 3
    write_text(tmp_path / "a.json", "whole")
    assert names_below(tmp_path) == ["a.json", "b.json"]
    left_by_a_killed_process(tmp_path / "c")
    with replacing_folder(tmp_path / "c"):
        pass
    assert names_below(tmp_path) == ["a.json", "b.json", "c"]


def test_what_another_is_writing_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with atomic_write(path) as first, make_temp_folder(path) as folder:
        first.write(b"first")
        (folder / "inner").touch()
        write_text(path, "second")
        assert (folder / "inner").exists()
    assert path.read_text() == "first"
    assert names_below(tmp_path) == ["a.json"]


def test_link_in_the_place_of_a_leftover_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "x").write_text("precious")
    (tmp_path / ".a.json.x.part").symlink_to(tmp_path / "precious")
    write_text(tmp_path / "a.json", "whole")
    assert (tmp_path / "precious" / "x").read_text() == "precious"


def test_new_folder_that_another_process_took_for_a_leftover_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment between making and locking it."""
    really, lost = atomic.fcntl.flock, []

    def removed_first(descriptor: int, how: int) -> None:
        if not lost:
            lost.extend(tmp_path.glob("*.part"))
            lost[0].rmdir()
        really(descriptor, how)

    monkeypatch.setattr(atomic.fcntl, "flock", removed_first)
    write_text(tmp_path / "a.json", "whole")
    assert len(lost) == 1
    assert names_below(tmp_path) == ["a.json"]


def test_file_system_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError("no locks available")

    (tmp_path / ".a.json.x.part").mkdir()
    monkeypatch.setattr(atomic.fcntl, "flock", refuse)
    write_text(tmp_path / "a.json", "whole")
    assert names_below(tmp_path) == [".a.json.x.part", "a.json"]  # nobody can tell whose it is
