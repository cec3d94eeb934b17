"""Each sentence of the answer, on made-up results that it is true of and on others that it is not true of."""

from pathlib import Path
from typing import Any

import pytest
from stored_runs import made_up_run

from lowres_ssl.benchmark.decision import Decision, choose_method
from lowres_ssl.benchmark.recommendation import write_recommendation
from lowres_ssl.runs.filters import ResultFilters
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.query import ResultColumn, select_columns

METHODS = ("random", "random_calibrated", "trivial", "dcl", "simsiam", "vicreg")
Accuracies = dict[str, tuple[float, float]]  # by method: on the test and on the validation images


def made(folder: Path, accuracies: Accuracies, *, seeds: int = 3, **more: Any) -> None:
    """Write runs whose test and validation accuracy are given, the same for every seed."""
    for method, (test, validated) in accuracies.items():
        for seed in range(seeds):
            about: dict[str, Any] = {"images": 240, "accuracy": test, "validation_accuracy": validated} | more
            made_up_run(folder, method=method, seed=seed, **about)


def columns(folder: Path) -> dict[str, ResultColumn]:
    frame, problems = read_index(folder)
    assert problems == []
    return {column.probe: column for column in select_columns(frame, ResultFilters())}


def asked(folder: Path, seeds: int = 3, chosen_by: str = "knn") -> list[str]:
    return write_recommendation(columns(folder), METHODS, chosen_by, range(seeds))


def decided(folder: Path, seeds: int = 3) -> Decision:
    found = choose_method(columns(folder)["knn"], METHODS, range(seeds))
    assert found is not None
    return found


def says(lines: list[str], part: str) -> bool:
    return any(part in line for line in lines)


NO_METHOD = "No method measurably beat random initialisation at this training length."
BETTER: Accuracies = {"dcl": (0.9, 0.92), "simsiam": (0.65, 0.7), "random": (0.6, 0.6)}
ALIKE: Accuracies = {"dcl": (0.72, 0.75), "simsiam": (0.71, 0.7), "random": (0.7, 0.7)}


@pytest.mark.parametrize(
    ("accuracies", "verdict", "said", "unsaid"),
    [
        (  # significantly above random initialisation
            BETTER,
            "use",
            [
                "Use dcl. It is the best method on the validation images (0.917 by KNN (k=200), mean of 3 seeds; ",
                "dcl is significantly above random initialisation: +0.300 (95% interval +0.",
                "p < 0.001 after Holm correction for 2 comparisons.",
                "Significantly behind dcl after Holm correction (chosen minus other): simsiam (+0.250, p < 0.001).",
            ],
            [NO_METHOD],
        ),
        (  # a difference that chance explains is neither a gain nor equality
            ALIKE,
            "cannot tell",
            [
                "Cannot tell. dcl is the best method on the validation images (0.750 by",
                "no significant difference between dcl and random initialisation: +0.021 (95% interval -0.",
                f"{NO_METHOD} That does not show that they are equal: a gain of dcl up to 0.",
                "No significant difference after Holm correction (chosen minus other): simsiam (+0.012, p = ",
            ],
            ["ignificantly"],
        ),
        (  # validation chooses, whatever the test images say
            {"dcl": (0.75, 0.9), "simsiam": (0.95, 0.8), "random": (0.5, 0.5)},
            "use",
            [
                "Significantly ahead of dcl on the test images, though not on validation, after Holm correction",
                " (chosen minus other): simsiam (-0.200, p < 0.001).",
            ],
            [],
        ),
        (  # random initialisation is measurably ahead on validation
            {"dcl": (0.69, 0.7), "simsiam": (0.6, 0.6), "random": (0.7, 0.95)},
            "none",
            [
                "Use none of the methods. On the validation images random initialisation is measurably better than the "
                "best method, dcl: 0.950 by KNN (k=200), mean of 3 seeds, against 0.700, difference -0.250 (95%",
                NO_METHOD,
            ],
            [],
        ),
        (  # significantly below on the test images
            {"dcl": (0.5, 0.8), "random": (0.9, 0.7)},
            "none",
            ["dcl is significantly below random initialisation: -0.400 (95% interval -0.", NO_METHOD],
            ["compatible"],
        ),
        (
            {"dcl": (0.9, 0.7), "random": (0.7, 0.95)},
            "cannot tell",
            ["Validation and test images contradict each other; look at how they were divided."],
            [NO_METHOD],
        ),
        (  # a gain of a method that validation did not choose
            {"dcl": (0.71, 0.9), "simsiam": (0.95, 0.8), "random": (0.7, 0.7)},
            "cannot tell",
            [
                "The other methods minus random initialisation on the test images, in one comparison: significantly ",
                " above it: simsiam (+0.250, p < 0.001).",
                "To choose it now would be to choose by the test images",
            ],
            [NO_METHOD],
        ),
        (  # the better random encoder is what methods are compared with
            {"dcl": (0.8, 0.8), "random": (0.6, 0.6), "random_calibrated": (0.79, 0.78)},
            "cannot tell",
            ["random initialisation with calibrated BatchNorm 0.783)"],
            [],
        ),
        (  # mean colour is never chosen
            {"dcl": (0.9, 0.9), "random": (0.6, 0.6), "trivial": (0.92, 0.95)},
            "use",
            ["Mean colour and size alone, without any encoder, reach 0.921 on the test images. dcl reaches 0.900"],
            [],
        ),
        (
            {"dcl": (0.9, 0.9), "random": (0.6, 0.6), "trivial": (0.87, 0.95)},
            "use",
            ["reach 0.871 on the test images. dcl (0.900) is not measurably above that: +0.029 (95% interval -0."],
            [],
        ),
        ({"dcl": (0.9, 0.9), "random": (0.6, 0.6), "trivial": (0.6, 0.95)}, "use", ["Use dcl."], ["Mean colour"]),
    ],
)
def test_sentence_says_what_its_numbers_show(
    tmp_path: Path, accuracies: Accuracies, verdict: str, said: list[str], unsaid: list[str]
) -> None:
    made(tmp_path, accuracies)
    found, lines = decided(tmp_path), asked(tmp_path)
    assert (found.verdict, found.chosen) == (verdict, "dcl")
    assert [part for part in said if not says(lines, part)] == []
    assert [part for part in unsaid if says(lines, part)] == []


def test_method_that_lacks_a_seed_is_no_candidate(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.9, 0.95)}, seeds=2)
    made(tmp_path, {"random": (0.6, 0.6), "trivial": (0.5, 0.5)})
    assert asked(tmp_path) == ["Cannot tell. There are no results to compare."]
    made(tmp_path, {"simsiam": (0.8, 0.85)})
    assert decided(tmp_path).chosen == "simsiam"


def test_other_probes_choose_nothing_and_are_told(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.9, 0.9), "simsiam": (0.7, 0.7), "random": (0.6, 0.6)})
    made(tmp_path, {"dcl": (0.8, 0.6), "simsiam": (0.9, 0.95), "random": (0.79, 0.7)}, probe="logistic")
    (line,) = (line for line in asked(tmp_path) if line.startswith("By logistic"))
    assert line.startswith("By logistic: dcl minus random initialisation +0.008, p = ")
    assert line.endswith(" after Holm correction for 2 comparisons: not significant.")
    other = asked(tmp_path, chosen_by="logistic")
    assert other[0].startswith("Use simsiam.")
    assert says(other, "By KNN (k=200): simsiam minus random initialisation +0.100, p < 0.001 after Holm")


def test_gain_on_seeds_that_did_not_choose_stands_beside_the_one_that_choosing_flatters(tmp_path: Path) -> None:
    """Seed 0 of dcl is lucky on validation and test images alike, and so is seed 1 of simsiam."""
    lucky = {("dcl", 0), ("simsiam", 1)}
    for method in ("dcl", "simsiam", "random"):
        for seed in range(2):
            share = 0.9 if (method, seed) in lucky else 0.7
            about: dict[str, Any] = {"images": 240, "accuracy": share, "validation_accuracy": share}
            made_up_run(tmp_path, method=method, seed=seed, **about)
    found = decided(tmp_path, seeds=2)
    assert found.gain.difference.value == pytest.approx(0.1)
    assert found.left_out_gain == pytest.approx(0.0)  # each seed is measured by the method that the other one chooses
    assert says(asked(tmp_path, seeds=2), "by the method that the other seeds choose, the gain is +0.000.")


@pytest.mark.parametrize(
    "accuracies",
    [
        {"dcl": (0.9, 0.9), "simsiam": (0.6, 0.6), "random": (0.6, 0.6)},
        {"dcl": (0.5, 0.5), "simsiam": (0.9, 0.4), "random": (0.9, 0.9)},
    ],
)
@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_show_nothing(tmp_path: Path, seeds: int, accuracies: Accuracies) -> None:
    """As in `compare`: p of two seeds is too small too often, on the test and on the validation images."""
    made(tmp_path, accuracies, seeds=seeds)
    lines = asked(tmp_path, seeds=seeds)
    assert lines[0].startswith("Cannot tell. dcl is the best method on the validation images")
    assert "with fewer than 3 seeds" in lines[0]
    assert says(lines, f"{seeds} seed{'s' * (seeds > 1)}: too few to test a difference")
    assert not says(lines, "ignificant")
    assert not says(lines, "measurably")
    assert not says(lines, NO_METHOD)


@pytest.mark.parametrize(("groups", "told"), [(40, False), (5, True)])
def test_groups_that_tell_too_little_are_told(tmp_path: Path, groups: int, told: bool) -> None:
    named = [f"patient{number}" for number in range(groups)]
    made(tmp_path, {"dcl": (0.9, 0.9), "random": (0.6, 0.6)}, groups=named)
    lines = asked(tmp_path)
    assert says(lines, "no interval here is reliable") == told
    assert not says(lines, "too few to test")


@pytest.mark.parametrize(
    ("random", "seeds", "said"),
    [
        ("random", 5, "(0.900 by KNN (k=200), mean of 3 seeds; random initialisation 0.600, mean of 5 seeds)"),
        # One of its runs failed: that costs no answer, though validation says that it is the better one.
        ("random_calibrated", 2, "above random initialisation: "),
    ],
)
def test_random_encoders_may_have_more_seeds_or_lack_one(tmp_path: Path, random: str, seeds: int, said: str) -> None:
    made(tmp_path, {random: (0.65, 0.7)} if seeds == 2 else {random: (0.6, 0.6)}, seeds=seeds)
    made(tmp_path, {"dcl": (0.9, 0.9), "simsiam": (0.7, 0.7)} | ({"random": (0.6, 0.6)} if seeds == 2 else {}))
    lines = asked(tmp_path)
    assert lines[0].startswith("Use dcl.")
    assert said in lines[0]
