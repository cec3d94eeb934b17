"""A benchmark's stored plan and its steps: read as it was written, found by what was asked, its runs shared."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import pytest

from lowres_ssl.benchmark.plan import (
    RANDOM_STEP,
    BenchmarkPlan,
    PlanQuestion,
    PlanSettings,
    PretrainedEncoder,
    Request,
    plan_final_steps,
    plan_frozen_steps,
    plan_more_random,
    plan_run,
    read_benchmark_plan,
    write_benchmark_plan,
)
from lowres_ssl.benchmark.request import build_question, choose_settings
from lowres_ssl.benchmark.schedule import FinishedRun, NextRun, Race, Rung
from lowres_ssl.config.experiment_schema import PretrainConfig, setting
from lowres_ssl.errors import CheckpointError
from tests.in_process import compose_config

ASKED = PlanQuestion(
    dataset="cells",
    images="0123",
    device="cpu",
    precision="fp32",
    settings="4567",
    typed=("backbone", "batch_size"),
    budget=600.0,
    methods=("dcl", "vicreg"),
    continued=("dcl",),
    pretrained=("auto",),
    seeds=None,
    epochs=None,
    chosen_by="logistic",
)
LITE = PretrainedEncoder("lite0", of_timm=True, file="my lite0.safetensors", image_size=224)
FROM = "dcl from lite0"
RACE = Race((FROM, "dcl", "vicreg"), 1000, rungs=(Rung(10, ("dcl", "vicreg")),))
for run in (("dcl", 1, 0, 0.5), ("dcl", 10, 0, 0.7), ("vicreg", 10, 0, 0.6), ("dcl", 10, 1, 0.7)):
    RACE = RACE.add(FinishedRun(*run[:3], seconds=30.0, training=20.0, score=run[3]))
PLAN = BenchmarkPlan(
    asked=ASKED,
    settings=PlanSettings("resnet18", image_size=64, batch_size=16, k=20),
    smaller=None,
    pretrained=(LITE,),
    race=RACE,
    done={RANDOM_STEP: 30.0},
    failed=("vicreg, seed 0: not finite",),
    spent=42.0,
)
WORDS = ("dataset=cells", "dataset.root='my cells'", "batch_size=16", "probe=[knn]")


def request_in(output_dir: Path) -> Request:
    config: Any = SimpleNamespace(output_dir=output_dir, store_dir=output_dir / "stores", probe=["knn", "logistic"])
    return Request(config, ("--config-dir", "my_conf"), WORDS, frozenset(), 600.0, None)


REQUEST = request_in(Path("out puts"))


def test_plan_is_read_as_written_begins_anew_without_its_runs_and_is_refused_once_damaged(tmp_path: Path) -> None:
    request = request_in(tmp_path)
    assert read_benchmark_plan(request, ASKED) is None
    write_benchmark_plan(request, PLAN)
    anew = replace(PLAN, race=Race(ASKED.methods, 1000), done={}, failed=(), spent=0.0)
    assert read_benchmark_plan(request, ASKED) == anew
    request.folder(ASKED).mkdir()
    assert read_benchmark_plan(request, ASKED) == PLAN
    path = request.plan_path(ASKED)
    path.write_text(path.read_text().replace('"spent": 42.0', '"spent": 47.0'))
    with pytest.raises(CheckpointError, match="force=true"):
        read_benchmark_plan(request, ASKED)


@pytest.mark.parametrize(
    ("asked", "shared"),
    [
        ({"budget": 900.0}, True),
        ({"seeds": 5}, True),
        ({"epochs": 6}, True),
        ({"methods": ("vicreg",)}, True),
        ({"pretrained": ()}, True),
        ({"images": "4567"}, False),
        ({"settings": "89ab"}, False),
        ({"typed": ()}, False),
    ],
)
def test_runs_are_shared_where_they_may_stand_beside_each_other(asked: dict[str, Any], shared: bool) -> None:
    other = replace(ASKED, **asked)
    assert REQUEST.plan_path(other) != REQUEST.plan_path(ASKED)
    assert REQUEST.file(other, "report.html") != REQUEST.file(ASKED, "report.html")
    assert (REQUEST.folder(other) == REQUEST.folder(ASKED)) == shared


@dataclass
class LaterConfig(PretrainConfig):
    later: bool = setting(default=False)


def test_a_key_that_is_new_and_at_its_default_changes_no_question() -> None:
    config = compose_config("dataset=phantom")
    later = LaterConfig(**vars(config))
    anything: Any = SimpleNamespace(digest="", device=SimpleNamespace(type="cpu"), precision="fp32")
    request: Any = SimpleNamespace(
        config=SimpleNamespace(methods=(), continued=(), pretrained=(), seeds=None, chosen_by="knn"),
        typed_settings=(),
        budget=60.0,
        epochs=None,
    )
    asked = build_question(request, config, anything, anything)
    with patch("lowres_ssl.benchmark.request.PretrainConfig", LaterConfig):
        assert build_question(request, later, anything, anything) == asked
        assert build_question(request, replace(later, later=True), anything, anything) != asked
    assert build_question(request, replace(config, learning_rate=0.7), anything, anything) != asked


def test_settings_that_were_typed_are_kept_and_not_typed_again() -> None:
    config = SimpleNamespace(image_size=224, batch_size=64, probe={"knn": {"k": 200}})
    fitted = SimpleNamespace(image_size=64, batch_size=16, k=20)
    with patch("lowres_ssl.benchmark.request.choose_default_settings", lambda *_, **__: fitted):
        for typed, wanted in (((), (64, 16, 20)), (("image_size", "probe.knn.k"), (224, 16, 200))):
            request: Any = SimpleNamespace(config=config, typed_settings=typed)
            found = choose_settings(request, cast(Any, None), cast(Any, None), large=False)
            assert found == PlanSettings("resnet18", *wanted)
    assert found.format_overrides(("image_size", "probe.knn.k")) == ("backbone=resnet18", "batch_size=16")


PLACES = (f"output_dir={REQUEST.folder(ASKED)}", "store_dir=out puts/stores")
OWN = ("image_size=64", "probe.knn.k=20", "picture=false", *PLACES)


def test_steps_are_commands_that_can_be_typed() -> None:
    random, lite = plan_frozen_steps(PLAN, REQUEST)
    begin = ("pretrain", "--config-dir", "my_conf")
    assert random.words == (*begin, "-m", "method=random,trivial", "seed=0,1,2", *WORDS, *OWN)
    chosen = ("method=pretrained", "method.model=lite0", "method.weights=my lite0.safetensors", "image_size=224")
    assert lite.words == (*begin, *chosen, "seed=0", "baselines=false", *WORDS, *OWN[1:])
    step = plan_run(PLAN, REQUEST, NextRun("dcl", 30, 2))
    assert step.words == (*begin, "method=dcl", "seed=2", "epochs=30", *WORDS, *OWN)


def test_training_from_an_pretrained_encoder_has_its_architecture_whatever_was_typed() -> None:
    typed = ("dataset=cells", "backbone=resnet34", "backbone.small_stem=true", "scored_size=128")
    words = plan_run(PLAN, replace(REQUEST, words=typed), NextRun(FROM, 10, 0)).words
    assert {"method=dcl", "backbone=timm", "backbone.model=lite0", "image_size=112", "scored_size=224"} < set(words)
    assert not {"backbone=resnet34", "backbone.small_stem=true", "image_size=64", "scored_size=128"} & set(words)


@pytest.mark.parametrize(("left", "seeds"), [(9.0, None), (15.0, "3"), (45.0, "3,4,5,6"), (1e6, "3,4,5,6,7,8,9")])
def test_further_seeds_of_the_random_encoders_are_as_many_as_fit(left: float, seeds: str | None) -> None:
    step = plan_more_random(PLAN, REQUEST, left)
    assert (None if step is None else f"seed={seeds}" in step.words) == (None if seeds is None else True)
    assert step is None or ("-m" in step.words) == ("," in str(seeds))


def test_what_reads_results_names_the_finalist_s_own_settings() -> None:
    for step in plan_final_steps(PLAN, REQUEST):
        assert {"backbone=resnet18", "image_size=64", "seed=[0,1]", "epochs=10"} < set(step.words)
    continued = replace(RACE, rungs=(Rung(10, (FROM,)),)).add(FinishedRun(FROM, 10, 0, 30.0, 20.0, 0.9))
    for step in plan_final_steps(replace(PLAN, race=continued), REQUEST):
        assert {"backbone=lite0", "image_size=112", "seed=[0]", "epochs=10"} < set(step.words)
        assert not any(word.startswith("entry=") for word in step.words)


def test_epoch_that_was_timed_is_no_result() -> None:
    for step in plan_final_steps(replace(PLAN, race=replace(RACE, rungs=())), REQUEST):
        assert "entry=[random,random_calibrated,trivial]" in step.words
