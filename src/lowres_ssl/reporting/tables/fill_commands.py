"""Build the command that fills an empty cell: with the settings of its neighbours, so that it fits beside them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from lowres_ssl.config.command_schemas import RowConfig
from lowres_ssl.config.experiment_schema import RANDOM_BASELINES, RANDOM_SEEDS, SETTINGS_ORIGIN, TUNED_ORIGIN
from lowres_ssl.config.overrides import format_command
from lowres_ssl.evaluate.tuned_settings import get_tuned_path
from lowres_ssl.runs.comparability import get_shared_settings, is_trained, parse_settings
from lowres_ssl.runs.query import BatchSize, ResultFilters, select_ordinary
from lowres_ssl.runs.run import CLASSIFIER_PROBE, find_run
from lowres_ssl.runs.stored_command import build_dataset_overrides

UNTRAINED_ENCODERS = (*RANDOM_BASELINES, "imagenet", "trivial")
DEFAULT_PROBES = ("knn", "linear")  # what `pretrain` scores with by default
NEIGHBOUR_KEYS = ("recipe", "backbone", "image_size", "epochs", "split", "split_seed")
TRAINING_ONLY_KEYS = ("recipe", "epochs")
TUNED_OVERRIDE = f"probe.linear.{SETTINGS_ORIGIN}={TUNED_ORIGIN}"


@dataclass(frozen=True)
class MissingCell:
    """Describe an empty cell. `filters`: what was typed, and the split seed or recipe that the cell stands for.
    `beside`: those of its neighbours, where they need not be of its recipe."""

    method: str
    dataset: str
    probe: str
    batch_size: BatchSize
    filters: ResultFilters
    beside: ResultFilters | None = None


def list_fill_commands(cells: Sequence[MissingCell], frame: pd.DataFrame, output_dir: Path) -> list[str]:
    """List what to type, methods that need the same in one line. `frame`: the index."""
    place = build_output_override(output_dir)
    lines: list[str] = []
    trainings: dict[tuple[str, tuple[str, ...]], list[str]] = {}  # data set, words beside the methods -> the methods
    for cell in cells:
        known = frame[(frame["dataset"] == cell.dataset) & (frame["state"] == "finished")]
        runs = cell.filters.apply(known[known["pretrain_on"] != "all"])
        unscored = find_unscored_runs(cell, runs)
        asked = dict.fromkeys([*build_origin_overrides(cell.probe, select_ordinary(runs)), *build_asked_settings(cell)])
        for run in unscored:
            if TUNED_OVERRIDE in asked and not get_tuned_path(output_dir, run).exists():
                lines.append(format_command("tune", f"run={run}", *place))
            lines.append(format_command("evaluate", f"run={run}", f"probe=[{cell.probe}]", *asked, *place))
        if not unscored:
            words = build_training_overrides(cell, find_neighbours(cell, known, runs), output_dir)
            methods = trainings.setdefault((cell.dataset, tuple(words)), [])
            methods += [cell.method] if cell.method not in methods else []
    for (dataset, shared), methods in trainings.items():
        several = len(methods) > 1 or any("," in word and "[" not in word for word in shared)
        start = ["pretrain", *["-m"] * several, f"method={','.join(methods)}"]
        if TUNED_OVERRIDE in shared:  # tuning needs the runs
            unscored = [word for word in shared if not word.startswith("probe")]
            recipe = [word for word in shared if word.startswith("recipe=")]
            lines.append(format_command(*start, *unscored, "evaluate=false", *place))
            named = [f"dataset={dataset}", *recipe, f"method=[{','.join(methods)}]"]
            lines.append(format_command("tune", *named, *place))
        lines.append(format_command(*start, *shared, *place))
    return list(dict.fromkeys(lines))


def find_neighbours(cell: MissingCell, known: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The results that the filters leave; if none of them was trained, those `beside` of the most frequent recipe."""
    own = select_ordinary(runs)
    if cell.beside is None or is_trained(own).any():
        return own
    others = select_ordinary(cell.beside.apply(known))
    most = others.loc[is_trained(others), "recipe"].mode()
    return own if most.empty else others[~is_trained(others) | others["recipe"].eq(most.iloc[0])]


def find_unscored_runs(cell: MissingCell, runs: pd.DataFrame) -> list[str]:
    """Finished runs of the method that only lack this probe; a training gives the end-to-end score itself."""
    own = runs[runs["entry"] == cell.method]
    if isinstance(cell.batch_size, int):
        own = own[own["batch_size"].isna() | (own["batch_size"] == cell.batch_size)]
    scored = set(own.loc[(own["probe"] == cell.probe) & (own["label_fraction"] == 1), "run"])
    return [] if cell.probe == CLASSIFIER_PROBE else sorted(set(own["run"]) - scored)


def build_training_overrides(cell: MissingCell, neighbours: pd.DataFrame, output_dir: Path) -> list[str]:
    """Build all words but the method: as typed, else as the neighbours share it; the rest is left to the defaults."""
    trains = cell.method not in UNTRAINED_ENCODERS
    trained = neighbours[is_trained(neighbours)]
    recipe = get_common_value(trained["recipe"])
    words = build_neighbour_dataset(cell.dataset, neighbours, output_dir)
    for key in NEIGHBOUR_KEYS:
        value = getattr(cell.filters, key)
        if value is None:
            value = get_common_value((trained if key in TRAINING_ONLY_KEYS else neighbours)[key])
            if key == "epochs" and cell.beside is not None and value == read_recipe_epochs(recipe):
                value = None  # each recipe has its own
        if value is not None and (trains or key != "epochs"):
            words.append(f"{key}={value}")
    if cell.filters.precision is not None:
        words.append(f"precision={cell.filters.precision}")
    sizes = [cell.batch_size] if isinstance(cell.batch_size, int) else list_whole_numbers(neighbours["batch_size"])
    words += [f"batch_size={','.join(map(str, sizes))}"] if trains and sizes else []
    seeds = list_whole_numbers(neighbours["seed"])
    if cell.method in RANDOM_BASELINES and seeds:
        seeds = sorted({*seeds, *range(RANDOM_SEEDS)})
    words += [f"seed={','.join(map(str, seeds))}"] if seeds else []
    scored = neighbours if trained.empty else trained
    # A probe in which the neighbours differ has no settings to copy.
    usual = [probe for probe in DEFAULT_PROBES if probe == cell.probe or len(list_probe_settings(scored, probe)) < 2]
    if cell.probe != CLASSIFIER_PROBE and {*usual, cell.probe} != set(DEFAULT_PROBES):
        words.append(f"probe=[{','.join(dict.fromkeys([*usual, cell.probe]))}]")
    words += build_probe_overrides(scored, recipe or cell.filters.recipe or "paper", {*usual, cell.probe})
    return list(dict.fromkeys([*words, *build_asked_settings(cell)]))


def build_asked_settings(cell: MissingCell) -> list[str]:
    """The settings of the filter, as they are typed for the probe; none that it does not have."""
    if cell.filters.settings is None or cell.probe == CLASSIFIER_PROBE:
        return []
    known = read_default_settings(cell.probe, cell.filters.recipe or "paper")
    settings = parse_settings(cell.filters.settings).items()
    return [
        f"probe.{cell.probe}.{key}={value.replace(' ', '')}" for key, value in settings if key in known or not known
    ]


def build_output_override(output_dir: Path) -> list[str]:
    """What to type so that the result is found there; nothing if that is the default."""
    return [] if str(output_dir) == os.environ.get("LOWRES_SSL_OUTPUTS", "outputs") else [f"output_dir={output_dir}"]


def list_whole_numbers(values: "pd.Series[Any]") -> list[int]:
    return sorted({int(value) for value in values.dropna()})


def get_common_value(values: "pd.Series[Any]") -> Any:
    """The value that all have; None if they differ or there are none."""
    found = values.dropna().unique()
    return found[0] if len(found) == 1 else None


def build_neighbour_dataset(dataset: str, neighbours: pd.DataFrame, output_dir: Path) -> list[str]:
    """Name the images as one of the neighbours does."""
    if neighbours.empty:
        return build_dataset_overrides(dataset, None)
    run = find_run(output_dir, str(neighbours["run"].iloc[0]))
    return build_dataset_overrides(dataset, run.read().config)


def build_probe_overrides(scored: pd.DataFrame, recipe: str, probes: set[str]) -> list[str]:
    """The settings of the probes that the results share and that differ from the config files."""
    words = []
    for probe in sorted(probes - {CLASSIFIER_PROBE}):
        shared = list_probe_settings(scored, probe)
        settings = parse_settings(shared.pop()) if len(shared) == 1 else {}
        default = read_default_settings(probe, recipe)
        words += [
            f"probe.{probe}.{key}={value.replace(' ', '')}"
            for key, value in settings.items()
            if key in default and key != SETTINGS_ORIGIN and str(default[key]) != value
        ]
        words += build_origin_overrides(probe, scored)
    return words


def list_probe_settings(scored: pd.DataFrame, probe: str) -> set[str]:
    """The settings of a probe that the results have, without those that may differ."""
    return {get_shared_settings(row) for row in scored[scored["probe"] == probe].to_dict("records")}


def build_origin_overrides(probe: str, scored: pd.DataFrame) -> list[str]:
    """Ask for tuned settings of the probe if all results have them. Numbers that were typed are left to the user."""
    origins = {parse_settings(text).get(SETTINGS_ORIGIN) for text in scored.loc[scored["probe"] == probe, "settings"]}
    return [f"probe.{probe}.{SETTINGS_ORIGIN}={TUNED_ORIGIN}"] if origins == {TUNED_ORIGIN} else []


def choose_encoder_name(row: RowConfig, filters: ResultFilters, rows: pd.DataFrame | None) -> str:
    """Choose the entry that an empty cell asks for, by the recipe of the filters or of its neighbours `rows`."""
    recipe = filters.recipe
    if recipe is None and rows is not None:
        recipe = get_common_value(rows.loc[is_trained(rows), "recipe"])
    return row.in_recipe.get(str(recipe), row.entries[0])


def read_recipe_epochs(recipe: str | None) -> int | None:
    """Read the epochs of a recipe; None of one that is not in `conf/`."""
    epochs = read_config_file("recipe", recipe).get("epochs")
    return None if epochs is None else int(epochs)


@cache
def read_default_settings(probe: str, recipe: str) -> dict[str, Any]:
    """Read the settings of a probe in a recipe; none of those that are not in `conf/`."""
    merged: dict[str, Any] = {}
    for content in (read_config_file("probe", probe), read_config_file("recipe", recipe)):
        merged |= content if content.get("name") == probe else content.get("probe", {}).get(probe, {})
    return merged


def read_config_file(group: str, name: str | None) -> dict[str, Any]:
    file = files("lowres_ssl.conf").joinpath(group, f"{name}.yaml")
    content: Any = OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8"))) if file.is_file() else {}
    return dict(content)
