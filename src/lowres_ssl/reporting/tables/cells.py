"""A cell's numbers with their intervals, from the stored predictions; and where they come from, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lowres_ssl.console import pluralise
from lowres_ssl.reporting.tables import SIGNS, UNRELIABLE
from lowres_ssl.runs.comparability import get_shared_settings, parse_settings
from lowres_ssl.runs.predictions import TestPredictions, read_test_predictions
from lowres_ssl.runs.query import ResultCell
from lowres_ssl.stats.bootstrap import Interval, compute_interval

METRIC_TITLES = {
    "accuracy": "accuracy",
    "weighted_f1": "weighted F1",
    "macro_f1": "macro F1",
    "balanced_accuracy": "balanced accuracy",
}


@dataclass(frozen=True)
class ScoredCell:
    """A cell, what it predicted, and an interval for each metric asked for."""

    cell: ResultCell
    tested: TestPredictions
    intervals: dict[str, Interval]


def score_cell(cell: ResultCell, metrics: Sequence[str]) -> ScoredCell:
    """Raises `CheckpointError` if the stored predictions are damaged or not those of the stored numbers."""
    said = read_test_predictions(cell)
    counts = said.counts()
    return ScoredCell(cell, said, {metric: compute_interval(counts, metric) for metric in metrics})


def format_score(found: Interval) -> str:
    spread = "" if found.spread is None else f" ± {found.spread:.3f}"
    return f"{found.value:.3f}{spread}"


def get_mark_sign(found: ScoredCell | None) -> str:
    """What stands behind the name of a method of which a run is marked, be it one seed's."""
    return "" if found is None else "".join(SIGNS[key] for key, marked in found.cell.marks.items() if marked)


def format_score_interval(found: Interval) -> str:
    return f"{found.low:.3f} to {found.high:.3f}{'' if found.reliable else UNRELIABLE}"


def format_signed(difference: float) -> str:
    """With its sign, a true minus; what is rounded to nothing has none."""
    text = f"{difference:+.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", "−")


def list_results(cells: Sequence[ScoredCell]) -> list[dict[str, Any]]:
    return [result for each in cells for result in each.tested.results]


def format_provenance(results: Sequence[Mapping[str, Any]]) -> str:
    """Devices, versions and commits of what was stored, each once."""
    devices = dict.fromkeys(str(result["device"]) for result in results)
    versions = dict.fromkeys(
        ", ".join(f"{name} {version}" for name, version in result["versions"].items()) for result in results
    )
    commits = dict.fromkeys(shorten_commit(result["commit"]) for result in results)
    return f"Device: {'; '.join(devices)}. Versions: {'; '.join(versions)}. Commits: {', '.join(commits)}."


def shorten_commit(commit: str | None) -> str:
    """Twelve digits, and the mark of an edited checkout."""
    return "unknown" if commit is None else commit[:12] + ("+" if commit.endswith("+") else "")


def describe_cells(cells: Sequence[ScoredCell]) -> str:
    """What the lines of a block share: recipe, encoder, split, seeds, images, probe."""
    rows = [row for each in cells for row in each.cell.rows.to_dict("records")]
    trained = [row for row in rows if row["batch_size"] == row["batch_size"] and row["batch_size"] is not None]
    first, result = rows[0], cells[0].tested.results[0]
    own = (trained or rows)[0]
    training = f"recipe {own['recipe']}, {pluralise(int(own['epochs']), 'epoch')}, " if trained else ""
    images, interval = result["images"], next(iter(cells[0].intervals.values()))
    probes = dict.fromkeys(format_probe(row) for row in rows)
    return (
        f"{training}{own['backbone']} at {first['image_size']} px; split {first['split']} (split_seed "
        f"{first['split_seed']}, digest {first['split_digest'][:8]}); "
        f"{format_seeds(cells)}; {images['train']:,} images "
        f"train, {images['validation']:,} validate, {images['test']:,} test in {pluralise(interval.groups, 'group')}; "
        f"{'; '.join(probes)}."
    )


def format_probe(row: Mapping[Any, Any]) -> str:
    settings = ", ".join(f"{key}={value}" for key, value in parse_settings(get_shared_settings(row)).items())
    return f"{row['label']}: {settings}" if settings else str(row["label"])


def format_seeds(cells: Sequence[ScoredCell]) -> str:
    """The seeds that most lines have, and the entries that have others."""
    own = [tuple(each.cell.seeds) for each in cells]
    usual = max(dict.fromkeys(own), key=own.count)
    others = [
        f"{each.cell.entry}: {format_seed_list(seeds)}"
        for each, seeds in zip(cells, own, strict=True)
        if seeds != usual
    ]
    return format_seed_list(usual) + (f" ({'; '.join(dict.fromkeys(others))})" if others else "")


def format_seed_list(seeds: Sequence[int]) -> str:
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, seeds))


def build_record(scored: ScoredCell, metric: str, **more: Any) -> dict[str, Any]:
    """One number with all that is known of it, for a program."""
    row, result, found = scored.cell.rows.iloc[0], scored.tested.results[0], scored.intervals[metric]
    return {
        **more,
        "entry": scored.cell.entry,
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
        **{f"{side}_images": result["images"][side] for side in ("train", "validation", "test")},
        "recipe": None if scored.cell.batch_size is None else row["recipe"],  # an untrained encoder has none
        **{key: row[key] for key in ("backbone", "image_size", "epochs", "split", "split_seed")},
        **{key: row[key] for key in ("split_digest", "probe", "settings", "precision")},
        "device": result["device"],
        "versions": ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
        "commit": result["commit"],
    }
