"""Each sentence of the answer, on made-up results that it is true of and on others that it is not true of."""

from pathlib import Path
from typing import Any

import pytest
from stored_runs import made_up_run

from lowres_ssl.benchmark.decision import Decision, choose_method
from lowres_ssl.benchmark.recommendation import Recommendation, write_recommendation
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.query import ResultColumn, ResultFilters, select_columns

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


def asked(folder: Path, seeds: int = 3, chosen_by: str = "knn") -> Recommendation:
    return write_recommendation(columns(folder), METHODS, chosen_by, range(seeds))


def decided(folder: Path, seeds: int = 3) -> Decision:
    found = choose_method(columns(folder)["knn"], METHODS, range(seeds))
    assert found is not None
    return found


def says(found: Recommendation, part: str) -> bool:
    return any(part in line for line in found.lines)


NO_METHOD = "No method measurably beat random initialisation at this training length."
BETTER: Accuracies = {"dcl": (0.9, 0.92), "simsiam": (0.65, 0.7), "random": (0.6, 0.6)}
ALIKE: Accuracies = {"dcl": (0.72, 0.75), "simsiam": (0.71, 0.7), "random": (0.7, 0.7)}


def test_method_that_is_significantly_above_random_is_named_with_its_gain(tmp_path: Path) -> None:
    made(tmp_path, BETTER)
    found = asked(tmp_path)
    assert (found.verdict, found.method) == ("use", "dcl")
    assert found.lines[0].startswith(
        "Use dcl. It is the best method on the validation images (0.917 by KNN (k=200), mean of 3 seeds; random "
        "initialisation 0.600). On the test images dcl is significantly above random initialisation: +0.300 (95% "
        "interval +0."
    )
    assert found.lines[0].endswith("p < 0.001 after Holm correction for 2 comparisons.")
    assert not says(found, NO_METHOD)
    assert says(
        found, "Significantly behind dcl after Holm correction (chosen minus other): simsiam (+0.250, p < 0.001)."
    )


def test_difference_that_chance_explains_is_neither_a_gain_nor_equality(tmp_path: Path) -> None:
    made(tmp_path, ALIKE)
    found, numbers = asked(tmp_path), decided(tmp_path)
    assert (found.verdict, found.method) == ("cannot tell", "dcl")
    assert found.lines[0].startswith("Cannot tell. dcl is the best method on the validation images (0.750 by")
    assert (
        "there is no significant difference between dcl and random initialisation: +0.021 (95% interval -0."
        in (found.lines[0])
    )
    high = numbers.gain.difference.high
    assert high > 0.02
    assert found.lines[2] == (
        f"{NO_METHOD} That does not show that they are equal: a gain of dcl up to {high:.3f} is compatible with these "
        "results."
    )
    assert says(found, "No significant difference after Holm correction (chosen minus other): simsiam (+0.012, p = ")
    assert not says(found, "ignificantly")


def test_validation_chooses_whatever_the_test_images_say(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.75, 0.9), "simsiam": (0.95, 0.8), "random": (0.5, 0.5)})
    found = asked(tmp_path)
    assert (found.verdict, found.method) == ("use", "dcl")
    assert says(
        found,
        "Significantly ahead of dcl on the test images, though not on validation, after Holm correction (chosen minus "
        "other): simsiam (-0.200, p < 0.001).",
    )


def test_random_initialisation_ahead_by_chance_on_validation_is_not_recommended(tmp_path: Path) -> None:
    """Half an image in a hundred decides nothing."""
    made(tmp_path, {"dcl": (0.9, 0.742), "simsiam": (0.6, 0.6), "random": (0.7, 0.75)})
    found, numbers = asked(tmp_path), decided(tmp_path)
    assert numbers.validated["random"] > numbers.validated["dcl"]
    assert numbers.on_validation.high > 0
    assert (found.verdict, found.method) == ("use", "dcl")
    assert found.lines[0].startswith("Use dcl. It is the best method on the validation images (0.742 by KNN")


def test_random_initialisation_measurably_ahead_on_validation_is_recommended(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.69, 0.7), "simsiam": (0.6, 0.6), "random": (0.7, 0.95)})
    found = asked(tmp_path)
    assert (found.verdict, found.method) == ("none", "dcl")
    assert found.lines[0].startswith(
        "Use none of the methods. On the validation images random initialisation is measurably better than the best "
        "method, dcl: 0.950 by KNN (k=200), mean of 3 seeds, against 0.700, difference -0.250 (95% interval -0."
    )
    assert says(found, NO_METHOD)


def test_method_significantly_below_random_on_the_test_images_is_none(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.5, 0.8), "random": (0.9, 0.7)})
    found = asked(tmp_path)
    assert found.verdict == "none"
    assert (
        "On the test images dcl is significantly below random initialisation: -0.400 (95% interval -0."
        in found.lines[0]
    )
    assert NO_METHOD in found.lines, "and no gain that would be compatible with it"


def test_validation_and_test_images_that_contradict_each_other_name_nobody(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.9, 0.7), "random": (0.7, 0.95)})
    found = asked(tmp_path)
    assert found.verdict == "cannot tell"
    assert says(found, "Validation and test images contradict each other; look at how they were divided.")
    assert not says(found, NO_METHOD)


def test_gain_of_a_method_that_validation_did_not_choose_is_told_but_not_taken(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.71, 0.9), "simsiam": (0.95, 0.8), "random": (0.7, 0.7)})
    found = asked(tmp_path)
    assert (found.verdict, found.method) == ("cannot tell", "dcl")
    assert not says(found, NO_METHOD)
    assert says(
        found,
        "The other methods minus random initialisation on the test images, in one comparison: "
        "significantly above it: simsiam (+0.250, p < 0.001).",
    )
    assert says(found, "To choose it now would be to choose by the test images")
    made(tmp_path / "b", {"dcl": (0.9, 0.9), "simsiam": (0.9, 0.8), "random": (0.7, 0.7)})
    assert not says(asked(tmp_path / "b"), "To choose it now")


def test_better_random_encoder_is_what_methods_are_compared_with(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.8, 0.8), "random": (0.6, 0.6), "random_calibrated": (0.79, 0.78)})
    found = asked(tmp_path)
    assert found.verdict == "cannot tell"
    assert "random initialisation with calibrated BatchNorm 0.783)" in found.lines[0]


def test_method_that_lacks_a_seed_is_no_candidate(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.9, 0.95)}, seeds=2)
    made(tmp_path, {"simsiam": (0.8, 0.85), "random": (0.6, 0.6)})
    assert asked(tmp_path).method == "simsiam"


def test_nothing_to_compare_is_no_answer(tmp_path: Path) -> None:
    made(tmp_path, {"random": (0.6, 0.6), "trivial": (0.5, 0.5)})
    assert asked(tmp_path).lines == ("Cannot tell. There are no results to compare.",)


@pytest.mark.parametrize(
    ("accuracy", "said"),
    [
        (
            0.92,
            "Mean colour and size alone, without any encoder, reach 0.921 on the test images, no less than dcl (0.900)",
        ),
        (
            0.87,
            "Mean colour and size alone, without any encoder, reach 0.871 on the test images. dcl (0.900) is not "
            "measurably above that: +0.029 (95% interval -0.",
        ),
        (0.6, None),
    ],
)
def test_mean_colour_is_never_chosen_and_its_doubt_is_what_its_numbers_say(
    tmp_path: Path, accuracy: float, said: str | None
) -> None:
    made(tmp_path, {"dcl": (0.9, 0.9), "random": (0.6, 0.6), "trivial": (accuracy, 0.95)})
    found = asked(tmp_path)
    assert found.method == "dcl"
    told = [line for line in found.lines if "Mean colour" in line]
    assert len(told) == (said is not None)
    assert said is None or told[0].startswith(said)


def test_other_probes_choose_nothing_and_are_told(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.9, 0.9), "simsiam": (0.7, 0.7), "random": (0.6, 0.6)})
    made(tmp_path, {"dcl": (0.8, 0.6), "simsiam": (0.9, 0.95), "random": (0.79, 0.7)}, probe="logistic")
    found = asked(tmp_path)
    assert found.method == "dcl"
    (line,) = (line for line in found.lines if line.startswith("By logistic"))
    assert line.startswith("By logistic: dcl minus random initialisation +0.008, p = ")
    assert line.endswith(" after Holm correction for 2 comparisons: not significant.")
    other = asked(tmp_path, chosen_by="logistic")
    assert other.method == "simsiam"
    assert says(other, "By KNN (k=200): simsiam minus random initialisation +0.100, p < 0.001 after Holm")
    assert says(other, "for 2 comparisons: significant.")


def test_gain_on_seeds_that_did_not_choose_stands_beside_the_one_that_choosing_flatters(tmp_path: Path) -> None:
    """Seed 0 of dcl is lucky on validation and test images alike, and so is seed 1 of simsiam."""
    lucky = {("dcl", 0), ("simsiam", 1)}
    for method in ("dcl", "simsiam", "random"):
        for seed in range(2):
            share = 0.9 if (method, seed) in lucky else 0.7
            made(tmp_path, {}, seeds=0)
            about: dict[str, Any] = {"images": 240, "accuracy": share, "validation_accuracy": share}
            made_up_run(tmp_path, method=method, seed=seed, **about)
    found = decided(tmp_path, seeds=2)
    assert found.gain.difference.value == pytest.approx(0.1)
    assert found.left_out_gain == pytest.approx(0.0)  # each seed is measured by the method that the other one chooses
    assert says(
        asked(tmp_path, seeds=2),
        "With each seed measured by the method that the other seeds choose, the gain is +0.000.",
    )


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_too_few_seeds_are_told(tmp_path: Path, seeds: int) -> None:
    made(tmp_path, {"dcl": (0.9, 0.9), "random": (0.6, 0.6)}, seeds=seeds)
    found = asked(tmp_path, seeds=seeds)
    assert says(found, "too few to show a difference between methods") == (seeds < 3)
    assert ("so nothing is tested" in found.lines[0]) == (seeds == 1)
    assert seeds > 1 or found.verdict == "cannot tell"
    assert seeds > 1 or not says(found, NO_METHOD)


@pytest.mark.parametrize(("groups", "told"), [(40, False), (5, True)])
def test_groups_that_tell_too_little_are_told(tmp_path: Path, groups: int, told: bool) -> None:
    named = [f"patient{number}" for number in range(groups)]
    made(tmp_path, {"dcl": (0.9, 0.9), "random": (0.6, 0.6)}, groups=named)
    assert says(asked(tmp_path), "no interval here is reliable") == told


def test_random_encoders_may_have_more_seeds(tmp_path: Path) -> None:
    made(tmp_path, {"random": (0.6, 0.6)}, seeds=5)
    made(tmp_path, {"dcl": (0.9, 0.9), "simsiam": (0.7, 0.7)})
    found = asked(tmp_path)
    assert (found.verdict, found.method) == ("use", "dcl")
    assert "(0.900 by KNN (k=200), mean of 3 seeds; random initialisation 0.600, mean of 5 seeds)" in found.lines[0]


def test_random_encoder_that_lacks_a_seed_leaves_the_other_to_compare_with(tmp_path: Path) -> None:
    """One of its runs failed: that costs no answer, though validation says that it is the better one."""
    made(tmp_path, {"random_calibrated": (0.65, 0.7)}, seeds=2)
    made(tmp_path, {"dcl": (0.9, 0.9), "simsiam": (0.7, 0.7), "random": (0.6, 0.6)})
    found = asked(tmp_path)
    assert (found.verdict, found.method) == ("use", "dcl")
    assert "above random initialisation: " in found.lines[0]
