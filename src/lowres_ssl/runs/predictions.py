"""Read what the results of a cell predicted of the test or the validation images, and check it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.errors import CheckpointError
from lowres_ssl.runs.comparability import SCORE_COLUMNS
from lowres_ssl.runs.query import ResultCell
from lowres_ssl.runs.result_io import read_predictions, read_result
from lowres_ssl.stats.confusion import Counts, compute_metric, count_by_group
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
    results: tuple[dict[str, Any], ...]

    def scored(self, seeds: Sequence[int]) -> MethodCounts:
        """The counts with their `seeds`. A result of before this was written down is taken to depend on its seed."""
        return MethodCounts(
            self.counts(), tuple(seeds), any(result.get("depends_on_seed", True) for result in self.results)
        )

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
    """Read what each seed of a cell predicted of the test images. Raises as `predicted`."""
    return read_cell_predictions(cell, "test")


def read_cell_predictions(cell: ResultCell, side: EvaluatedSubset) -> TestPredictions:
    """Read what each seed of a cell predicted of the test or the validation images.

    Raises `CheckpointError` if they cannot be read, or are not those that the cell's numbers are of.
    """
    folders = [Path(folder) for folder in cell.rows["result"]]
    results = [read_existing_result(folder) for folder in folders]
    arrays = [read_predictions(folder, result) for folder, result in zip(folders, results, strict=True)]
    for folder, result, stored in zip(folders, results, arrays, strict=True):
        check_prediction_arrays(folder, result, stored, side)
        check_stored_scores(folder, result, stored, side)
        for what in ("ids", "groups", "labels"):
            if what == "ids" and has_hashed_ids(result) != has_hashed_ids(results[0]):
                continue
            key = f"{side}_{what}"
            got, wanted = (number_groups(each[key]) if what == "groups" else each[key] for each in (stored, arrays[0]))
            if not np.array_equal(got, wanted):
                raise CheckpointError(
                    f"{folder}: its {key} are not those of {folders[0]}; remove both folders and score again"
                )
    return TestPredictions(
        ids=arrays[0][f"{side}_ids"],
        hashed=has_hashed_ids(results[0]),
        groups=number_groups(arrays[0][f"{side}_groups"]),
        labels=arrays[0][f"{side}_labels"],
        predictions=np.stack([stored[f"{side}_predictions"] for stored in arrays]),
        classes=tuple(results[0]["classes"]),
        results=tuple(results),
    )


def read_existing_result(folder: Path) -> dict[str, Any]:
    result = read_result(folder)
    if result is None:
        raise CheckpointError(f"{folder}: its result.json is gone; type the command that made it again")
    return result


def has_hashed_ids(result: dict[str, Any]) -> bool:
    return bool(result["config"].get("hash_ids", False))


def number_groups(groups: NDArray[np.str_]) -> NDArray[np.int64]:
    """Each group's number, in the order in which they first come; -1 for "": int64 [n]."""
    numbers = {"": -1}
    return np.array([numbers.setdefault(str(group), len(numbers) - 1) for group in groups], dtype=np.int64)


def check_prediction_arrays(
    folder: Path, result: dict[str, Any], stored: dict[str, NDArray[Any]], side: EvaluatedSubset
) -> None:
    """Raises `CheckpointError` unless the arrays of the images are what `evaluation` writes."""
    count, classes = result[side]["n"], len(result["classes"])
    for key, kinds in (("ids", "U"), ("groups", "U"), ("labels", "iu"), ("predictions", "iu")):
        values = stored[f"{side}_{key}"]
        fits = values.dtype.kind in kinds and values.shape == (count,)
        if not fits or (kinds == "iu" and count and not (values.min() >= 0 and values.max() < classes)):
            raise CheckpointError(
                f"{folder}: the {side}_{key} in predictions.npz are not those of {count} images in {classes} classes; "
                "remove the folder and score again"
            )


def check_stored_scores(
    folder: Path, result: dict[str, Any], stored: dict[str, NDArray[Any]], side: EvaluatedSubset
) -> None:
    """Raises `CheckpointError` unless `result.json` has the numbers that its `predictions.npz` gives."""
    classes = len(result["classes"])
    confusion = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(confusion, (stored[f"{side}_labels"], stored[f"{side}_predictions"]), 1)
    for name in SCORE_COLUMNS:
        got, wanted = result[side][name], float(compute_metric(confusion, name))
        if not math.isclose(got, wanted, abs_tol=1e-9):
            raise CheckpointError(
                f"{folder}: result.json says {name} {got:.4f}, predictions.npz gives {wanted:.4f}; "
                "remove the folder and score again"
            )
