"""Read what the results of a cell predicted of the test or the validation images, and check it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.errors import CheckpointError
from lowres_ssl.runs.query import ResultCell
from lowres_ssl.runs.records import ResultRecord
from lowres_ssl.runs.result_io import read_predictions, read_result
from lowres_ssl.stats.intervals import Counts, count_by_group
from lowres_ssl.stats.paired_tests import MethodCounts

EvaluatedSubset = Literal["test", "validation"]


@dataclass(frozen=True)
class TestPredictions:
    """The test or validation images, which all seeds of a cell share, and what each seed predicted of them.

    ids: str [n], names of the images, or hashes of them (`hashed`). groups: int64 [n], patients, slides or source
    images numbered as they come, so that names and hashes of them give the same; -1 for an image without a known one.
    labels: int64 [n], predictions: int64 [S, n], places in `classes`; a row of predictions a seed, in the order of
    `Cell.seeds`. `results`: each seed's `result.json`.
    """

    ids: NDArray[np.str_]
    hashed: bool
    groups: NDArray[np.int64]
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    classes: tuple[str, ...]
    results: tuple[ResultRecord, ...]

    def scored(self, seeds: Sequence[int]) -> MethodCounts:
        """The counts with their `seeds`."""
        return MethodCounts(self.counts(), tuple(seeds), any(result.depends_on_seed for result in self.results))

    def counts(self) -> Counts:
        """Confusion counts of each seed by test group: int64 [S, G, C, C]."""
        # Names that sort as the images come: the order must not depend on what somebody's key makes of a name.
        groups = np.array(["" if group < 0 else f"{group:09}" for group in self.groups], dtype=np.str_)
        ids = np.array([f"{place:09}" for place in range(len(self.ids))], dtype=np.str_)
        return np.stack(
            [
                count_by_group(self.labels, predictions, groups, len(self.classes), ids=ids)
                for predictions in self.predictions
            ]
        )


def check_same_predicted_images(read: Sequence[tuple[ResultCell, TestPredictions]]) -> None:
    """Raises `CheckpointError` unless all were tested on the same images, with the same labels and groups. Where one
    has names of images and the other has hashes, labels and groups must do."""
    for cell, got in read[1:]:
        first, wanted = read[0]
        for what in ("ids", "labels", "groups"):
            if what == "ids" and got.hashed != wanted.hashed:
                continue
            if not np.array_equal(getattr(got, what), getattr(wanted, what)):
                folder, other = (each.rows["result"].iloc[0] for each in (cell, first))
                raise CheckpointError(
                    f"{folder}: its test {what} are not those of {other}, though both name the same split; "
                    "remove one of the folders and score again"
                )


def read_test_predictions(cell: ResultCell) -> TestPredictions:
    """Read what each seed of a cell predicted of the test images. Raises as `read_cell_predictions`."""
    return read_cell_predictions(cell, "test")


def read_cell_predictions(cell: ResultCell, side: EvaluatedSubset) -> TestPredictions:
    """Read what each seed of a cell predicted of the test or the validation images.

    Raises `CheckpointError` if they cannot be read, or are not those that the cell's numbers are of.
    """
    folders = [Path(folder) for folder in cell.rows["result"]]
    results = [read_result(folder) for folder in folders]
    arrays = [read_predictions(folder, result) for folder, result in zip(folders, results, strict=True)]
    for folder, result, stored in zip(folders, results, arrays, strict=True):
        for what in ("ids", "groups", "labels"):
            if what == "ids" and result.config.hash_ids != results[0].config.hash_ids:
                continue
            key = f"{side}_{what}"
            got, wanted = (number_groups(each[key]) if what == "groups" else each[key] for each in (stored, arrays[0]))
            if not np.array_equal(got, wanted):
                raise CheckpointError(
                    f"{folder}: its {key} are not those of {folders[0]}; remove both folders and score again"
                )
    return TestPredictions(
        ids=arrays[0][f"{side}_ids"],
        hashed=results[0].config.hash_ids,
        groups=number_groups(arrays[0][f"{side}_groups"]),
        labels=arrays[0][f"{side}_labels"],
        predictions=np.stack([stored[f"{side}_predictions"] for stored in arrays]),
        classes=results[0].classes,
        results=tuple(results),
    )


def number_groups(groups: NDArray[np.str_]) -> NDArray[np.int64]:
    """Each group's number, in the order in which they first come; -1 for "": int64 [n]."""
    numbers = {"": -1}
    return np.array([numbers.setdefault(str(group), len(numbers) - 1) for group in groups], dtype=np.int64)
