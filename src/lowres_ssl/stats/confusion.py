"""Count a test set's right and wrong predictions by group, and compute metrics from the counts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

CONFUSION_METRICS = ("accuracy", "weighted_f1", "macro_f1", "balanced_accuracy")
CLASS_MEAN_METRICS = (
    "macro_f1",
    "balanced_accuracy",
)  # the mean of a score of each class, small classes as much as large ones
LINEAR_METRICS = ("accuracy", "balanced_accuracy")  # for given labels, a sum over the images


def count_by_group(
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    groups: NDArray[np.str_],
    classes: int,
    *,
    ids: NDArray[np.str_],
) -> Counts:
    """Confusion counts of each test group: int64 [G, C, C], a row a true class, a column a predicted one.

    All of one length: labels, predictions: places among the `classes`; groups: patients, slides or source images, ""
    where none is known: such an image is a group of its own. Sorted by group, those of their own first, by id: the
    same images give the same order whatever order they come in.
    """
    names = np.stack([groups, np.where(groups == "", ids, "")], axis=1)
    found, places = np.unique(names, axis=0, return_inverse=True)
    counts = np.zeros((len(found), classes, classes), dtype=np.int64)
    np.add.at(counts, (places.reshape(-1), labels, predictions), 1)
    return counts


def compute_metric(confusion: NDArray[Any], name: str) -> Floats:
    """One of `METRICS` from confusion counts [..., C, C] (whole numbers or not): float64 [...].

    The conventions are those of `metrics.score`: over the classes that have an image, a class never predicted has an F1
    of 0. Raises `ValueError` for another name.
    """
    true = confusion.sum(axis=-1)
    images, present = true.sum(axis=-1), true > 0
    match name:
        case "accuracy":
            return np.asarray(np.trace(confusion, axis1=-2, axis2=-1) / images)
        case "weighted_f1":
            return np.asarray((compute_class_scores(confusion, name) * true).sum(axis=-1) / images)
        case "macro_f1" | "balanced_accuracy":
            return np.asarray(compute_class_scores(confusion, name).sum(axis=-1) / present.sum(axis=-1))
    raise ValueError(f"unknown metric {name!r}: wanted one of {', '.join(CONFUSION_METRICS)}")


def compute_class_scores(confusion: NDArray[Any], name: str) -> Floats:
    """The score of each class that the metric `name` is a mean of, its F1 or its recall: float64 [..., C]; 0 for a
    class without images."""
    right = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)  # [..., C]
    true = confusion.sum(axis=-1)
    if name in ("weighted_f1", "macro_f1"):
        return safe_divide(2 * right, true + confusion.sum(axis=-2))
    return safe_divide(right, true)


def safe_divide(part: Floats, whole: Floats) -> Floats:
    """part / whole; 0 where both are 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def count_effective_groups(counts: Counts, name: str) -> float:
    """How many groups of one size tell as much of the metric `name` as those of the counts [S, G, C, C].

    Images^2 / sum of squared sizes (Kish, Survey Sampling, 1965). A metric of which every class has the same share
    (`EVEN`) is no better known than its class with the fewest such groups.
    """
    images = counts[0].sum(axis=-1)  # [G, C]
    if name in CLASS_MEAN_METRICS:
        return min(compute_kish_size(own) for own in images.T if own.any())
    return compute_kish_size(images.sum(axis=-1))


def compute_kish_size(sizes: NDArray[np.int64]) -> float:
    squares = float((sizes.astype(np.float64) ** 2).sum())
    return float(sizes.sum()) ** 2 / squares
