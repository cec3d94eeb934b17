"""A run made with relative paths finds its images from another folder."""

from dataclasses import replace
from pathlib import Path

import pytest
from stored_runs import made_up_config

from lowres_ssl.runs.cleanup import relocate_path
from lowres_ssl.runs.run import Run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Made in `there`, with data/cells and outputs below it; we stand in `here`."""
    (tmp_path / "there" / "data" / "cells").mkdir(parents=True)
    folder = tmp_path / "there" / "outputs" / "pretrain" / "cells-dcl"
    folder.mkdir(parents=True)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return Run(Path("../there/outputs/pretrain/cells-dcl"))


@pytest.mark.parametrize(
    ("outputs", "path", "wanted"),
    [
        ("outputs", "data/cells", "there/data/cells"),
        ("outputs", "data/gone", None),
        ("elsewhere/outputs", "data/cells", None),  # the run was moved
        ("../outputs", "data/cells", None),
        ("/outputs", "data/cells", None),
        ("outputs", "/data/cells", None),
    ],
)
def test_relative_path_is_looked_for_where_the_command_was_typed(
    run: Run, tmp_path: Path, outputs: str, path: str, wanted: str | None
) -> None:
    found = relocate_path(run, replace(made_up_config(), output_dir=outputs), path)
    assert found == (path if wanted is None else str(tmp_path / wanted))


def test_what_is_there_is_taken_as_it_is(run: Run, tmp_path: Path) -> None:
    (tmp_path / "here" / "data" / "cells").mkdir(parents=True)
    assert relocate_path(run, replace(made_up_config(), output_dir="outputs"), "data/cells") == "data/cells"
