"""A disk that fills up ends a run with one line and its last good state; a data folder need not be writable."""

from pathlib import Path
from typing import Any

import pytest
from left_behind import Outcome, differences, leftovers, outcome
from processes import PRETRAIN, may_mount, on_read_only_data, on_small_disk, run

pytestmark = pytest.mark.skipif(not may_mount(), reason="no mounts of our own here (unshare -m)")


def test_full_disk_is_one_line_and_the_run_goes_on_from_the_last_good_state(through: Outcome, images: Path) -> None:
    """The first checkpoint does not fit, then the second does not; then there is room."""
    assert run(on_small_disk, images, PRETRAIN, ["1m", "3m", "90m"]) == 0
    said = (images / "said.txt").read_text()
    first, second, third = (line.split() for line in (images / "codes.txt").read_text().splitlines())
    assert (first[0], second[0], third[0]) == ("3", "3", "0"), said
    left = [[name for name in names if name != "history.csv"] for (_, *names) in (first, second)]
    assert left == [["run.json", "split.json"], ["checkpoint.pt", "run.json", "split.json"]]
    errors = [line for line in said.splitlines() if "No space left" in line]
    wanted = "No space left on device; name another place with output_dir=FOLDER or data_dir=FOLDER"
    assert [line.split("checkpoint.pt: ")[1] for line in errors] == [wanted] * 2
    assert "Traceback" not in said
    assert differences(without_places(outcome(images)), without_places(through)) == []
    assert leftovers(images) == []


def without_places(content: Outcome) -> Outcome:
    """Results tell of `output_dir`, which is another here, and of what was typed for it."""

    def left(each: Any) -> Any:
        if not isinstance(each, dict) or "config" not in each:
            return each
        config = {key: value for key, value in each["config"].items() if not key.endswith("_dir")}
        typed = [word for word in each.get("typed", ()) if not word.partition("=")[0].endswith("_dir")]
        return each | {"config": config, "typed": typed}

    return {name: left(each) for name, each in content.items()}


def test_data_folder_that_cannot_be_written_to_will_do(through: Outcome, images: Path) -> None:
    assert run(on_read_only_data, images, PRETRAIN) == 0, (images / "said.txt").read_text()
    assert differences(outcome(images), through) == []
