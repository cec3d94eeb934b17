"""What the report is made of: for each data set and split a chapter, with all that was predicted of its test images.

Reads stored results only. A part looks at chapters, `pages` makes one file of the parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.config.experiment_schema import RANDOM_BASELINES
from lowres_ssl.runs.predictions import TestPredictions
from lowres_ssl.runs.query import ResultCell

Integers = NDArray[np.int64]
BASELINES = (*RANDOM_BASELINES, "trivial")  # there to be compared with, so no method of which "all are wrong" is said


@dataclass(frozen=True)
class Method:
    """One entry as one probe scored it, at its best batch size: its cell, and what that predicted."""

    entry: str
    name: str
    cell: ResultCell
    tested: TestPredictions

    def vote(self) -> tuple[Integers, Integers]:
        """The class that most seeds predict of each image, int64 [n], and how many seeds do.

        Of classes with equal votes the first seed's, else the first in order.
        """
        predictions = self.tested.predictions
        classes = np.arange(len(self.tested.classes))
        votes = (predictions[:, :, None] == classes).sum(axis=0)  # [n, C]
        images = np.arange(len(votes))
        most = votes.max(axis=1)
        chosen = np.where(votes[images, predictions[0]] == most, predictions[0], votes.argmax(axis=1))
        return chosen.astype(np.int64), most.astype(np.int64)

    def confusion(self) -> Integers:
        """Counts over all seeds, int64 [C, C]: a row a true class, a column a predicted one."""
        classes = len(self.tested.classes)
        matrix = np.zeros((classes, classes), dtype=np.int64)
        for predicted in self.tested.predictions:
            np.add.at(matrix, (self.tested.labels, predicted), 1)
        return matrix


@dataclass(frozen=True)
class Probed:
    """All methods that one probe scored; at least one."""

    probe: str
    label: str
    methods: Sequence[Method]

    def judged(self) -> Sequence[Method]:
        """The methods that are compared: all but the baselines, or those if there is nothing else."""
        return [each for each in self.methods if each.entry not in BASELINES] or self.methods


@dataclass(frozen=True)
class Chapter:
    """One data set under one split: its probes, at least one, all on the same test images."""

    dataset: str
    title: str
    split_seed: int
    split_digest: str
    probes: Sequence[Probed]

    @property
    def tested(self) -> TestPredictions:
        """Ids, groups, labels, classes of the test images."""
        return self.probes[0].methods[0].tested

    @property
    def first(self) -> ResultCell:
        """Any cell: for what all results of the chapter share."""
        return self.probes[0].methods[0].cell

    def entries(self) -> dict[str, Method]:
        """Each entry once, as the first probe that has it scored it."""
        found: dict[str, Method] = {}
        for probed in self.probes:
            for method in probed.methods:
                found.setdefault(method.entry, method)
        return found
