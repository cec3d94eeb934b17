"""Under which name a tracker goes on with a run: the run's folder says it, and may be a stranger's."""

import json
from pathlib import Path

import pytest

from lowres_ssl.tracking.session import read_tracker_names


def kept(folder: Path, content: object) -> dict[str, str]:
    path = folder / "tracker.json"
    path.write_text(json.dumps(content))
    return read_tracker_names(path)


def test_names_that_tools_gave_are_kept(tmp_path: Path) -> None:
    names = {"wandb": "0a1b2c3d4e5f", "tensorboard": "cells-dcl-bs8-s0-aaaaaaaa", "mlflow": "7" * 32}
    assert kept(tmp_path, names) == names


@pytest.mark.parametrize("name", ["*/../../../precious", "..", "../../precious", "a/b", "*", "a?", "[a-z]", "", "a\n"])
def test_name_that_would_lead_elsewhere_is_none(name: str, tmp_path: Path) -> None:
    """What W&B wrote under that name would be removed."""
    assert kept(tmp_path, {"wandb": name, "mlflow": "abc"}) == {"mlflow": "abc"}


@pytest.mark.parametrize("content", [[], "text", None, 3])
def test_file_that_says_something_else_says_nothing(content: object, tmp_path: Path) -> None:
    assert kept(tmp_path, content) == {}
    assert read_tracker_names(tmp_path / "not-there.json") == {}
