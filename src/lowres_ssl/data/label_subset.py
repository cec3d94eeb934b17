"""Choose the labelled subset for a label fraction, by positions and classes only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.seeding import derive_seed

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class LabelSubset:
    """Name the `number`-th draw of a `fraction` (above 0, at most 1) of the labels."""

    fraction: float
    number: int

    @property
    def is_full(self) -> bool:
        return self.fraction == 1

    def covers(self, other: "LabelSubset") -> bool:
        """Whether this subset has all labels of `other`."""
        return self.is_full or (self.number == other.number and self.fraction >= other.fraction)


ALL_LABELS = LabelSubset(1.0, 0)


def list_label_subsets(fractions: Sequence[float], times: int) -> list[LabelSubset]:
    """List each fraction so many times, the whole once."""
    return [LabelSubset(each, number) for each in fractions for number in range(times if each < 1 else 1)]


def select_labelled(labels: Rows, train: Rows, validation: Rows, draw: LabelSubset) -> tuple[Rows, Rows]:
    """Select positions (int64, ascending) in `train` and in `validation` (rows of `labels`) whose labels are used.

    Stratified: of each class the fraction, rounded to the nearest image; at least one training image. Validation
    shrinks alike and may lose a class: a choice made with 1% of the labels has to use that 1%. A larger fraction of the
    same draw has all the labels of a smaller one.
    """

    def choose(own_labels: Rows, name: str, least: int) -> Rows:
        if draw.is_full or not len(own_labels):
            return np.arange(len(own_labels))
        # One order for all fractions.
        order = np.random.default_rng(derive_seed(draw.number, "label draw", name)).permutation(len(own_labels))
        by_class = [order[own_labels[order] == label] for label in np.unique(own_labels)]
        return np.sort(np.concatenate([own[: max(least, round(draw.fraction * len(own)))] for own in by_class]))

    return choose(labels[train], "train", 1), choose(labels[validation], "validation", 0)
