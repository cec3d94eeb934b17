"""Draws of labels: stratified, nested, reproducible; validation shrinks as well."""

import numpy as np
import pytest

from lowres_ssl.data.splits import ALL_LABELS, LabelSubset, select_labelled

LABELS = np.array([0] * 700 + [1] * 300)
TRAIN, VALIDATION = np.arange(0, 1000, 2), np.arange(1, 1000, 10)


def classes(rows: np.ndarray) -> list[int]:
    return np.bincount(LABELS[rows], minlength=2).tolist()


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5])
def test_each_class_keeps_its_share_on_either_side(fraction: float) -> None:
    train, validation = select_labelled(LABELS, TRAIN, VALIDATION, LabelSubset(fraction, 0))
    assert classes(TRAIN[train]) == [round(350 * fraction), round(150 * fraction)]
    assert classes(VALIDATION[validation]) == [round(70 * fraction), round(30 * fraction)]
    assert (np.diff(train) > 0).all()


def test_a_class_trains_with_one_image_at_least_and_may_not_validate() -> None:
    train, validation = select_labelled(LABELS, TRAIN, VALIDATION, LabelSubset(0.001, 0))
    assert classes(TRAIN[train]) == [1, 1]
    assert len(validation) == 0


def test_smaller_fraction_lies_in_the_larger_and_draws_differ() -> None:
    small, large, other = (
        set(select_labelled(LABELS, TRAIN, VALIDATION, draw)[0])
        for draw in (LabelSubset(0.1, 1), LabelSubset(0.3, 1), LabelSubset(0.1, 2))
    )
    assert small < large
    assert len(small & other) < len(small) / 2


@pytest.mark.parametrize("one", [ALL_LABELS, LabelSubset(0.1, 1), LabelSubset(0.3, 1), LabelSubset(0.1, 2)])
@pytest.mark.parametrize("other", [ALL_LABELS, LabelSubset(0.1, 1), LabelSubset(0.3, 1), LabelSubset(0.1, 2)])
def test_a_draw_covers_those_whose_labels_it_has(one: LabelSubset, other: LabelSubset) -> None:
    has, wanted = (set(select_labelled(LABELS, TRAIN, VALIDATION, draw)[0]) for draw in (one, other))
    assert one.covers(other) == (has >= wanted)
