"""Each sentence of the answer, on made-up results that it is true of and on others that it is not true of."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored_runs import made_up_run

from lowres_ssl.benchmark.decision import Decision, decide, find_best_pretrained, read_results, select_column
from lowres_ssl.benchmark.plan import BenchmarkPlan, PlanQuestion, PlanSettings, PretrainedEncoder
from lowres_ssl.benchmark.recommendation import write_recommendation
from lowres_ssl.benchmark.schedule import FinishedRun, Race, Rung

LITE = PretrainedEncoder("lite0", True, None, 224)
IMAGENET = PretrainedEncoder("resnet18", False, None, 224)
ASKED = PlanQuestion("phantom", "", "cpu", "fp32", "", (), 60.0, ("dcl", "simclr"), (), (), None, None, "logistic")
RACE = Race(("dcl", "simclr"), 1000, rungs=(Rung(10, ("dcl", "simclr")), Rung(40, ("dcl",))))
SCORES = {("dcl", 10): 0.7, ("simclr", 10): 0.6, ("dcl", 40): 0.9}
Accuracies = dict[str, tuple[float, float]]  # by method: on the test and on the validation images


def make_plan(
    seeds: int = 3, pretrained: tuple[PretrainedEncoder, ...] = (LITE,), trained: bool = True
) -> BenchmarkPlan:
    race = RACE if trained else replace(RACE, rungs=())
    for (name, epochs), score in SCORES.items():
        for seed in range(seeds if epochs == 40 else 1):
            race = race.add(FinishedRun(name, epochs, seed, 30.0, 20.0, score))
    return BenchmarkPlan(ASKED, PlanSettings("resnet18", 64, 64, 14), None, pretrained, race)


def make_runs(folder: Path, accuracies: Accuracies, seeds: int = 3, **more: Any) -> None:
    """Write runs whose test and validation accuracy are given, the same for every seed."""
    for method, (test, validated) in accuracies.items():
        own: dict[str, Any] = {"images": 240, "accuracy": test, "validation_accuracy": validated, "probe": "logistic"}
        own |= {"epochs": 40, "method": method}
        if method in ("lite0", "imagenet"):
            own |= {"image_size": 224, "storage_size": 256}
        if method == "lite0":
            own |= {"method": "pretrained", "entry": "pretrained lite0"}
        for seed in range(1 if method in ("lite0", "imagenet") else seeds):
            made_up_run(folder, seed=seed, **own | more)


def answer(folder: Path, plan: BenchmarkPlan) -> list[str]:
    rows = read_results(folder)
    columns = {probe: column for probe in ("knn", "logistic") if (column := select_column(rows, plan, probe))}
    return write_recommendation(columns, plan)


def decided(folder: Path, plan: BenchmarkPlan) -> Decision:
    column = select_column(read_results(folder), plan, "logistic")
    assert column is not None
    found = decide(column, [each.name for each in plan.pretrained], plan.race.finalist)
    assert found is not None
    return found


def says(lines: list[str], part: str) -> bool:
    return any(part in line for line in lines)


NOTHING_ADDED = "Training on your images added nothing measurable to what others have trained: "


@pytest.mark.parametrize(
    ("accuracies", "decision", "said", "unsaid"),
    [
        (  # significantly above random initialisation, and nothing of others is there
            {"dcl": (0.9, 0.9), "random": (0.6, 0.6)},
            ("use", "dcl"),
            [
                "Use dcl, trained on your images for 40,000 views (0.900 on the validation images by logistic; ran",
                "With dcl 90% of the 240 test images are right, with random initialisation 60%: +30.0 points (95% i",
                "p < 0.001 in one comparison: significant.",
                "by the other seeds alone the gain is +30.0 points.",
            ],
            ["frozen", "added nothing"],
        ),
        (  # a difference that chance explains is neither a gain nor equality
            {"dcl": (0.71, 0.75), "random": (0.7, 0.7)},
            ("cannot tell", "dcl"),
            [
                "Cannot tell. Best so far: dcl, trained",
                "Until more is known use dcl.",
                ": not significant. A gain of up",
            ],
            [": significant"],
        ),
        (
            {"dcl": (0.71, 0.7), "random": (0.7, 0.72)},
            ("cannot tell", "dcl"),
            [
                "Cannot tell. Not better than random initialisation on the validation images: dcl, trained on",
                "Until more is known use random initialisation.",
            ],
            ["Best so far"],
        ),
        (  # random initialisation is measurably ahead on validation
            {"dcl": (0.7, 0.7), "random": (0.7, 0.95)},
            ("none", "dcl"),
            ["Use none of these encoders: random initialisation is measurably better on the validation"],
            ["Use dcl"],
        ),
        (
            {"dcl": (0.5, 0.8), "random": (0.9, 0.75)},
            ("none", "dcl"),
            ["random initialisation is measurably better on the test images. The best was dcl, trained on"],
            [],
        ),
        (
            {"dcl": (0.9, 0.6), "random": (0.6, 0.9)},
            ("cannot tell", "dcl"),
            ["Validation and test images contradict each other"],
            ["Use dcl", "Until more is known"],
        ),
        (  # a pre-trained encoder is as good by validation: training is not recommended, whatever the test images say
            {"dcl": (0.95, 0.9), "random": (0.6, 0.6), "lite0": (0.85, 0.88)},
            ("use", "lite0"),
            [
                "Use frozen lite0 features (0.883 on the validation images",
                f"{NOTHING_ADDED}dcl 0.900, frozen lite0 0.883",
                "p < 0.001 after Holm correction for 2 comparisons: significant.",
                "On the test images dcl minus frozen lite0: +10.0 points (95% interval +",
                "The test images favour dcl, which the 120 validation images did not show.",
                "Random initialisation is resnet18 at 64 px, without pre-trained weights, so this gain is not due to t",
            ],
            ["Use dcl", "by the other seeds alone"],
        ),
        (  # or measurably better
            {"dcl": (0.7, 0.7), "random": (0.5, 0.5), "lite0": (0.95, 0.95)},
            ("use", "lite0"),
            ["Training on your images was measurably worse than the best frozen encoder: dcl 0.700, frozen lite0"],
            [NOTHING_ADDED, "The test images favour"],
        ),
        (  # training is measurably better by validation
            {"dcl": (0.9, 0.95), "random": (0.6, 0.6), "lite0": (0.8, 0.7)},
            ("use", "dcl"),
            [
                "Use dcl,",
                "Training on your images beats the best frozen encoder: dcl 0.950, frozen lite0 0.700",
            ],
            [NOTHING_ADDED],
        ),
        (  # and the test images contradict
            {"dcl": (0.8, 0.95), "random": (0.6, 0.6), "lite0": (0.95, 0.7)},
            ("cannot tell", "dcl"),
            ["Validation and test images contradict each other"],
            [],
        ),
        (  # mean colour is never chosen
            {"dcl": (0.9, 0.9), "random": (0.6, 0.6), "trivial": (0.92, 0.95)},
            ("use", "dcl"),
            ["Mean colour and size alone, without any encoder, reach 0.921 on the test images. dcl reaches 0.900"],
            [],
        ),
        (  # the better random encoder is what is compared with
            {"dcl": (0.8, 0.8), "random": (0.6, 0.6), "random_calibrated": (0.79, 0.78)},
            ("cannot tell", "dcl"),
            ["random initialisation with calibrated BatchNorm 0.783)"],
            [],
        ),
    ],
)
def test_sentence_says_what_its_numbers_show(
    tmp_path: Path, accuracies: Accuracies, decision: tuple[str, str], said: list[str], unsaid: list[str]
) -> None:
    make_runs(tmp_path, accuracies)
    found, lines = decided(tmp_path, make_plan()), answer(tmp_path, make_plan())
    assert (found.verdict, found.named) == decision
    assert [part for part in said if not says(lines, part)] == []
    assert [part for part in unsaid if says(lines, part)] == []


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_of_a_training_show_nothing(tmp_path: Path, seeds: int) -> None:
    make_runs(tmp_path, {"dcl": (0.9, 0.9)}, seeds=seeds)
    make_runs(tmp_path, {"random": (0.6, 0.6)})
    lines = answer(tmp_path, make_plan(seeds))
    assert lines[0].startswith("Cannot tell. Best so far: dcl, trained on your images for 40,000 views (0.900")
    assert says(lines, "with fewer than 3 seeds too little is known")
    assert says(lines, f"{seeds} seed{'s' * (seeds > 1)} of dcl: 3 are the least to test.")
    assert not says(lines, "significant")
    assert not says(lines, "interval -100")


def test_pretrained_encoder_stays_named_until_three_seeds_are_ahead_of_it(tmp_path: Path) -> None:
    make_runs(tmp_path, {"dcl": (0.95, 0.95)}, seeds=1)
    make_runs(tmp_path, {"random": (0.6, 0.6), "trivial": (0.3, 0.3), "lite0": (0.85, 0.85)})
    lines = answer(tmp_path, make_plan(seeds=1))
    assert lines[0].startswith("Use frozen lite0 features (0.850")
    assert says(lines, "cannot be judged by 1 seed: dcl 0.950, frozen lite0 0.850 on the validation images.")
    assert not says(lines, "Mean colour")


def test_pretrained_encoder_is_an_answer_before_anything_is_trained(tmp_path: Path) -> None:
    make_runs(tmp_path, {"random": (0.6, 0.6), "lite0": (0.9, 0.9)})
    lines = answer(tmp_path, make_plan(trained=False))
    assert lines[0].startswith("Use frozen lite0 features (0.900")
    assert says(lines, "More time: no method has been trained for long enough")
    make_runs(tmp_path, {"dcl": (0.95, 0.8)}, seeds=1)
    assert answer(tmp_path, make_plan(seeds=1))[0].startswith("Use frozen lite0 features")


def test_nothing_to_compare_is_no_answer(tmp_path: Path) -> None:
    assert answer(tmp_path, make_plan(trained=False))[0].startswith("Cannot tell yet")
    make_runs(tmp_path, {"random": (0.6, 0.6)})
    lines = answer(tmp_path, make_plan(trained=False))
    assert lines[0].startswith("Cannot tell yet")
    assert says(lines, "random initialisation")
    assert not says(lines, "shortcut")
    make_runs(tmp_path, {"trivial": (0.6, 0.6)})
    lines = answer(tmp_path, make_plan(trained=False))
    assert lines[1].startswith("Mean colour and size alone, without any encoder, reach 0.600 on the validation images")
    make_runs(tmp_path, {"random_calibrated": (0.7, 0.7)})
    assert not says(answer(tmp_path, make_plan(trained=False)), "shortcut")


def test_training_is_compared_with_the_start_of_its_own_seed(tmp_path: Path) -> None:
    """Not with the mean over the seeds of random initialisation, nor with the calibrated encoder, which is no start."""
    make_runs(tmp_path, {"dcl": (0.9, 0.9), "random_calibrated": (0.8, 0.8)})
    for seed, score in enumerate((0.8, 0.5, 0.4)):
        shared: dict[str, Any] = {"images": 240, "accuracy": 0.5, "probe": "logistic", "epochs": 40}
        made_up_run(tmp_path, method="random", seed=seed, validation_accuracy=score, **shared)
    assert says(answer(tmp_path, make_plan()), "not trained 0.800, 10,000 views 0.700")


def test_start_without_a_result_is_left_out(tmp_path: Path) -> None:
    make_runs(tmp_path, {"dcl": (0.9, 0.9), "random_calibrated": (0.8, 0.8)})
    assert says(answer(tmp_path, make_plan()), "seed 0 of dcl on the validation images: 10,000 views 0.700")


def test_seed_that_had_nothing_to_choose_from_has_chosen_nothing(tmp_path: Path) -> None:
    make_runs(tmp_path, {"dcl": (0.9, 0.9), "random": (0.6, 0.6)})
    plan = make_plan()
    assert says(answer(tmp_path, plan), "Seed 0 chose dcl among others")
    alone = replace(plan.race, rungs=(Rung(40, ("dcl",)),))
    assert not says(answer(tmp_path, replace(plan, race=alone)), "Seed 0 chose")


def test_best_pretrained_encoder_is_that_of_validation(tmp_path: Path) -> None:
    plan = make_plan(pretrained=(IMAGENET, LITE))
    assert find_best_pretrained(plan, read_results(tmp_path)) is None
    make_runs(tmp_path, {"imagenet": (0.6, 0.7), "lite0": (0.9, 0.6)})
    assert find_best_pretrained(plan, read_results(tmp_path)) == "imagenet resnet18"
    make_runs(tmp_path, {"random": (0.5, 0.5), "dcl": (0.6, 0.5)})
    assert decided(tmp_path, plan).named == "imagenet resnet18"


def test_rungs_and_other_sizes_do_not_mix(tmp_path: Path) -> None:
    """Shorter trainings of the finalist, an encoder of another size, other seeds."""
    make_runs(tmp_path, {"dcl": (0.9, 0.9), "random": (0.6, 0.6)})
    make_runs(tmp_path, {"dcl": (0.1, 0.1)}, epochs=10)
    make_runs(tmp_path, {"dcl": (0.1, 0.1), "random": (0.95, 0.95)}, image_size=32)
    made_up_run(tmp_path, method="dcl", seed=7, epochs=40, probe="logistic", accuracy=0.1, images=240)
    found = decided(tmp_path, make_plan())
    assert found.seeds == (0, 1, 2)
    assert found.intervals["dcl"].value == pytest.approx(0.9)
    assert found.intervals["random"].value == pytest.approx(0.6)


def test_second_run_of_the_same_frozen_weights_counts_once(tmp_path: Path) -> None:
    make_runs(tmp_path, {"dcl": (0.9, 0.9), "random": (0.6, 0.6), "lite0": (0.7, 0.7)})
    make_runs(tmp_path, {"lite0": (0.7, 0.7)}, storage_size=300)
    assert sum(read_results(tmp_path)["entry"] == "pretrained lite0") == 2
    assert decided(tmp_path, make_plan()).frozen == "lite0"


def test_rung_that_was_not_completed_lends_the_finalist_no_views(tmp_path: Path) -> None:
    make_runs(tmp_path, {"dcl": (0.9, 0.9), "random": (0.6, 0.6)})
    plan = make_plan(pretrained=())
    race = replace(plan.race, rungs=(*RACE.rungs, Rung(80, ("dcl", "simclr"))))
    race = race.add(FinishedRun("dcl", 80, 0, 30.0, 20.0, 0.95))
    row = next(line for line in answer(tmp_path, replace(plan, race=race)) if line.startswith("encoder"))
    assert next(line for line in row.splitlines() if line.startswith("dcl")).split()[1] == "40,000"


def test_table_has_all_encoders_and_test_accuracies_only_of_those_that_were_compared(tmp_path: Path) -> None:
    make_runs(tmp_path, {"dcl": (0.9, 0.9), "random": (0.6, 0.55), "lite0": (0.8, 0.8), "trivial": (0.3, 0.3)})
    lines = answer(tmp_path, make_plan())[-1].splitlines()
    assert [line.split("  ")[0] for line in lines[1:]] == [
        *("dcl", "lite0", "simclr", "random initialisation", "mean colour and size")
    ]
    assert "40,000" in lines[1]
    assert "0.900 (" in lines[1]
    assert "10,000" in lines[3]
    assert lines[3].endswith("0.600"), "no test accuracy of what was dropped"


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        ((0.7, 0.9), "4 times the views gained +20.0 points: longer training may gain more."),
        ((0.7, 0.5), "4 times the views gained -20.0 points: nothing is to be expected of longer training."),
        (
            (0.7, 0.71),
            "4 times the views gained +1.0 points, within the noise of 120 images (up to 11.6): that shows nei",
        ),
        ((0.992, 1.0), "4 times the views gained +0.8 points, within the noise of 120 images (up to 2.8)"),
    ],
)
def test_what_more_time_would_buy_is_read_from_the_finalist_s_own_curve(
    tmp_path: Path, scores: tuple[float, float], said: str
) -> None:
    make_runs(tmp_path, {"dcl": (0.9, scores[1]), "random": (0.6, 0.6)})
    plan = make_plan()
    race = replace(plan.race, runs=())
    for epochs, score in zip((10, 40), scores, strict=True):
        race = race.add(FinishedRun("dcl", epochs, 0, 1.0, 1.0, score))
    race = race.add(FinishedRun("simclr", 10, 0, 1.0, 1.0, 0.6))
    lines = answer(tmp_path, replace(plan, race=race))
    assert says(lines, f"not trained 0.600, 10,000 views {scores[0]:.3f}, 40,000 views {scores[1]:.3f}. {said}")


@pytest.mark.parametrize(
    ("half", "said"),
    [
        (
            0.7,
            "views 0.700, on all 0.900 (seeds that chose nothing). Twice the images gained +20.0 points: more unlab",
        ),
        (
            0.89,
            "+1.0 points, within the noise of 120 images (up to 8.0): that shows neither that more unlabelled images",
        ),
        (None, ""),
    ],
)
def test_what_more_images_would_buy_is_read_from_a_training_on_half_of_them(
    tmp_path: Path, half: float | None, said: str
) -> None:
    make_runs(tmp_path, {"dcl": (0.9, 0.9), "random": (0.6, 0.6)})
    make_runs(tmp_path, {"dcl": (0.5, 0.5)}, seeds=1, epochs=80, pretrain_on="half")
    plan = make_plan()
    plan = replace(plan, race=plan.race.add(FinishedRun("dcl", 80, 0, 1.0, 1.0, half, half=True)))
    lines = answer(tmp_path, plan)
    assert says(lines, "More images: ") == (half is not None)
    assert says(lines, said)
    assert decided(tmp_path, plan).seeds == (0, 1, 2)


def test_other_probe_is_shown_beside_and_names_nothing(tmp_path: Path) -> None:
    make_runs(tmp_path, {"dcl": (0.9, 0.95), "random": (0.6, 0.6), "lite0": (0.7, 0.7)})
    make_runs(tmp_path, {"dcl": (0.7, 0.6), "random": (0.6, 0.7), "lite0": (0.9, 0.99)}, probe="knn")
    (line,) = (line for line in answer(tmp_path, make_plan()) if line.startswith("By KNN"))
    assert line.startswith("By KNN (k=200): dcl minus random initialisation +10.0 points (95% interval ")


@pytest.mark.parametrize(("groups", "told"), [(40, False), (5, True)])
def test_groups_that_tell_too_little_are_told(tmp_path: Path, groups: int, told: bool) -> None:
    named = [f"patient{number}" for number in range(groups)]
    make_runs(tmp_path, {"dcl": (0.9, 0.9), "random": (0.6, 0.6)}, groups=named)
    lines = answer(tmp_path, make_plan())
    assert says(lines, "no interval here is reliable") == told
    assert (
        says(lines, "The validation images, which chose, are of few patients (they count as 5 of equal size).") == told
    )
