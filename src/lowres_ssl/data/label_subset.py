"""Which images keep their labels when only a fraction of them is paid for. Knows positions and classes only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.seeding import derive_seed

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class LabelSubset:
    """The `number`-th draw of a `fraction` (above 0, at most 1) of the labels."""

    fraction: float
    number: int

    @property
    def is_full(self) -> bool:
        return self.fraction == 1

    def covers(self, other: "LabelSubset") -> bool:
        """Whether these are all labels of `other`, and perhaps more."""
        return self.is_full or (self.number == other.number and self.fraction >= other.fraction)


ALL_LABELS = LabelSubset(1.0, 0)


def list_label_subsets(fractions: Sequence[float], times: int) -> list[LabelSubset]:
    """Each fraction so many times, the whole once."""
    return [LabelSubset(each, number) for each in fractions for number in range(times if each < 1 else 1)]


def select_labelled(labels: Rows, train: Rows, validation: Rows, draw: LabelSubset) -> tuple[Rows, Rows]:
    """Positions (int64, ascending) in `train` and in `validation` (rows of `labels`) of the images that keep theirs.

    Stratified: of each class the fraction, rounded to the nearest image; at least one training image. Validation
    shrinks alike and may lose a class: a choice made with 1% of the labels has to be paid from that 1%. A larger
    fraction of the same draw has all the labels of a smaller one.
    """
    return (
        choose_positions(labels[train], draw, "train", least=1),
        choose_positions(labels[validation], draw, "validation", least=0),
    )


def choose_positions(labels: Rows, draw: LabelSubset, side: str, least: int) -> Rows:
    if draw.is_full:
        return np.arange(len(labels))
    generator = np.random.default_rng(derive_seed(draw.number, "label draw", side))
    order = generator.permutation(len(labels))  # one order for all fractions
    chosen = []
    for label in np.unique(labels):
        own = order[labels[order] == label]
        chosen.append(own[: max(least, round(draw.fraction * len(own)))])
    return np.sort(np.concatenate(chosen)) if chosen else np.arange(0)
