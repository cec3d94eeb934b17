"""Read the stored results that a command shows, and write the commands that make what is missing or made a run."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import pandas as pd

from lowres_ssl.config.command_schemas import PATH_KEYS, RowConfig
from lowres_ssl.config.experiment_schema import (
    PAPER_ORIGIN,
    RANDOM_BASELINES,
    RANDOM_SEEDS,
    SETTINGS_ORIGIN,
    TUNABLE_KEYS,
    TUNED_ORIGIN,
    TYPED_ORIGIN,
    PretrainConfig,
    list_keys_with,
)
from lowres_ssl.config.overrides import format_command
from lowres_ssl.console import log_warning
from lowres_ssl.evaluate.tuned_settings import get_tuned_path
from lowres_ssl.io.checksummed_json import Settings
from lowres_ssl.runs.filters import ResultFilters, count_settings, explain_unknown_names, is_trained, parse_settings
from lowres_ssl.runs.index import SPECIAL_IMAGES, read_index
from lowres_ssl.runs.query import BatchSize, ResultColumn, select_columns, select_ordinary
from lowres_ssl.runs.run import CLASSIFIER_PROBE, Run, find_run

UNTRAINED_ENCODERS = (*RANDOM_BASELINES, "imagenet", "trivial")
DEFAULT_PROBES = ("knn", "linear")  # what `pretrain` scores with by default
TYPED_FILTERS = (
    "recipe",
    "backbone",
    "image_size",
    "storage_size",
    "epochs",
    "optimiser",
    "split",
    "split_seed",
    "precision",
)
IMAGE_KEYS = ("dataset", "images", "data_dir")  # and what is below the first
# How a run was asked for, not what it is; and what is each run's own.
REQUEST_KEYS = frozenset([*list_keys_with(PretrainConfig, "request"), "hydra"])
OWN_KEYS = REQUEST_KEYS | {"method", "seed", "batch_size", "initial_weights", "label_fraction", "label_draws"}
TUNED_OVERRIDE = f"probe.linear.{SETTINGS_ORIGIN}={TUNED_ORIGIN}"
FOLDER_PLACEHOLDER = "FOLDER"  # stands for a path that is hidden

Words = dict[str, str]  # what is typed, by its key


@dataclass(frozen=True)
class MissingCell:
    """Describe an empty cell. `filters`: what was typed, and the split seed or recipe that the cell stands for."""

    method: str
    dataset: str
    probe: str
    batch_size: BatchSize
    filters: ResultFilters


def list_fill_commands(cells: Sequence[MissingCell], frame: pd.DataFrame, output_dir: Path) -> list[str]:
    """List what to type, methods that need the same in one line. `frame`: the index."""
    place = build_output_override(output_dir)
    lines: list[str] = []
    trainings: dict[tuple[str, tuple[str, ...]], list[str]] = {}  # data set, words beside the methods -> the methods
    for cell in cells:
        known = frame[(frame["dataset"] == cell.dataset) & (frame["state"] == "finished")]
        runs = cell.filters.apply(known[~known["pretrain_on"].isin(SPECIAL_IMAGES)])
        unscored = find_unscored_runs(cell, runs)
        for run in unscored:
            composed = find_run(output_dir, run).read().probe
            asked = format_words(build_probe_words(cell, [cell.probe], select_ordinary(runs), composed))
            if TUNED_OVERRIDE in asked and not get_tuned_path(output_dir, run).exists():
                lines.append(format_command("tune", f"run={run}", *place))
            lines.append(format_command("evaluate", f"run={run}", f"probe=[{cell.probe}]", *asked, *place))
        if not unscored:
            own, others = select_ordinary(runs), select_ordinary(known)
            words = build_training_words(cell, own if is_trained(own).any() else others, output_dir)
            methods = trainings.setdefault((cell.dataset, tuple(format_words(words))), [])
            methods += [cell.method] if cell.method not in methods else []
    for (dataset, shared), methods in trainings.items():
        several = len(methods) > 1 or any("," in word for word in shared if word.startswith(("batch_size=", "seed=")))
        start = ["pretrain", *["-m"] * several, f"method={','.join(methods)}"]
        if TUNED_OVERRIDE in shared:  # tuning needs the runs
            unscored = [word for word in shared if not word.startswith("probe")]
            recipe = [word for word in shared if word.startswith("recipe=")]
            lines.append(format_command(*start, *unscored, "evaluate=false", *place))
            named = [f"dataset={dataset}", *recipe, f"method=[{','.join(methods)}]"]
            lines.append(format_command("tune", *named, *place))
        lines.append(format_command(*start, *shared, *place))
    return list(dict.fromkeys(lines))


def find_unscored_runs(cell: MissingCell, runs: pd.DataFrame) -> list[str]:
    """Find finished runs of the method that only lack this probe; a training gives the end-to-end score itself."""
    own = runs[runs["entry"] == cell.method]
    if isinstance(cell.batch_size, int):
        own = own[own["batch_size"].isna() | (own["batch_size"] == cell.batch_size)]
    scored = set(own.loc[(own["probe"] == cell.probe) & (own["label_fraction"] == 1), "run"])
    return [] if cell.probe == CLASSIFIER_PROBE else sorted(set(own["run"]) - scored)


def build_training_words(cell: MissingCell, neighbours: pd.DataFrame, output_dir: Path) -> Words:
    """Build all words but the method: as the neighbours were typed, with what was asked for in its place. `neighbours`:
    the results that the filters leave; if none of them was trained, all of the data set."""
    trained = neighbours[is_trained(neighbours)]
    beside = neighbours if trained.empty else trained
    words, composed = read_shared_words(tuple(beside["run"].unique()), output_dir)
    words = {"dataset": cell.dataset} | words | get_filter_words(cell.filters)
    if cell.method in UNTRAINED_ENCODERS:
        words.pop("epochs", None)
    elif sizes := [cell.batch_size] if isinstance(cell.batch_size, int) else list_whole_numbers(beside["batch_size"]):
        words["batch_size"] = ",".join(map(str, sizes))
    seeds = list_whole_numbers(neighbours["seed"])
    if cell.method in RANDOM_BASELINES and seeds:
        seeds = sorted({*seeds, *range(RANDOM_SEEDS)})
    if seeds:
        words["seed"] = ",".join(map(str, seeds))
    probes = [probe for probe in composed or DEFAULT_PROBES if probe != CLASSIFIER_PROBE]
    if cell.probe not in (*probes, CLASSIFIER_PROBE):
        probes.append(cell.probe)
        words["probe"] = f"[{','.join(probes)}]"
    return words | build_probe_words(cell, probes, beside, composed)


@lru_cache(maxsize=16)  # the empty cells of a table have the same neighbours
def read_shared_words(runs: tuple[str, ...], output_dir: Path) -> tuple[Words, Mapping[str, Settings]]:
    """Read what the runs were typed with, and how that sets the probes: the words of the first that all have, but for
    those of a run alone; those on images and probes whether the others have them or not."""
    records = [find_run(output_dir, run).read() for run in runs]
    records = [record for record in records if record.typed[:1] == ("pretrain",)]
    if not records:
        return {}, {}
    words = {}
    for word in records[0].typed[1:]:
        key, _, value = word.partition("=")
        group = get_group(key)
        is_shared = group in (*IMAGE_KEYS, "probe") or all(word in record.typed for record in records)
        if group not in OWN_KEYS and is_shared:
            words[key] = value
    return words, records[0].probe


def get_group(key: str) -> str:
    """Get what stands before the first dot: "probe" of "probe.knn.k"."""
    return key.lstrip("+~").replace("/", ".").partition(".")[0]


def get_filter_words(filters: ResultFilters) -> Words:
    """Build what to type so that new results are among those that the filters leave."""
    typed = {key: str(asked) for key in TYPED_FILTERS if (asked := getattr(filters, key)) is not None}
    return {"dataset.storage_size" if key == "storage_size" else key: value for key, value in typed.items()}


def format_words(words: Words) -> list[str]:
    return [f"{key}={value}" for key, value in words.items()]


def build_probe_words(
    cell: MissingCell, probes: Iterable[str], scored: pd.DataFrame, composed: Mapping[str, Settings]
) -> Words:
    """Build the settings of the probes that most results have and that the command would not compose, and those that
    the filters ask for of the cell's own."""
    words: Words = {}
    for probe in probes:
        wanted = parse_settings(next(iter(count_settings(scored[scored["probe"] == probe])), ""))
        usual = {key: str(value) for key, value in composed.get(probe, {}).items()}
        if probe == cell.probe and cell.filters.settings is not None:
            asked = parse_settings(cell.filters.settings)
            wanted |= {key: value for key, value in asked.items() if key in {*wanted, *usual}}
        words |= format_settings_words(probe, wanted, usual)
    return words


def format_settings_words(probe: str, settings: Mapping[str, str], usual: Mapping[str, str]) -> Words:
    """Format the settings of a probe that are not the `usual` ones, as they are typed; "typed" itself is none of
    them."""
    return {
        f"probe.{probe}.{key}": "null" if value == "None" else value.replace(" ", "")
        for key, value in settings.items()
        if value not in (usual.get(key), TYPED_ORIGIN)
    }


def build_output_override(output_dir: Path) -> list[str]:
    """Build what to type so that the result is found there; nothing if that is the default."""
    return [] if str(output_dir) == os.environ.get("LOWRES_SSL_OUTPUTS", "outputs") else [f"output_dir={output_dir}"]


def list_whole_numbers(values: "pd.Series[Any]") -> list[int]:
    return sorted({int(value) for value in values.dropna()})


def get_common_value(values: "pd.Series[Any]") -> Any:
    """Get the value that all have; None if they differ or there are none."""
    found = values.dropna().unique()
    return found[0] if len(found) == 1 else None


def choose_encoder_name(row: RowConfig, filters: ResultFilters, rows: pd.DataFrame | None) -> str:
    """Choose the entry that an empty cell asks for, by the recipe of the filters or of its neighbours `rows`."""
    recipe = filters.recipe
    if recipe is None and rows is not None:
        recipe = get_common_value(rows.loc[is_trained(rows), "recipe"])
    return row.in_recipe.get(str(recipe), row.entries[0])


def get_image_words(run: Run) -> list[str]:
    """Get the words that chose the images of a run."""
    record = run.read()
    words = [word for word in record.typed[1:] if get_group(word.partition("=")[0]) in IMAGE_KEYS]
    is_named = any(word.startswith("dataset=") for word in words)
    return words if is_named else [f"dataset={record.config.dataset.name}", *words]


def list_run_commands(run: Run, output_dir: Path, *, paths: bool) -> list[str]:
    """List the command that made the run, then those that score it in ways that it did not. `paths=False`: no folder is
    shown."""
    record = run.read()
    place = build_output_override(output_dir) if paths else []
    words = []
    for word in record.typed:
        key = word.partition("=")[0]
        if get_group(key) not in REQUEST_KEYS:
            words.append(f"{key}={FOLDER_PLACEHOLDER}" if key in PATH_KEYS and not paths else word)
    lines = [format_command(*words, *place)] if words else []
    later: dict[tuple[str, ...], set[float]] = defaultdict(set)  # how it was scored beyond that -> with which labels
    for _, result in run.results():
        fraction = result.labels.fraction
        is_tuned = result.settings.get(SETTINGS_ORIGIN) in (TUNED_ORIGIN, PAPER_ORIGIN)  # the origin of these two
        settings = {key: str(value) for key, value in result.settings.items() if not (is_tuned and key in TUNABLE_KEYS)}
        usual = {key: str(value) for key, value in record.probe.get(result.probe, {}).items()}
        differing = format_words(format_settings_words(result.probe, settings, usual))
        is_made = not differing and result.probe in record.probe and fraction in record.config.label_fraction
        if result.probe != CLASSIFIER_PROBE and not is_made:
            later[f"probe=[{result.probe}]", *differing].add(fraction)
    for scored, fractions in later.items():
        share = f"label_fraction=[{','.join(f'{each:g}' for each in sorted(fractions))}]"
        lines.append(format_command("evaluate", f"run={run.name}", *scored, *[share] * (fractions != {1.0}), *place))
    return lines


@dataclass(frozen=True)
class Stored:
    """Hold what tables, figures and the report are made from: rows of the index, filters, the folders of runs and of
    decoded images. `notes`: what could not be shown, or was left out.
    """

    results: pd.DataFrame
    filters: ResultFilters
    output_dir: Path
    store_dir: Path
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, config: Any, store_dir: str = "") -> Self:
        """Read the index for a command, by its config. Raises `ConfigError` for a filter that nothing can have."""
        results, notes = read_index(Path(config.output_dir))
        filters = ResultFilters(**vars(config.filters))
        notes += explain_unknown_names(filters, results)
        return cls(results, filters, Path(config.output_dir), Path(store_dir), notes)

    def log_notes(self) -> None:
        """Log each note once, and forget them."""
        for note in dict.fromkeys(self.notes):
            log_warning(note)
        self.notes.clear()

    def columns(self, filters: ResultFilters, entries: Sequence[str]) -> list[ResultColumn]:
        """Return the columns that are meant (see `select_columns`)."""
        columns = select_columns(self.results, filters, entries)
        self.notes.extend(note for column in columns for note in column.notes)
        return columns

    def command(self, *words: str) -> str:
        """Format `lowres-ssl pretrain` with these words, with the filters and with what all finished runs share."""
        typed = dict(word.split("=", 1) for word in words)
        own = self.results[self.results["state"] == "finished"]
        dataset = self.filters.dataset or get_common_value(own["dataset"])
        shared = {} if dataset is None else {"dataset": dataset}
        runs = tuple(own.loc[own["dataset"] == dataset, "run"].unique())
        shared |= read_shared_words(runs, self.output_dir)[0] | get_filter_words(self.filters)
        sweep = ["-m"] if any("," in value for key, value in typed.items() if key != "probe") else []
        output = build_output_override(self.output_dir)
        return format_command("pretrain", *sweep, *format_words(typed | shared | typed), *output)
