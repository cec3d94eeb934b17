"""A benchmark's stored plan: read as it was written, found by what was asked, its runs shared where they may be."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import pytest

from lowres_ssl.benchmark.plan import (
    EXTRA_NAMES,
    FITTED_OVERRIDE,
    RANDOM_STEP_NAME,
    BenchmarkPlan,
    get_plan_path,
    read_benchmark_plan,
    write_benchmark_plan,
)
from lowres_ssl.benchmark.request import choose_settings
from lowres_ssl.benchmark.schedule import BenchmarkCosts, BenchmarkSchedule
from lowres_ssl.benchmark.steps import EXTRA_TITLES, plan_final_steps, plan_random_steps, plan_training_steps
from lowres_ssl.errors import CheckpointError
from lowres_ssl.io.checksummed_json import write_checked_json

ASKED: dict[str, Any] = {
    "dataset": "cells",
    "images": "0123",
    "budget": 600.0,
    "methods": ["random", "dcl", "vicreg"],
    "seeds": None,
    "epochs": None,
    "fewer_labels": [0.1],
    "chosen_by": "knn",
    "config": {"recipe": "tuned", "image_size": 64},
}
EPOCH = {"dcl": 3.5, "vicreg": 4.5}
COSTS = BenchmarkCosts(EPOCH, 9.0, run=2.0, prepare=1.0, report=7.0, start=2.0, random_seed=0.5, extras={"labels": 2.0})
TYPED = ("dataset=cells", "dataset.root='my cells'")
FLAGS = ("--config-dir", "my_conf")


def study_of(output_dir: Path, **asked: Any) -> BenchmarkPlan:
    own = ASKED | asked
    return BenchmarkPlan(
        path=get_plan_path(output_dir, own),
        store_dir=output_dir / "stores",
        flags=FLAGS,
        asked=own,
        methods=("random", "dcl"),
        typed=TYPED,
        fitted=("image_size=64", "probe.knn.k=20"),
        shown=("backbone=resnet18", "image_size=64"),
        costs=COSTS,
        views={"dcl": 321.5},
        device="a machine, fp32",
        allotment=BenchmarkSchedule(
            seeds=3, random_seeds=5, epochs=6, extras=("labels",), left_out=("vicreg",), seconds=500.25
        ),
        done={"seed 0": 31.5},
        dropped=("seed 2",),
        failed=("vicreg, seed 0: not finite",),
        spent=42.0,
    )


def test_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    assert read_benchmark_plan(tmp_path, tmp_path / "stores", FLAGS, TYPED, ASKED) is None
    write_benchmark_plan(study)
    study.folder.mkdir()
    assert read_benchmark_plan(tmp_path, tmp_path / "stores", FLAGS, TYPED, ASKED) == study


def test_plan_whose_runs_were_removed_begins_anew(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    write_benchmark_plan(study)
    found = read_benchmark_plan(tmp_path, tmp_path / "stores", FLAGS, TYPED, ASKED)
    assert found == replace(study, done={}, dropped=(), failed=(), spent=0.0)


@pytest.mark.parametrize("damage", ['"spent": 42.0', '"epochs": 6', "dcl"])
def test_damaged_plan_is_refused_with_what_to_type(tmp_path: Path, damage: str) -> None:
    study = study_of(tmp_path)
    write_benchmark_plan(study)
    text = study.path.read_text()
    assert damage in text
    study.path.write_text(text.replace(damage, damage[:-1] + "7"))
    with pytest.raises(CheckpointError, match=r"does not fit its checksum.*; type the same command with force=true"):
        read_benchmark_plan(tmp_path, tmp_path / "stores", FLAGS, TYPED, ASKED)


def forged(study: BenchmarkPlan, place: str, value: Any) -> None:
    """Sealed again, as anybody can who hands a plan on."""
    write_benchmark_plan(study)
    study.folder.mkdir(parents=True)
    content = json.loads(study.path.read_text())
    *way, last = place.split(".")
    node = content
    for key in way:
        node = node[key]
    node[last] = value
    write_checked_json(study.path, content)


@pytest.mark.parametrize(
    ("place", "value", "what"),
    [
        ("fitted", ["+hydra.callbacks.x._target_=os.system"], "fitted: got"),
        ("fitted", ["--config-dir"], "fitted: got"),
        ("fitted", ["dataset.root=/elsewhere"], "fitted: got"),
        ("fitted", ["image_size=64,128"], "fitted: got"),
        ("fitted", ["backbone=resnet18\n"], "fitted: got"),
        ("fitted", ["dataset=other"], "fitted: got"),
        ("shown", ["backbone=resnet18", "image_size=64", "output_dir=/elsewhere"], "shown: got"),
        ("shown", ["backbone=resnet18", "+x=1"], "shown: got"),
        ("shown", [], "shown: got"),
        ("allotment.extras", ["labels", "more"], "extras: got 'more'"),
        ("allotment.extras", ["linear"], "extras: got 'linear'"),
        ("costs.extras", {"labels": 2.0, "more": 1.0}, "extras: got 'more'"),
        ("costs.round_base", 0, "costs.round_base: got 0"),
        ("costs.report", -1.0, "got -1.0"),
        ("spent", 1e300, r"got 1e\+300"),
        ("allotment.seeds", 10**9, "allotment: got"),
        ("allotment.epochs", 0, "allotment: got"),
        ("allotment.left_out", ["random"], "allotment.left_out: got"),
        ("allotment.left_out", ["+x=1"], "allotment.left_out: got"),
        ("allotment.left_out", ["dcl", "vicreg"], "allotment.left_out: got"),
        ("allotment.random_seeds", 2, "allotment.random_seeds: got 2"),
        ("allotment.random_seeds", 11, "allotment.random_seeds: got 11"),
        ("costs.random_seed", -1.0, "got -1.0"),
        ("costs", {}, "is missing"),
        ("allotment", {"extras": []}, "is missing"),
    ],
)
def test_plan_that_was_forged_is_refused_with_what_to_type(
    tmp_path: Path, place: str, value: object, what: str
) -> None:
    forged(study_of(tmp_path), place, value)
    with pytest.raises(CheckpointError, match=f"{what}.*; type the same command with force=true"):
        read_benchmark_plan(tmp_path, tmp_path / "stores", FLAGS, TYPED, ASKED)


def test_words_methods_and_folders_are_those_of_the_call_and_not_of_the_plan(tmp_path: Path) -> None:
    study = study_of(tmp_path)
    write_benchmark_plan(study)
    study.folder.mkdir()
    content = json.loads(study.path.read_text())
    content |= {"typed": ["+x=1"], "words": ["+x=1"], "methods": ["+x=1"], "flags": ["-cd"], "path": "/", "more": 1}
    content["costs"]["more"] = content["allotment"]["more"] = 1
    write_checked_json(study.path, content)
    assert read_benchmark_plan(tmp_path, tmp_path / "stores", FLAGS, TYPED, ASKED) == study


def test_what_is_typed_by_now_is_not_taken_from_the_plan(tmp_path: Path) -> None:
    """A default that is typed makes no other plan, but this one chose another value."""
    write_benchmark_plan(study_of(tmp_path))
    with pytest.raises(CheckpointError, match="image_size is typed now; type the same command with force=true"):
        read_benchmark_plan(tmp_path, tmp_path / "stores", FLAGS, (*TYPED, "image_size=224"), ASKED)


def test_plan_shows_no_control_characters(tmp_path: Path) -> None:
    forged(study_of(tmp_path), "failed", ["\x1b[2Jgone"])
    study = read_benchmark_plan(tmp_path, tmp_path / "stores", FLAGS, TYPED, ASKED)
    assert study is not None
    assert study.failed == (r"\x1b[2Jgone",)


@pytest.mark.parametrize("large", [False, True])
def test_whatever_is_fitted_can_be_read_again(large: bool) -> None:
    config = SimpleNamespace(batch_size=64, probe={"knn": {"k": 200}})
    question: Any = SimpleNamespace(config=config, typed=frozenset())
    fitted = SimpleNamespace(image_size=64, batch_size=16, k=20)
    with patch("lowres_ssl.benchmark.request.choose_default_settings", lambda *_, **__: fitted):
        words = choose_settings(question, cast(Any, None), cast(Any, None), large=large)
    assert len(words) == 4
    assert all(FITTED_OVERRIDE.fullmatch(word) for word in words)
    assert set(EXTRA_NAMES) == set(EXTRA_TITLES)


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
    first, *_ = plan_training_steps(study_of(Path("out puts")))
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
        "image_size=64",
        "probe.knn.k=20",
        "picture=false",
        f"output_dir='{study_of(Path('out puts')).folder}'",
        "store_dir='out puts/stores'",
    )


def test_methods_that_are_left_out_cost_nothing() -> None:
    first, *_ = plan_training_steps(study_of(Path("outputs")))
    assert first.seconds == 9.0 - 2.0 + 6 * 3.5


def test_further_seeds_of_the_random_encoders_are_those_that_no_other_method_has_been_run_with() -> None:
    study = replace(study_of(Path("outputs")), methods=("random", "random_calibrated", "dcl"))
    (step,) = plan_random_steps(study)  # of 5; the plan's seed 2 was dropped and seed 1 is not there yet
    assert {"method=random,random_calibrated", "seed=1,2,3,4"} < set(step.words)
    assert step.seconds == 2.0 + 4 * 0.5
    assert plan_random_steps(replace(study, allotment=replace(study.allotment, random_seeds=3))) == []


def test_what_reads_results_is_told_of_the_further_seeds_once_they_are_there() -> None:
    study = study_of(Path("outputs"))
    for own, seeds in ((study, "[0]"), (replace(study, done={**study.done, RANDOM_STEP_NAME: 1.0}), "[0,1,2,3,4]")):
        for step in plan_final_steps(own, ["knn"]):
            assert {"seed=[0]", f"untrained_seed={seeds}"} < set(step.words)
