"""Files go where nothing is lost, and by one process at a time."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from made_runs import fake_encoder

from lowres_ssl.errors import ConfigError, LockLostError
from lowres_ssl.inference import output_files
from lowres_ssl.inference.output_files import Destination, Piece, write_rows
from lowres_ssl.io.atomic import write_text
from lowres_ssl.io.locks import Lock


@pytest.fixture(autouse=True)
def _no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder is of a run that is on no disk."""
    monkeypatch.setattr(output_files, "hash_file", lambda path: "hash")


def write(folder: Path, images: Path, between: Callable[[], object] = lambda: None) -> Path:
    """Two pieces of features; `between` is called after the first. The record."""

    def pieces() -> Iterator[Piece]:
        yield {"id": ["a"], "features": np.ones((1, 2))}, []
        between()
        yield {"id": ["b"], "features": np.ones((1, 2))}, []

    destination = Destination(folder, "embed", "features", ["parquet", "npz"])
    return write_rows(fake_encoder("resnet18"), [str(images)], destination, pieces(), {}).record


def test_files_of_others_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "features.npz").touch()
    with pytest.raises(ConfigError, match=r"features\.npz: is there, and no embed\.json .*move it away"):
        write(tmp_path, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["features.npz"]
    record = write(tmp_path / "own", tmp_path)
    before = record.read_bytes()
    with pytest.raises(ConfigError, match="holds what was made of"):
        write(tmp_path / "own", tmp_path / "others")
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
            write(tmp_path, tmp_path, fail)
        assert content() == before
        write(tmp_path, tmp_path)


def test_what_a_process_left_that_was_killed_among_its_files_is_gone_on_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It had put one of two files in place."""
    record = tmp_path / "embed.json"

    def killed(path: Path, content: object) -> None:
        write_text(path, json.dumps(content))
        (tmp_path / "features.npz").touch()
        raise SystemExit(9)

    with monkeypatch.context() as patch:
        patch.setattr(output_files, "write_json", killed)
        with pytest.raises(SystemExit):
            write(tmp_path, tmp_path)
    assert json.loads(record.read_text()) == {"made_of": [str(tmp_path)], "finished": False}
    assert json.loads(write(tmp_path, tmp_path).read_text())["finished"]


def test_second_process_waits_for_the_first_and_sees_what_it_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    order = []

    def second(images: Path) -> None:
        try:
            write(tmp_path / "out", images, lambda: order.append("second"))
        except ConfigError:
            order.append("refused")

    for images in (tmp_path, tmp_path / "others"):
        waiting = Thread(target=second, args=(images,))

        def first(waiting: Thread = waiting) -> None:
            waiting.start()
            waiting.join(timeout=0.5)
            order.append("first")

        (tmp_path / "out" / "embed.json").unlink(missing_ok=True)
        for path in (tmp_path / "out").glob("features.*"):
            path.unlink()
        write(tmp_path / "out", tmp_path, first)
        waiting.join()
    assert order == ["first", "second", "first", "refused"]
    assert "works on it" in capsys.readouterr().err


def test_process_that_was_taken_over_leaves_the_files_to_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def taken_over(lock: Lock) -> None:
        raise LockLostError("taken over")

    monkeypatch.setattr(Lock, "check", taken_over)
    with pytest.raises(LockLostError):
        write(tmp_path, tmp_path)
    assert not list(tmp_path.iterdir())
