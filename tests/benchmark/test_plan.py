"""A benchmark's stored plan and its steps: read as it was written, found by what was asked, its runs shared."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import pytest

from lowres_ssl.benchmark.plan import (
    RANDOM_STEP_NAME,
    BenchmarkCall,
    BenchmarkPlan,
    PlanQuestion,
    PlanSettings,
    plan_extra_steps,
    plan_final_steps,
    plan_training_steps,
    read_benchmark_plan,
    write_benchmark_plan,
)
from lowres_ssl.benchmark.request import choose_settings
from lowres_ssl.benchmark.schedule import BenchmarkCosts, BenchmarkSchedule
from lowres_ssl.errors import CheckpointError

ASKED = PlanQuestion(
    dataset="cells",
    images="0123",
    device="cpu",
    precision="fp32",
    settings="4567",
    typed=("backbone", "batch_size"),
    budget=600.0,
    methods=("random", "dcl", "vicreg"),
    seeds=None,
    epochs=None,
    fewer_labels=(0.1,),
    chosen_by="knn",
)
EPOCH = {"dcl": 3.5, "vicreg": 4.5}
COSTS = BenchmarkCosts(EPOCH, 9.0, run=2.0, prepare=1.0, report=7.0, start=2.0, random_seed=0.5, extras={"labels": 2.0})
PLAN = BenchmarkPlan(
    asked=ASKED,
    settings=PlanSettings("resnet18", image_size=64, batch_size=16, k=20),
    costs=COSTS,
    schedule=BenchmarkSchedule(
        seeds=3, random_seeds=5, epochs=6, extras=("labels",), left_out=("vicreg",), seconds=500.25
    ),
    done={"seed 0": 31.5},
    dropped=("seed 2",),
    failed=("vicreg, seed 0: not finite",),
    spent=42.0,
)
WORDS = ("dataset=cells", "dataset.root='my cells'", "batch_size=16", "probe=[knn]")


def called(output_dir: Path) -> BenchmarkCall:
    return BenchmarkCall(output_dir, output_dir / "stores", ("--config-dir", "my_conf"), WORDS)


CALL = called(Path("out puts"))


def test_plan_is_read_as_it_was_written_and_begins_anew_where_its_runs_are_gone(tmp_path: Path) -> None:
    call = called(tmp_path)
    assert read_benchmark_plan(call, ASKED) is None
    write_benchmark_plan(call, PLAN)
    assert read_benchmark_plan(call, ASKED) == replace(PLAN, done={}, dropped=(), failed=(), spent=0.0)
    call.folder(ASKED).mkdir()
    assert read_benchmark_plan(call, ASKED) == PLAN


def test_damaged_plan_is_refused(tmp_path: Path) -> None:
    write_benchmark_plan(called(tmp_path), PLAN)
    path = called(tmp_path).plan_path(ASKED)
    path.write_text(path.read_text().replace('"spent": 42.0', '"spent": 47.0'))
    with pytest.raises(CheckpointError, match="force=true"):
        read_benchmark_plan(called(tmp_path), ASKED)


@pytest.mark.parametrize(
    ("asked", "shared"),
    [
        ({"budget": 900.0}, True),
        ({"seeds": 5}, True),
        ({"epochs": 6}, True),
        ({"methods": ("random", "vicreg")}, True),
        ({"images": "4567"}, False),
        ({"settings": "89ab"}, False),
        ({"typed": ()}, False),
    ],
)
def test_runs_are_shared_where_they_may_stand_beside_each_other(asked: dict[str, Any], shared: bool) -> None:
    other = replace(ASKED, **asked)
    assert CALL.plan_path(other) != CALL.plan_path(ASKED)
    assert CALL.file(other, "report.html") != CALL.file(ASKED, "report.html")
    assert (CALL.folder(other) == CALL.folder(ASKED)) == shared


def test_settings_that_were_typed_are_kept_and_not_typed_again() -> None:
    config = SimpleNamespace(image_size=224, batch_size=64, probe={"knn": {"k": 200}})
    fitted = SimpleNamespace(image_size=64, batch_size=16, k=20)
    with patch("lowres_ssl.benchmark.request.choose_default_settings", lambda *_, **__: fitted):
        for typed, wanted in (((), (64, 16, 20)), (("image_size", "probe.knn.k"), (224, 16, 200))):
            request: Any = SimpleNamespace(config=config, typed_settings=typed)
            found = choose_settings(request, cast(Any, None), cast(Any, None), large=False)
            assert found == PlanSettings("resnet18", *wanted)
    assert found.format_overrides(("image_size", "probe.knn.k")) == ("backbone=resnet18", "batch_size=16")


def test_steps_are_commands_that_can_be_typed() -> None:
    first, *others = plan_training_steps(PLAN, CALL)
    assert first.words == (
        *("pretrain", "--config-dir", "my_conf", "-m", "method=random,dcl", "seed=0", "epochs=6", *WORDS),
        *("image_size=64", "probe.knn.k=20", "picture=false"),
        *(f"output_dir={CALL.folder(ASKED)}", "store_dir=out puts/stores"),
    )
    assert first.seconds == 9.0 - 2.0 + 6 * 3.5, "a method that is left out costs nothing"
    assert len(others) == 2


def test_further_seeds_of_the_random_encoders_are_those_that_no_other_method_has_been_run_with() -> None:
    plan = replace(PLAN, asked=replace(ASKED, methods=("random", "random_calibrated", "dcl")))
    schedule = replace(plan.schedule, left_out=())
    further, labels = plan_extra_steps(replace(plan, schedule=schedule), CALL, ["knn"])
    assert {"method=random,random_calibrated", "seed=1,2,3,4"} < set(further.words)
    assert further.seconds == 2.0 + 4 * 0.5
    assert {"seed=0", "label_fraction=[0.1]"} < set(labels.words)
    fewer = replace(schedule, random_seeds=3, extras=("linear",))
    costs = replace(COSTS, extras={"linear": 3.0})
    (linear,) = plan_extra_steps(replace(plan, schedule=fewer, costs=costs), CALL, ["knn"])
    assert [word for word in linear.words if word.startswith("probe=")] == ["probe=[knn,linear]"]


def test_what_reads_results_names_the_further_seeds_once_they_are_there() -> None:
    for plan, seeds in ((PLAN, "[0]"), (PLAN.after(RANDOM_STEP_NAME, 1.0), "[0,1,2,3,4]")):
        for step in plan_final_steps(plan, CALL, ["knn"]):
            assert {"backbone=resnet18", "image_size=64", "seed=[0]", f"untrained_seed={seeds}"} < set(step.words)
