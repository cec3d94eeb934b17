"""Read what the results of a cell predicted of the test or the validation images, and check it."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lowres_ssl.errors import CheckpointError
from lowres_ssl.runs.history import RUN_MARKS
from lowres_ssl.runs.records import ResultRecord
from lowres_ssl.runs.result_io import read_predictions, read_result
from lowres_ssl.stats.intervals import Counts, Interval, compute_interval, count_by_group
from lowres_ssl.stats.paired_tests import MethodCounts

EvaluatedSubset = Literal["test", "validation"]


@dataclass(frozen=True)
class TestPredictions:
    """Hold the test or validation images, which all seeds of a cell share, and what each seed predicted of them.

    ids: str [n], names of the images, or hashes of them (`hashed`). groups: int64 [n], patients, slides or source
    images numbered as they come, so that names and hashes of them give the same; -1 for an image without a known one.
    labels: int64 [n], predictions: int64 [S, n], places in `classes`; a row of predictions a seed, by seed. `results`:
    each seed's `result.json`; `folder`: of the first.
    """

    ids: NDArray[np.str_]
    hashed: bool
    groups: NDArray[np.int64]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    classes: tuple[str, ...]
    results: tuple[ResultRecord, ...]
    folder: str = ""

    @cached_property
    def counts(self) -> Counts:
        """Count the confusions of each seed by test group: int64 [S, G, C, C]."""
        return np.stack([count_by_group(self.labels, own, self.groups, len(self.classes)) for own in self.predictions])

    def scored(self) -> MethodCounts:
        """Return the counts, and whether they depend on the seed."""
        return MethodCounts(self.counts, any(result.depends_on_seed for result in self.results))


@dataclass(frozen=True)
class ResultCell:
    """Hold the results of one entry in one column at one batch size: rows of the index, a row a seed, by seed."""

    entry: str
    batch_size: int | None
    rows: pd.DataFrame
    notes: tuple[str, ...] = ()
    intervals: dict[str, Interval] = field(default_factory=dict, repr=False)  # those that were asked for

    @property
    def marks(self) -> dict[str, int]:
        """Count how many of the runs have each of `RUN_MARKS`."""
        return {key: int(self.rows[key].sum()) for key in RUN_MARKS}

    @property
    def seeds(self) -> list[int]:
        return [int(seed) for seed in self.rows["seed"]]

    @cached_property
    def tested(self) -> TestPredictions:
        """Read what was predicted of the test images. Raises as `read_cell_predictions`."""
        return read_cell_predictions(self, "test")

    def interval(self, metric: str) -> Interval:
        if metric not in self.intervals:
            self.intervals[metric] = compute_interval(self.tested.counts, metric)
        return self.intervals[metric]


def read_cell_predictions(cell: ResultCell, side: EvaluatedSubset) -> TestPredictions:
    """Read what each seed of a cell predicted of the test or the validation images.

    Raises `CheckpointError` if they cannot be read, or are not those that the cell's numbers are of.
    """
    seeds = [read_result_predictions(Path(folder), side) for folder in cell.rows["result"]]
    check_same_predicted_images(seeds)
    together = np.concatenate([each.predictions for each in seeds])
    return replace(seeds[0], predictions=together, results=tuple(result for each in seeds for result in each.results))


def read_result_predictions(folder: Path, side: EvaluatedSubset = "test") -> TestPredictions:
    """Read what the result in `folder` predicted. Raises `CheckpointError` if it cannot be read."""
    result = read_result(folder)
    arrays = read_predictions(folder, result)
    groups = arrays[f"{side}_groups"]
    return TestPredictions(
        ids=arrays[f"{side}_ids"],
        hashed=result.config.hash_ids,
        groups=pd.Series(groups).mask(groups == "").factorize()[0],  # what is masked has no number: -1
        labels=arrays[f"{side}_labels"],
        predictions=arrays[f"{side}_predictions"][None],
        classes=result.classes,
        results=(result,),
        folder=str(folder),
    )


def check_same_predicted_images(read: Sequence[TestPredictions]) -> None:
    """Raises `CheckpointError` unless all are of the same images, with the same labels and groups. Where one has names
    of images and the other has hashes, labels and groups must do."""
    for got in read[1:]:
        for what in ("labels", "groups") if got.hashed != read[0].hashed else ("ids", "labels", "groups"):
            if not np.array_equal(getattr(got, what), getattr(read[0], what)):
                raise CheckpointError(
                    f"{got.folder}: its {what} are not those of {read[0].folder}, though both name the same split; "
                    "remove one of the folders and score again"
                )
