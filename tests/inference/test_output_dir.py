"""Files go where nothing is lost, and by one process at a time."""

import json
from contextlib import AbstractContextManager
from pathlib import Path
from threading import Thread

import pytest

from lowres_ssl.errors import ConfigError, LockLostError
from lowres_ssl.inference.output_files import Destination, lock_destination
from lowres_ssl.io.atomic import write_text
from lowres_ssl.io.locks import Lock


def lock_files(record: Path, images: Path) -> AbstractContextManager[Lock]:
    return lock_destination(Destination(record.parent, record.stem, "features", ["parquet", "npz"]), images)


def refused(record: Path, images: Path, said: str) -> None:
    with pytest.raises(ConfigError, match=said), lock_files(record, images):
        pytest.fail("it went on")


def test_files_of_others_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "features.npz").touch()
    refused(tmp_path / "embed.json", tmp_path, r"features\.npz: is there, and no embed\.json .*move it away")
    assert [path.name for path in tmp_path.iterdir()] == ["features.npz"]


def test_what_a_killed_process_left_is_gone_on_with(tmp_path: Path) -> None:
    record = tmp_path / "embed.json"
    with lock_files(record, tmp_path):
        left = record.read_bytes()
    assert json.loads(left) == {"folder": str(tmp_path.resolve()), "finished": False}
    (tmp_path / "features.npz").touch()
    with lock_files(record, tmp_path):
        pass
    refused(record, tmp_path / "others", "holds what was made of")


@pytest.mark.parametrize("before", [None, "FOLDER", "cut off"])
def test_block_that_fails_before_a_file_is_there_leaves_what_was(tmp_path: Path, before: str | None) -> None:
    record = tmp_path / "embed.json"
    content = None if before is None else before.replace("FOLDER", json.dumps({"folder": str(tmp_path)}))
    if content is not None:
        record.write_text(content)
    with pytest.raises(KeyError), lock_files(record, tmp_path):
        raise KeyError
    assert (record.read_text() if record.exists() else None) == content


@pytest.mark.parametrize("error", [KeyError, KeyboardInterrupt])
def test_block_that_fails_after_a_file_is_there_is_gone_on_with(tmp_path: Path, error: type[BaseException]) -> None:
    record = tmp_path / "embed.json"

    def fail(content: str) -> None:
        with lock_files(record, tmp_path):
            write_text(tmp_path / "features.npz", content)
            raise error

    for content in ("one", "another"):
        with pytest.raises(error):
            fail(content)
        assert not json.loads(record.read_text())["finished"]
    with lock_files(record, tmp_path):
        pass


def test_second_process_waits_for_the_first_and_sees_what_it_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record, order = tmp_path / "embed.json", []

    def second(images: Path) -> None:
        try:
            with lock_files(record, images):
                order.append("second")
        except ConfigError:
            order.append("refused")

    waiting = [Thread(target=second, args=(images,)) for images in (tmp_path, tmp_path / "others")]
    for each in waiting:
        with lock_files(record, tmp_path):
            record.unlink()  # so that it is the lease that holds the other, and what it sees afterwards
            each.start()
            each.join(timeout=0.5)
            order.append("first")
            write_text(record, json.dumps({"folder": str(tmp_path)}))
        each.join()
    assert order == ["first", "second", "first", "refused"]
    assert "works on it" in capsys.readouterr().err


def test_process_that_was_taken_over_leaves_the_record_to_the_other(tmp_path: Path) -> None:
    record, lease = tmp_path / "embed.json", tmp_path / ".embed.json.lock"

    def stand_still() -> None:
        with lock_files(record, tmp_path) as hold:
            lease.write_text(lease.read_text().replace(str(hold.lease.token), "0" * len(str(hold.lease.token))))
            record.write_text("theirs")
            hold.check()

    with pytest.raises(LockLostError, match="taken over"):
        stand_still()
    assert record.read_text() == "theirs"
