"""What killed processes left goes; what others are writing stays."""

import os
import signal
from pathlib import Path

import pytest

from lowres_ssl.io import atomic
from lowres_ssl.io.atomic import (
    atomic_write,
    get_previous_path,
    make_temp_folder,
    remove_dead_temp_files,
    replacing_folder,
    write_text,
)


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


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_file_written_after_a_kill_leaves_nothing_of_the_attempt_before(tmp_path: Path) -> None:
    left_by_a_killed_process(tmp_path / "a.json")
    write_text(tmp_path / "a.json", "whole")
    assert names(tmp_path) == ["a.json"]


def test_folder_filled_after_a_kill_leaves_nothing_of_the_attempt_before(tmp_path: Path) -> None:
    left_by_a_killed_process(tmp_path / "a")
    with replacing_folder(tmp_path / "a") as folder:
        (folder / "inner").touch()
    assert names(tmp_path) == ["a"]


def test_what_another_is_writing_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with atomic_write(path) as first, make_temp_folder(path) as folder:
        first.write(b"first")
        (folder / "inner").touch()
        write_text(path, "second")
        remove_dead_temp_files(path)
        assert (folder / "inner").exists()
    assert path.read_text() == "first"
    assert names(tmp_path) == ["a.json"]


def test_what_is_of_another_file_is_left_alone(tmp_path: Path) -> None:
    left_by_a_killed_process(tmp_path / "a.json")
    write_text(tmp_path / "b.json", "whole")
    assert len(names(tmp_path)) == 3


def test_link_in_the_place_of_a_leftover_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / ".a.json.x.part").symlink_to(tmp_path / "precious")
    write_text(tmp_path / "a.json", "whole")
    assert (tmp_path / "precious").read_text() == "precious"


def test_new_file_that_a_sweep_took_for_a_leftover_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment between making and locking it."""
    really, lost = atomic.fcntl.flock, []

    def swept_first(descriptor: int, how: int) -> None:
        if not lost:
            lost.extend(tmp_path.glob("*.part"))
            lost[0].unlink()
        really(descriptor, how)

    monkeypatch.setattr(atomic.fcntl, "flock", swept_first)
    write_text(tmp_path / "a.json", "whole")
    assert len(lost) == 1
    assert names(tmp_path) == ["a.json"]


def test_file_system_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError("no locks available")

    (tmp_path / ".a.json.x.part").touch()
    monkeypatch.setattr(atomic.fcntl, "flock", refuse)
    write_text(tmp_path / "a.json", "whole")
    assert names(tmp_path) == [".a.json.x.part", "a.json"]  # nobody can tell whose it is


def test_file_before_is_kept_where_it_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    for content in ("one", "two", "three"):
        with atomic_write(path, keep_previous=True) as file:
            file.write(content.encode())
            if content == "three":
                assert (path.read_text(), get_previous_path(path).read_text()) == ("two", "one")
    assert (path.read_text(), get_previous_path(path).read_text()) == ("three", "two")
    assert names(tmp_path) == ["a-previous.pt", "a.pt"]
