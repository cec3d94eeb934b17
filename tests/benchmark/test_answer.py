"""The answer's sentences, from made-up runs: chosen on validation, told by the test images."""

from pathlib import Path
from typing import Any

import pytest
from stored_runs import made_up_run

from lowres_ssl.benchmark.answer import Answer, answer
from lowres_ssl.results.findings import ALL, findings
from lowres_ssl.results.ledger import ledger
from lowres_ssl.results.selection import Filters, columns_of

METHODS = ("random", "trivial", "dcl", "simsiam")


def made(folder: Path, accuracies: dict[str, tuple[float, float]], *, seeds: int = 3, **more: Any) -> None:
    """Runs whose test and validation accuracy are given, the same for every seed."""
    for method, (test, validated) in accuracies.items():
        for seed in range(seeds):
            made_up_run(
                folder, method=method, seed=seed, accuracy=test, validation_accuracy=validated, images=240, **more
            )


def asked(folder: Path, seeds: int = 3, chosen_by: str = "knn") -> Answer:
    frame, problems = ledger(folder)
    assert problems == []
    found = {
        column.probe: findings(column, "accuracy", "best", imagenet="imagenet", draws=400, reference=ALL)
        for column in columns_of(frame, Filters())
    }
    return answer(found, METHODS, chosen_by, range(seeds))


def test_method_that_is_better_than_random_is_named_with_its_gain(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.9, 0.92), "simsiam": (0.65, 0.7), "random": (0.6, 0.6), "trivial": (0.55, 0.5)})
    found = asked(tmp_path)
    assert (found.verdict, found.method) == ("use", "dcl")
    assert found.lines[0].startswith(
        "Use dcl. It is best on the validation images (0.917 by KNN (k=200), mean of 3 seeds); on the test images it "
        "is above random initialisation by +0.300 (+0."
    )
    assert found.lines[0].endswith("more than chance explains.")
    assert any(line.startswith("Behind it on the test images: simsiam (+0.250") for line in found.lines)


def test_difference_that_chance_explains_is_no_answer(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.72, 0.75), "simsiam": (0.71, 0.7), "random": (0.7, 0.7)})
    found = asked(tmp_path)
    assert (found.verdict, found.method) == ("cannot tell", "dcl")
    assert found.lines[0].startswith("Cannot tell. dcl is best on the validation images")
    assert "which may be chance" in found.lines[0]
    assert any(
        line.startswith("Not told apart from it, after Holm's correction (its accuracy less theirs): simsiam")
        for line in found.lines
    )


def test_validation_chooses_whatever_the_test_images_say(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.75, 0.9), "simsiam": (0.95, 0.8), "random": (0.5, 0.5)})
    found = asked(tmp_path)
    assert found.method == "dcl"
    assert any(
        line.startswith("Ahead of it on the test images, though not on validation: simsiam") for line in found.lines
    )


def test_random_initialisation_may_win(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.9, 0.7), "simsiam": (0.6, 0.6), "random": (0.7, 0.75)})
    found = asked(tmp_path)
    assert (found.verdict, found.method) == ("none", "random")
    assert found.lines[0] == (
        "None of them. Random initialisation is best on the validation images (0.750 by KNN (k=200), mean of 3 seeds); "
        "the next is dcl, 0.700. With this much training, pre-training bought nothing that shows."
    )


def test_method_that_is_as_good_as_random_initialisation_is_called_so(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.9, 0.75), "simsiam": (0.6, 0.6), "random": (0.7, 0.75)})
    found = asked(tmp_path)
    assert (found.verdict, found.method) == ("none", "random")
    assert "; dcl is as good. With this much training" in found.lines[0]


def test_method_below_random_on_the_test_images_is_none(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.5, 0.8), "random": (0.9, 0.7)})
    found = asked(tmp_path)
    assert found.verdict == "none"
    assert "but on the test images below random initialisation by -0.400" in found.lines[0]


def test_method_that_lacks_a_seed_is_no_candidate(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.9, 0.95)}, seeds=2)
    made(tmp_path, {"simsiam": (0.8, 0.85), "random": (0.6, 0.6)})
    assert asked(tmp_path).method == "simsiam"


def test_mean_colour_is_never_chosen_but_told_where_it_comes_as_far(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.9, 0.9), "random": (0.6, 0.6), "trivial": (0.92, 0.95)})
    found = asked(tmp_path)
    assert found.method == "dcl"
    assert any(line.startswith("Mean colour and size alone come as far (0.921)") for line in found.lines)


def test_other_probes_choose_nothing_and_are_told(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.9, 0.9), "simsiam": (0.7, 0.7), "random": (0.6, 0.6)})
    made(tmp_path, {"dcl": (0.8, 0.6), "simsiam": (0.9, 0.95), "random": (0.79, 0.7)}, probe="logistic")
    found = asked(tmp_path)
    assert found.method == "dcl"
    assert any(line.startswith("By logistic: dcl +0.008 (") and line.endswith("may be chance.") for line in found.lines)
    assert asked(tmp_path, chosen_by="logistic").method == "simsiam"


@pytest.mark.parametrize("accuracy", [0.9, 0.62])
def test_one_seed_is_told(tmp_path: Path, accuracy: float) -> None:
    made(tmp_path, {"dcl": (accuracy, accuracy), "random": (0.6, 0.6)}, seeds=1)
    lines = asked(tmp_path, seeds=1).lines
    assert "one seed" in lines[0]
    assert "One seed: nothing here says what another would have given." in lines


@pytest.mark.parametrize(("groups", "told"), [(40, False), (5, True)])
def test_groups_that_tell_too_little_are_told(tmp_path: Path, groups: int, told: bool) -> None:
    named = [f"patient{number}" for number in range(groups)]
    made(tmp_path, {"dcl": (0.9, 0.9), "random": (0.6, 0.6)}, groups=named)
    assert any("no interval here is reliable" in line for line in asked(tmp_path).lines) == told


def test_methods_that_collapsed_or_learnt_nothing_are_told(tmp_path: Path) -> None:
    made(tmp_path, {"dcl": (0.9, 0.9), "random": (0.6, 0.6)}, embedding_std=0.9, loss=4.8, chance_loss=4.84)
    made(tmp_path, {"simsiam": (0.6, 0.6)}, embedding_std=0.01)
    lines = asked(tmp_path).lines
    for word, method in (("Collapsing", "simsiam"), ("Learnt nothing", "dcl")):
        assert any(line.startswith(f"{word} in at least one seed") and method in line for line in lines)
