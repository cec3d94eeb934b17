"""Count a test set's right and wrong predictions by group, and compute metrics from the counts."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

CONFUSION_METRICS = ("accuracy", "weighted_f1", "macro_f1", "balanced_accuracy")
CLASS_MEAN_METRICS = ("macro_f1", "balanced_accuracy")  # the mean of a score of each class, however large it is
LINEAR_METRICS = ("accuracy", "balanced_accuracy")  # for given labels, a sum over the images


def count_by_group(
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    groups: NDArray[np.str_],
    classes: int,
    *,
    ids: NDArray[np.str_],
) -> Counts:
    """Count the confusions of each test group: int64 [G, C, C], a row a true class, a column a predicted one.

    All arrays have one length. labels, predictions: indices of the `classes`. groups: patients, slides or source
    images; an image with "" is a group of its own. The order of the images does not matter: groups are sorted, single
    images first, by id.
    """
    names = np.stack([groups, np.where(groups == "", ids, "")], axis=1)
    found, places = np.unique(names, axis=0, return_inverse=True)
    counts = np.zeros((len(found), classes, classes), dtype=np.int64)
    np.add.at(counts, (places.reshape(-1), labels, predictions), 1)
    return counts


def compute_metric(confusion: NDArray[Any], name: str) -> Floats:
    """Compute one of `CONFUSION_METRICS` from counts [..., C, C], whole numbers or not: float64 [...].

    As scikit-learn does: over the classes that have an image; a class never predicted has an F1 of 0. Raises
    `ValueError` for another name.
    """
    true = confusion.sum(axis=-1)
    images = true.sum(axis=-1)
    match name:
        case "accuracy":
            return np.asarray(np.trace(confusion, axis1=-2, axis2=-1) / images)
        case "weighted_f1":
            return np.asarray((compute_class_scores(confusion, name) * true).sum(axis=-1) / images)
        case "macro_f1" | "balanced_accuracy":
            return np.asarray(compute_class_scores(confusion, name).sum(axis=-1) / (true > 0).sum(axis=-1))
    raise ValueError(f"unknown metric {name!r}: wanted one of {', '.join(CONFUSION_METRICS)}")


def compute_class_scores(confusion: NDArray[Any], name: str) -> Floats:
    """Compute the F1 or the recall of each class, whichever the metric averages: float64 [..., C]; 0 without images."""
    part = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    whole = confusion.sum(axis=-1)
    if name in ("weighted_f1", "macro_f1"):
        part, whole = 2 * part, whole + confusion.sum(axis=-2)
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))


def count_effective_groups(counts: Counts, name: str) -> float:
    """Count the groups of counts [S, G, C, C] as if of one size; for a mean over classes, those of the smallest."""
    images = counts[0].sum(axis=-1)  # [G, C]
    if name in CLASS_MEAN_METRICS:
        return min(compute_kish_size(own) for own in images.T if own.any())
    return compute_kish_size(images.sum(axis=-1))


def compute_kish_size(sizes: NDArray[np.int64]) -> float:
    """Divide the squared sum of sizes by the sum of their squares (Kish, Survey Sampling, 1965)."""
    return float(sizes.sum()) ** 2 / float((sizes.astype(np.float64) ** 2).sum())
