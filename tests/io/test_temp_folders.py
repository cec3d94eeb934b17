"""What killed processes left goes; what others are writing stays."""

import os
import signal
from pathlib import Path

import pytest

from lowres_ssl.io import atomic
from lowres_ssl.io.atomic import atomic_write, make_temp_folder, replacing_folder, write_text


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


def test_what_is_written_after_a_kill_leaves_nothing_of_the_attempt_before(tmp_path: Path) -> None:
    left_by_a_killed_process(tmp_path / "a.json")
    write_text(tmp_path / "b.json", "of another name")
    assert len(names(tmp_path)) == 3
    write_text(tmp_path / "a.json", "whole")
    assert names(tmp_path) == ["a.json", "b.json"]
    left_by_a_killed_process(tmp_path / "c")
    with replacing_folder(tmp_path / "c"):
        pass
    assert names(tmp_path) == ["a.json", "b.json", "c"]


def test_what_another_is_writing_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with atomic_write(path) as first, make_temp_folder(path) as folder:
        first.write(b"first")
        (folder / "inner").touch()
        write_text(path, "second")
        assert (folder / "inner").exists()
    assert path.read_text() == "first"
    assert names(tmp_path) == ["a.json"]


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
    assert names(tmp_path) == ["a.json"]


def test_file_system_without_locks_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: int) -> None:
        raise OSError("no locks available")

    (tmp_path / ".a.json.x.part").mkdir()
    monkeypatch.setattr(atomic.fcntl, "flock", refuse)
    write_text(tmp_path / "a.json", "whole")
    assert names(tmp_path) == [".a.json.x.part", "a.json"]  # nobody can tell whose it is
