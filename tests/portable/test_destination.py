"""Files go where nothing is lost, and by one process at a time."""

import json
from pathlib import Path
from threading import Thread

import pytest

from lowres_ssl.errors import ConfigError
from lowres_ssl.portable.destination import destination


def test_files_of_others_are_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "features.npz").touch()
    with (
        pytest.raises(ConfigError, match=r"features\.npz: is there, and no embed\.json .*move it away"),
        destination(tmp_path / "embed.json", tmp_path, ["features.parquet", "features.npz"]),
    ):
        pytest.fail("it went on")
    assert [path.name for path in tmp_path.iterdir()] == ["features.npz"]


def test_what_a_killed_process_left_is_gone_on_with(tmp_path: Path) -> None:
    record = tmp_path / "embed.json"
    with destination(record, tmp_path, ["features.npz"]):
        left = record.read_bytes()
    record.write_bytes(left)  # as it stands until the files are there
    (tmp_path / "features.npz").touch()
    assert json.loads(left) == {"schema": 1, "folder": str(tmp_path), "finished": False}
    with destination(record, tmp_path, ["features.npz"]):
        pass
    with (
        pytest.raises(ConfigError, match="holds what was made of"),
        destination(record, tmp_path / "others", ["features.npz"]),
    ):
        pytest.fail("it went on")


@pytest.mark.parametrize("before", [None, {"folder": "."}])
def test_block_that_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: dict[str, str] | None
) -> None:
    monkeypatch.chdir(tmp_path)
    record = Path("embed.json")
    if before is not None:
        record.write_text(json.dumps(before))
    with pytest.raises(KeyError), destination(record, Path(), []):
        raise KeyError
    assert (json.loads(record.read_text()) if record.exists() else None) == before


def test_second_process_waits_for_the_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record, order = tmp_path / "embed.json", []

    def second() -> None:
        with destination(record, tmp_path, []):
            order.append("second")

    waiting = Thread(target=second)
    with destination(record, tmp_path, []):
        waiting.start()
        waiting.join(timeout=0.5)
        order.append("first")
    waiting.join()
    assert order == ["first", "second"]
    assert "works on it" in capsys.readouterr().err
