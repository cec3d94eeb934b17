"""Folders that appear whole or not at all, and work in threads that can be stopped."""

import threading
from pathlib import Path

import pytest

from lowres_ssl.data.decode import map_in_threads
from lowres_ssl.io.atomic import replacing_folder


def test_folder_appears_when_it_is_full(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "deep" / "target") as folder:
        (folder / "x").write_text("x")
        assert not (tmp_path / "deep" / "target").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["target"]
    assert (tmp_path / "deep" / "target" / "x").read_text() == "x"


def test_failure_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").touch()

    def interrupted() -> None:
        with replacing_folder(target) as folder:
            (folder / "new").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [path.name for path in tmp_path.rglob("*")] == ["target", "old"]


def test_folder_that_is_there_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "target"
    for name in ("old", "new"):
        with replacing_folder(target) as folder:
            (folder / name).touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["target", "new"]


def test_link_to_a_folder_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with replacing_folder(tmp_path / "link") as folder:
        (folder / "x").touch()
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "x").exists()


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
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    first, second = ((tmp_path / "target" / part).read_text() for part in ("1", "2"))
    assert first == second


def test_results_come_in_order_and_one_line_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(map_in_threads(lambda n: n * n, range(50), label="Squaring")) == [n * n for n in range(50)]
    assert capsys.readouterr().err == "Squaring: 50\n"
    assert list(map_in_threads(lambda n: n, range(3))) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_work_not_begun_is_dropped_when_the_caller_stops() -> None:
    begun: list[int] = []
    go_on = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number:
            go_on.wait(5)
        return number

    results = map_in_threads(work, range(1000))
    assert next(results) == 0
    threading.Timer(0.05, go_on.set).start()
    results.close()
    assert len(begun) < 1000
