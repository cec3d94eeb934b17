"""Name encoders and format the numbers of a cell, for tables, figures and the report alike."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import pandas as pd

from lowres_ssl.console import pluralise
from lowres_ssl.environment import Environment
from lowres_ssl.runs.filters import get_shared_settings, is_trained
from lowres_ssl.runs.history import RUN_MARKS
from lowres_ssl.runs.predictions import ResultCell
from lowres_ssl.runs.records import BASELINE_TITLES
from lowres_ssl.stats.intervals import CONFUSION_METRICS, Interval

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
    "byol": "BYOL",
    "moco_v3": "MoCo v3",
    "barlow_twins": "Barlow Twins",
    "tico": "TiCo",
    "dino": "DINO",
    "instance": "instance discrimination",
    **BASELINE_TITLES,
    "imagenet": "ImgNet+TL",
}


def get_legend_name(entry: str) -> str:
    return LEGEND_NAMES.get(entry, entry)


def list_others(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """List, sorted, the names that "*" stands for beside the other `patterns`: those that none of them means."""
    others = [pattern.removeprefix(EXCEPT) for pattern in patterns if pattern != OTHERS]
    return sorted({name for name in names if not any(fnmatchcase(name, pattern) for pattern in others)})


def replace_others(patterns: Sequence[str], names: Iterable[str], *beside: str) -> list[str]:
    """Replace "*" in the patterns by the names that neither they nor the patterns `beside` mean."""
    others = list_others(names, [*patterns, *beside])
    shown = [pattern for pattern in patterns if not pattern.startswith(EXCEPT)]
    return [name for pattern in shown for name in (others if pattern == OTHERS else [pattern])]


def format_score(found: Interval) -> str:
    spread = "" if found.spread is None else f" ± {found.spread:.3f}"
    return f"{found.value:.3f}{spread}"


def format_score_interval(found: Interval) -> str:
    return f"{found.low:.3f} to {found.high:.3f}{'' if found.reliable else UNRELIABLE}"


def format_signed(difference: float) -> str:
    """Format a difference with its sign, a true minus; what is rounded to nothing has none."""
    text = f"{difference:+.3f}"
    return "0.000" if float(text) == 0 else text.replace("-", "−")


def get_mark_sign(*found: ResultCell | None) -> str:
    """Get the signs behind the name of a method of which at least one run is marked."""
    return "".join(sign for key, sign in SIGNS.items() if any(cell is not None and cell.marks[key] for cell in found))


def format_mark_notes(cells: Iterable[ResultCell]) -> list[str]:
    """Explain each sign of these cells in a few words, for a figure."""
    return [f"{SIGNS[key]} {RUN_MARKS[key].word} in a seed" for key in SIGNS if any(cell.marks[key] for cell in cells)]


def format_cell_provenance(cells: Sequence[ResultCell]) -> str:
    return format_provenance([result.environment for each in cells for result in each.tested.results])


def format_provenance(environments: Sequence[Environment]) -> str:
    """Format devices, versions and commits of stored results, each once."""
    devices = dict.fromkeys(each.device for each in environments)
    versions = dict.fromkeys(format_versions(each.versions) for each in environments)
    commits = dict.fromkeys(shorten_commit(each.commit) for each in environments)
    return f"Device: {'; '.join(devices)}. Versions: {'; '.join(versions)}. Commits: {', '.join(commits)}."


def format_versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def shorten_commit(commit: str | None) -> str:
    """Keep twelve digits, and the mark of an edited checkout."""
    return "unknown" if commit is None else commit[:12] + ("+" if commit.endswith("+") else "")


def describe_rows(rows: pd.DataFrame) -> str:
    """Describe what results share: recipe and epochs of their encoders, if they were trained, encoder, image size and
    split."""
    trained = rows[is_trained(rows)]
    first, own = rows.iloc[0], (rows if trained.empty else trained).iloc[0]
    training = "" if trained.empty else f"recipe {own['recipe']}, {pluralise(int(own['epochs']), 'epoch')}, "
    return (
        f"{training}{own['backbone']} at {first['image_size']} px; split {first['split']} (split_seed "
        f"{first['split_seed']}, digest {first['split_digest'][:8]})"
    )


def describe_cells(cells: Sequence[ResultCell], metric: str) -> str:
    """Describe what the lines of a block share: recipe, encoder, split, seeds, images, probe."""
    rows = pd.concat([each.rows for each in cells])
    images = cells[0].tested.results[0].images
    probes = dict.fromkeys(format_probe(row) for row in rows.to_dict("records"))
    groups = pluralise(cells[0].interval(metric).groups, "group")
    return (
        f"{describe_rows(rows)}; {format_seeds(cells)}; {images.train:,} images train, {images.validation:,} validate, "
        f"{images.test:,} test in {groups}; {'; '.join(probes)}."
    )


def format_probe(row: Mapping[Any, Any]) -> str:
    settings = get_shared_settings(row)
    return f"{row['label']}: {settings}" if settings else str(row["label"])


def format_seeds(cells: Sequence[ResultCell]) -> str:
    """Format the seeds that most lines have, and the entries that have others."""
    seeds = [format_seed_list(each.seeds) for each in cells]
    usual = max(dict.fromkeys(seeds), key=seeds.count)
    others = dict.fromkeys(f"{each.entry}: {own}" for each, own in zip(cells, seeds, strict=True) if own != usual)
    return usual + (f" ({'; '.join(others)})" if others else "")


def format_seed_list(seeds: Sequence[int]) -> str:
    return ("seed " if len(seeds) == 1 else "seeds ") + ", ".join(map(str, seeds))


def build_record(cell: ResultCell, metric: str, **more: Any) -> dict[str, Any]:
    """Build one number with all that is known of it, for a program."""
    row, result, found = cell.rows.iloc[0], cell.tested.results[0], cell.interval(metric)
    return {
        **more,
        "entry": cell.entry,
        "batch_size": cell.batch_size,
        "metric": metric,
        "value": round(found.value, 6),
        "low": round(found.low, 6),
        "high": round(found.high, 6),
        "standard_deviation": None if found.spread is None else round(found.spread, 6),
        "seeds": " ".join(map(str, cell.seeds)),
        **cell.marks,
        "groups": found.groups,
        "reliable": found.reliable,
        **{f"{subset}_images": getattr(result.images, subset) for subset in ("train", "validation", "test")},
        "recipe": None if cell.batch_size is None else row["recipe"],  # an untrained encoder has none
        **{key: row[key] for key in ("backbone", "image_size", "epochs", "split", "split_seed")},
        **{key: row[key] for key in ("split_digest", "probe", "settings", "precision")},
        "device": result.environment.device,
        "versions": format_versions(result.environment.versions),
        "commit": result.environment.commit,
    }
