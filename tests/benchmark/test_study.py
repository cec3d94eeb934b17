"""A benchmark's stored plan: read as it was written, found by what was asked, its runs shared where they may be."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lowres_ssl.benchmark.allotment import Allotment, Costs
from lowres_ssl.benchmark.rounds import training_steps
from lowres_ssl.benchmark.study import Study, read_study, study_path, write_study
from lowres_ssl.errors import CheckpointError

ASKED: dict[str, Any] = {
    "dataset": "cells",
    "images": "0123",
    "budget": 600.0,
    "methods": ["random", "dcl"],
    "seeds": None,
    "epochs": None,
    "fewer_labels": [0.1],
    "chosen_by": "knn",
    "config": {"recipe": "tuned", "image_size": 64},
}


def study_of(output_dir: Path, **asked: Any) -> Study:
    own = ASKED | asked
    return Study(
        path=study_path(output_dir, own),
        store_dir=output_dir / "stores",
        flags=("--config-dir", "my_conf"),
        asked=own,
        methods=("random", "dcl"),
        words=("dataset=cells", "dataset.root='my cells'"),
        shown=("backbone=resnet18", "image_size=64"),
        costs=Costs(epoch={"dcl": 3.5}, round_base=9.0, prepare=1.0, report=7.0, extras={"labels": 2.0}),
        views={"dcl": 321.5},
        device="a machine, fp32",
        allotment=Allotment(seeds=3, epochs=6, extras=("labels",), seconds=500.25),
        done={"seed 0": 31.5},
        dropped=("seed 2",),
        failed=("vicreg, seed 0: not finite",),
        spent=42.0,
    )


def test_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    assert read_study(tmp_path, tmp_path / "stores", ("--config-dir", "my_conf"), ASKED) is None
    write_study(study)
    study.folder.mkdir()
    assert read_study(tmp_path, tmp_path / "stores", ("--config-dir", "my_conf"), ASKED) == study


def test_plan_whose_runs_were_removed_begins_anew(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    write_study(study)
    found = read_study(tmp_path, tmp_path / "stores", ("--config-dir", "my_conf"), ASKED)
    assert found == replace(study, done={}, dropped=(), failed=(), spent=0.0)


@pytest.mark.parametrize("damage", ['"spent": 42.0', '"epochs": 6', "dcl"])
def test_damaged_plan_is_refused_with_what_to_type(tmp_path: Path, damage: str) -> None:
    study = study_of(tmp_path)
    write_study(study)
    text = study.path.read_text()
    assert damage in text
    study.path.write_text(text.replace(damage, damage[:-1] + "7"))
    with pytest.raises(CheckpointError, match=r"does not fit its checksum.*; type the same command with force=true"):
        read_study(tmp_path, tmp_path / "stores", ("--config-dir", "my_conf"), ASKED)


@pytest.mark.parametrize("free", [{"budget": 900.0}, {"seeds": 5}, {"epochs": 6}, {"methods": ["random", "vicreg"]}])
def test_runs_are_shared_where_they_may_stand_beside_each_other(tmp_path: Path, free: dict[str, Any]) -> None:
    one, other = study_of(tmp_path), study_of(tmp_path, **free)
    assert one.path != other.path
    assert one.folder == other.folder
    assert one.report != other.report


@pytest.mark.parametrize("cause", [{"images": "4567"}, {"config": {"recipe": "paper", "image_size": 64}}])
def test_runs_of_other_images_or_settings_have_a_folder_of_their_own(tmp_path: Path, cause: dict[str, Any]) -> None:
    assert study_of(tmp_path).folder != study_of(tmp_path, **cause).folder


def test_steps_are_commands_that_can_be_typed(tmp_path: Path) -> None:
    first, *_ = training_steps(study_of(Path("out puts")))
    assert first.words == (
        "pretrain",
        "--config-dir",
        "my_conf",
        "-m",
        "method=random,dcl",
        "seed=0",
        "epochs=6",
        "dataset=cells",
        "dataset.root='my cells'",
        "picture=false",
        f"output_dir='{study_of(Path('out puts')).folder}'",
        "store_dir='out puts/stores'",
    )
