"""Each number against scikit-learn on many images; areas, and what an absent class does, by hand on a few."""

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, classification_report, confusion_matrix

from lowres_ssl.evaluate.metrics import compute_metrics
from lowres_ssl.runs.records import Scores

Array = np.ndarray[Any, Any]


def scored(labels: list[int], predictions: list[int], names: str) -> Scores:
    return compute_metrics(np.array(labels), np.array(predictions), np.eye(len(names))[predictions], list(names))


def drawn(classes: int, images: int, seed: int) -> tuple[Array, Array, Array, list[str]]:
    """Labels, predictions and scores that have something to do with each other."""
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, images - classes)])
    raw = rng.normal(size=(images, classes)) + 1.5 * np.eye(classes)[labels]
    scores = np.exp(raw) / np.exp(raw).sum(axis=1, keepdims=True)
    return labels, scores.argmax(axis=1), scores, [f"class {n}" for n in range(classes)]


def test_area_by_hand() -> None:
    """Of two classes the share of pairs (one image of b, one of a) in which b's score is higher, equals counting half.
    Of three each against the rest: 1, 1, and 1/2 for c, whose image stands between the other two."""
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.4, 0.6], [0.6, 0.4], [0.1, 0.9]])
    got = compute_metrics(np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 0, 1]), scores, ["a", "b"])
    assert got.auroc == pytest.approx((1 + 0.5 + 0 + 3) / 6)
    scores = np.array([[0.8, 0.0, 0.2], [0.1, 0.5, 0.4], [0.4, 0.3, 0.3]])
    got = compute_metrics(np.arange(3), np.array([0, 1, 0]), scores, list("abc"))
    assert got.auroc == pytest.approx((1 + 1 + 0.5) / 3)


@pytest.mark.parametrize("classes", [2, 3, 8])
@pytest.mark.parametrize("seed", range(3))
def test_numbers_are_those_of_scikit_learn(classes: int, seed: int) -> None:
    labels, predictions, scores, names = drawn(classes, 60, seed)
    got = compute_metrics(labels, predictions, scores, names)
    report = classification_report(labels, predictions, output_dict=True, zero_division=0.0)
    assert (got.n, got.accuracy) == (60, report["accuracy"])
    assert got.weighted_f1 == pytest.approx(report["weighted avg"]["f1-score"])
    assert got.macro_f1 == pytest.approx(report["macro avg"]["f1-score"])
    assert got.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predictions))
    assert got.confusion_matrix == confusion_matrix(labels, predictions).tolist()
    assert list(got.sensitivity.values()) == pytest.approx([report[str(n)]["recall"] for n in range(classes)])
    specificities = [((predictions != n) & (labels != n)).sum() / (labels != n).sum() for n in range(classes)]
    assert list(got.specificity.values()) == pytest.approx(specificities)


def test_class_absent_from_the_labels_counts_in_no_mean_and_may_be_predicted() -> None:
    labels, predictions = [0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 0]
    without, with_absent = scored(labels, predictions, "ab"), scored(labels, predictions, "abc")
    for key in ("accuracy", "weighted_f1", "macro_f1", "balanced_accuracy"):
        assert getattr(with_absent, key) == pytest.approx(getattr(without, key))
    assert (with_absent.auroc, with_absent.sensitivity["c"], with_absent.specificity["c"]) == (None, None, 1.0)
    got = scored([0, 0, 1, 1], [0, 2, 1, 1], "abc")
    assert got.balanced_accuracy == pytest.approx((0.5 + 1) / 2)
    assert got.macro_f1 == pytest.approx((2 / 3 + 1) / 2)
    assert (got.sensitivity["c"], got.specificity["c"]) == (None, 0.75)


@pytest.mark.parametrize("predicted", [0, 1])
def test_images_of_one_class_leave_nothing_to_divide_by(predicted: int) -> None:
    got = scored([0, 0, 0], [predicted] * 3, "ab")
    right = 1.0 - predicted
    assert (got.accuracy, got.weighted_f1, got.macro_f1, got.balanced_accuracy) == (right,) * 4
    assert got.auroc is None
    assert got.sensitivity == {"a": right, "b": None}
    assert got.specificity == {"a": None, "b": right}


@pytest.mark.parametrize("classes", [2, 9])
def test_scores_of_a_float32_softmax_will_do(classes: int) -> None:
    labels, predictions, scores, names = drawn(classes, 200, 0)
    narrow = torch.from_numpy(np.log(scores)).float().softmax(dim=1).numpy()
    wide, got = (compute_metrics(labels, predictions, each, names).auroc for each in (scores, narrow))
    assert got == pytest.approx(wide, abs=1e-3)
