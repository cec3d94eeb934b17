"""Metrics from counts are scikit-learn's; groups count by what they tell."""

from typing import Any

import numpy as np
import pytest

from lowres_ssl.evaluate.metrics import compute_metrics
from lowres_ssl.stats.confusion import CONFUSION_METRICS, compute_metric, count_by_group, count_effective_groups


@pytest.mark.parametrize("classes", [2, 3, 8])
@pytest.mark.parametrize("name", CONFUSION_METRICS)
def test_metric_from_counts_is_scikit_learns(classes: int, name: str) -> None:
    """Also with a class that has no image, and one never predicted."""
    random = np.random.default_rng(classes)
    confusion = random.integers(0, 5, (6, classes, classes))
    confusion[0, -1] = 0
    confusion[1, :, 0] = 0
    confusion[2, 0], confusion[2, :, 0] = 0, 0
    got = compute_metric(confusion, name)
    for place, counts in enumerate(confusion):
        labels, predictions = (np.repeat(axis.ravel(), counts.ravel()) for axis in np.indices(counts.shape))
        names = [str(number) for number in range(classes)]
        wanted = compute_metrics(labels, predictions, np.eye(classes)[predictions], names)
        assert got[place] == pytest.approx(getattr(wanted, name))


def test_unknown_metric_is_an_error() -> None:
    with pytest.raises(ValueError, match="auroc"):
        compute_metric(np.eye(2), "auroc")


def counted(groups: list[str], order: list[int]) -> Any:
    """Four images, of labels 0 0 1 1 and predictions 0 1 1 1, in another order."""
    labels, predictions, ids = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), np.array(["a", "b", "c", "d"])
    return count_by_group(labels[order], predictions[order], np.array(groups)[order], 2, ids=ids[order])


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_counts_are_of_each_group_in_whatever_order_the_images_come(order: list[int]) -> None:
    got = counted(["", "ann", "ann", ""], order)
    assert got.tolist() == [[[1, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 1], [0, 1]]]  # image a, image d, ann


def test_image_without_a_group_is_not_in_the_group_of_its_own_id() -> None:
    assert len(counted(["", "a", "a", "b"], [0, 1, 2, 3])) == 3


def test_groups_count_as_if_of_one_size() -> None:
    """Two groups of 100 images and 18 of one: 218^2 / (2 * 100^2 + 18)."""
    counts = np.zeros((1, 20, 2, 2), dtype=np.int64)
    counts[:, :, 0, 0] = 1
    counts[:, :2, 0, 0] = 100
    assert count_effective_groups(counts, "accuracy") == pytest.approx(218**2 / 20018)
    assert count_effective_groups(np.full((1, 14, 2, 2), 3), "accuracy") == 14


def test_metric_of_equal_classes_counts_the_groups_of_the_smallest() -> None:
    """200 images, each a group, 10 of them of the second class; a third class has none."""
    counts = np.zeros((3, 200, 3, 3), dtype=np.int64)
    counts[:, :190, 0, 0] = 1
    counts[:, 190:, 1, 0] = 1
    wanted = {"accuracy": 200, "weighted_f1": 200, "balanced_accuracy": 10, "macro_f1": 10}
    assert {name: count_effective_groups(counts, name) for name in CONFUSION_METRICS} == wanted
