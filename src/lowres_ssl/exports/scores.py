"""Read a run's stored scores, with the intervals that the tables have, beside those of its random starts."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lowres_ssl.errors import CheckpointError
from lowres_ssl.portable.prediction import is_whole
from lowres_ssl.results.on_disk import read_predictions
from lowres_ssl.results.tested import check_numbers
from lowres_ssl.runs import Run, find_runs
from lowres_ssl.schemas.experiment import RANDOM_STARTS
from lowres_ssl.statistics.confusion import counts_by_group
from lowres_ssl.statistics.uncertainty import Interval, interval

METRICS = ("accuracy", "weighted_f1")


@dataclass(frozen=True)
class Score:
    """A stored result of all labels, and by method the same of each of `RANDOM_STARTS` that is stored."""

    result: dict[str, Any]
    intervals: dict[str, Interval]
    starts: dict[str, dict[str, Interval]]


def stored_scores(run: Run, encoder: str) -> list[Score]:
    """A score for each result of the encoder in the file `encoder`, by probe. Raises `CheckpointError`."""
    beside = beside_random(run)
    scores = []
    for folder, result in run.results():
        if is_whole(result) and result["encoder"] == encoder:
            key = key_of(result)
            starts = {name: intervals(*own[key]) for name, own in beside.items() if key in own}
            scores.append(Score(result, intervals(folder, result), starts))
    return sorted(scores, key=lambda score: str(score.result["label"]))


def beside_random(run: Run) -> dict[str, dict[str, tuple[Path, dict[str, Any]]]]:
    """By method, the results of the run's own starts: untrained encoders of the same seed on the same images, stored
    alike, and split."""
    found: dict[str, dict[str, tuple[Path, dict[str, Any]]]] = {start: {} for start in RANDOM_STARTS}
    for method, each in starts_of(run):
        found[method] |= {key_of(result): (folder, result) for folder, result in each.results()}
    return found


def starts_of(run: Run) -> Iterator[tuple[str, Run]]:
    wanted = beginning(run.description())
    for each in find_runs(run.folder.parent.parent):
        try:
            description = each.description()
        except CheckpointError:  # another run's damage is no matter here
            continue
        known = description["method"] in RANDOM_STARTS and description["finished"]
        if known and beginning(description) == wanted:
            yield description["method"], each


def beginning(description: dict[str, Any]) -> list[Any]:
    identity = description["identity"]
    return [identity.get(key) for key in ("images", "split", "store", "image_size", "backbone", "seed", "precision")]


def key_of(result: dict[str, Any]) -> str:
    return f"{result['probe']} {sorted(result['settings'].items())} {result['precision']} {is_whole(result)}"


def intervals(folder: Path, result: dict[str, Any]) -> dict[str, Interval]:
    said = read_predictions(folder, result)
    check_numbers(folder, result, said, "test")
    counts = counts_by_group(
        said["test_labels"],
        said["test_predictions"],
        said["test_groups"],
        len(result["classes"]),
        ids=said["test_ids"],
    )
    return {metric: interval(counts[None], metric) for metric in METRICS}
