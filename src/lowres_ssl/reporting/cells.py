"""Read what a cell of the index predicted, for tables, figures and the report alike, and format its numbers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.console import pluralise
from lowres_ssl.environment import Environment
from lowres_ssl.runs.comparability import get_shared_settings, parse_settings
from lowres_ssl.runs.predictions import TestPredictions, read_test_predictions
from lowres_ssl.runs.query import BatchSize, ResultCell, ResultColumn
from lowres_ssl.stats.intervals import CONFUSION_METRICS, Counts, Interval, compute_interval

Integers = NDArray[np.int64]

OTHERS, EXCEPT = "*", "-"  # in lists of tables and figures: all other names; a pattern of names to leave out of these
UNRELIABLE = "†"
SIGNS = {"learnt_nothing": "§", "collapsed": "‡"}  # by the keys of `RUN_MARKS`
METRIC_TITLES = {metric: metric.replace("_", " ").replace("f1", "F1") for metric in CONFUSION_METRICS}
# What legends and the report call an encoder, in their order; others have their own name.
LEGEND_NAMES = {
    "simclr": "SimCLR",
    "dcl": "DCL",
    "dclw": "DCLW",
    "simsiam": "SimSiam",
    "vicreg": "VICReg",
    "imagenet": "ImgNet+TL",
    "random": "random initialisation",
    "random_calibrated": "random, BatchNorm calibrated",
}


def get_legend_name(entry: str) -> str:
    return LEGEND_NAMES.get(entry, entry)


def list_others(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """List, sorted, the names that "*" stands for beside the other `patterns`: those that none of them means."""
    others = [pattern.removeprefix(EXCEPT) for pattern in patterns if pattern != OTHERS]
    return sorted({name for name in names if not any(fnmatchcase(name, pattern) for pattern in others)})


def replace_others(patterns: Sequence[str], names: Iterable[str], *beside: str) -> list[str]:
    """The patterns with "*" replaced by the names that neither they nor the patterns `beside` mean."""
    others = list_others(names, [*patterns, *beside])
    shown = [pattern for pattern in patterns if not pattern.startswith(EXCEPT)]
    return [name for pattern in shown for name in (others if pattern == OTHERS else [pattern])]


@dataclass(frozen=True)
class ScoredCell:
    """One encoder as one probe scored it: its cell of the index, and what that predicted of the test images."""

    cell: ResultCell
    tested: TestPredictions
    intervals: dict[str, Interval] = field(default_factory=dict, repr=False)  # those that were asked for

    @property
    def entry(self) -> str:
        return self.cell.entry

    @property
    def name(self) -> str:
        """Its name in the report."""
        return "mean colour and size" if self.entry == "trivial" else get_legend_name(self.entry)

    @cached_property
    def counts(self) -> Counts:
        return self.tested.counts()

    def interval(self, metric: str) -> Interval:
        if metric not in self.intervals:
            self.intervals[metric] = compute_interval(self.counts, metric)
        return self.intervals[metric]

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
        """Count over all seeds, int64 [C, C]: a row for each true class, a column for each predicted one."""
        matrix = np.zeros((len(self.tested.classes),) * 2, dtype=np.int64)
        for predicted in self.tested.predictions:
            np.add.at(matrix, (self.tested.labels, predicted), 1)
        return matrix


def read_cell(column: ResultColumn, entry: str, batch_size: BatchSize = "best") -> ScoredCell | None:
    """The cell of an entry in a column; None if it has no result there.

    Raises `ConfigError` for results that cannot be one cell, `CheckpointError` if the stored predictions are damaged or
    not those of the stored numbers.
    """
    cell = column.cell(entry, batch_size)
    return None if cell is None else ScoredCell(cell, read_test_predictions(cell))


def format_score(found: Interval) -> str:
    spread = "" if found.spread is None else f" ± {found.spread:.3f}"
    return f"{found.value:.3f}{spread}"


def format_score_interval(found: Interval) -> str:
    return f"{found.low:.3f} to {found.high:.3f}{'' if found.reliable else UNRELIABLE}"


def format_signed(difference: float) -> str:
    """With its sign, a true minus; what is rounded to nothing has none."""
    text = f"{difference:+.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", "−")


def get_mark_sign(found: ScoredCell | None) -> str:
    """The signs behind the name of a method of which at least one run is marked."""
    return "" if found is None else "".join(SIGNS[key] for key, marked in found.cell.marks.items() if marked)


def format_cell_provenance(cells: Sequence[ScoredCell]) -> str:
    return format_provenance([result.environment for each in cells for result in each.tested.results])


def format_provenance(environments: Sequence[Environment]) -> str:
    """Devices, versions and commits of stored results, each once."""
    devices = dict.fromkeys(each.device for each in environments)
    versions = dict.fromkeys(format_versions(each.versions) for each in environments)
    commits = dict.fromkeys(shorten_commit(each.commit) for each in environments)
    return f"Device: {'; '.join(devices)}. Versions: {'; '.join(versions)}. Commits: {', '.join(commits)}."


def format_versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def shorten_commit(commit: str | None) -> str:
    """Twelve digits, and the mark of an edited checkout."""
    return "unknown" if commit is None else commit[:12] + ("+" if commit.endswith("+") else "")


def describe_cells(cells: Sequence[ScoredCell], metric: str) -> str:
    """What the lines of a block share: recipe, encoder, split, seeds, images, probe."""
    rows = [row for each in cells for row in each.cell.rows.to_dict("records")]
    trained = [row for row in rows if row["batch_size"] == row["batch_size"] and row["batch_size"] is not None]
    first, own = rows[0], (trained or rows)[0]
    images = cells[0].tested.results[0].images
    training = f"recipe {own['recipe']}, {pluralise(int(own['epochs']), 'epoch')}, " if trained else ""
    probes = dict.fromkeys(format_probe(row) for row in rows)
    groups = pluralise(cells[0].interval(metric).groups, "group")
    return (
        f"{training}{own['backbone']} at {first['image_size']} px; split {first['split']} (split_seed "
        f"{first['split_seed']}, digest {first['split_digest'][:8]}); {format_seeds(cells)}; {images.train:,} "
        f"images train, {images.validation:,} validate, {images.test:,} test in {groups}; {'; '.join(probes)}."
    )


def format_probe(row: Mapping[Any, Any]) -> str:
    settings = ", ".join(f"{key}={value}" for key, value in parse_settings(get_shared_settings(row)).items())
    return f"{row['label']}: {settings}" if settings else str(row["label"])


def format_seeds(cells: Sequence[ScoredCell]) -> str:
    """The seeds that most lines have, and the entries that have others."""
    seeds = [format_seed_list(each.cell.seeds) for each in cells]
    usual = max(dict.fromkeys(seeds), key=seeds.count)
    others = dict.fromkeys(f"{each.entry}: {own}" for each, own in zip(cells, seeds, strict=True) if own != usual)
    return usual + (f" ({'; '.join(others)})" if others else "")


def format_seed_list(seeds: Sequence[int]) -> str:
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, seeds))


def build_record(scored: ScoredCell, metric: str, **more: Any) -> dict[str, Any]:
    """One number with all that is known of it, for a program."""
    row, result, found = scored.cell.rows.iloc[0], scored.tested.results[0], scored.interval(metric)
    return {
        **more,
        "entry": scored.entry,
        "batch_size": scored.cell.batch_size,
        "metric": metric,
        "value": round(found.value, 6),
        "low": round(found.low, 6),
        "high": round(found.high, 6),
        "standard_deviation": None if found.spread is None else round(found.spread, 6),
        "seeds": " ".join(map(str, scored.cell.seeds)),
        **scored.cell.marks,
        "groups": found.groups,
        "reliable": found.reliable,
        **{f"{subset}_images": getattr(result.images, subset) for subset in ("train", "validation", "test")},
        "recipe": None if scored.cell.batch_size is None else row["recipe"],  # an untrained encoder has none
        **{key: row[key] for key in ("backbone", "image_size", "epochs", "split", "split_seed")},
        **{key: row[key] for key in ("split_digest", "probe", "settings", "precision")},
        "device": result.environment.device,
        "versions": format_versions(result.environment.versions),
        "commit": result.environment.commit,
    }
