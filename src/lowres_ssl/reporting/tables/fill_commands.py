"""The command that fills an empty cell: as its neighbours were made, so that it fits beside them."""

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
DEFAULT_PROBES = ("knn", "linear")  # what `pretrain` scores with unless told otherwise
NEIGHBOUR_KEYS = ("recipe", "backbone", "image_size", "epochs", "split", "split_seed")
TRAINING_ONLY_KEYS = ("recipe", "epochs")
TUNED_OVERRIDE = f"probe.linear.{SETTINGS_ORIGIN}={TUNED_ORIGIN}"


@dataclass(frozen=True)
class MissingCell:
    """An empty cell. `filters` has what was typed, and the split seed or recipe that the cell stands for. `beside`:
    what its neighbours are, where they need not be of its recipe."""

    method: str
    dataset: str
    probe: str
    batch_size: BatchSize
    filters: ResultFilters
    beside: ResultFilters | None = None


def list_fill_commands(holes: Sequence[MissingCell], frame: pd.DataFrame, output_dir: Path) -> list[str]:
    """What to type, methods that need the same in one line. `frame`: the ledger."""
    place = build_output_override(output_dir)
    lines: list[str] = []
    trainings: dict[tuple[str, tuple[str, ...]], list[str]] = {}  # data set, words beside the methods -> the methods
    for hole in holes:
        known = frame[(frame["dataset"] == hole.dataset) & (frame["state"] == "finished")]
        runs = hole.filters.apply(known[known["pretrain_on"] != "all"])
        unscored = find_unscored_runs(hole, runs)
        asked = dict.fromkeys([*build_origin_overrides(hole.probe, select_ordinary(runs)), *build_asked_settings(hole)])
        for run in unscored:
            if TUNED_OVERRIDE in asked and not get_tuned_path(output_dir, run).exists():
                lines.append(format_command("tune", f"run={run}", *place))
            lines.append(format_command("evaluate", f"run={run}", f"probe=[{hole.probe}]", *asked, *place))
        if not unscored:
            words = build_training_overrides(hole, find_neighbours(hole, known, runs), output_dir)
            methods = trainings.setdefault((hole.dataset, tuple(words)), [])
            methods += [hole.method] if hole.method not in methods else []
    for (dataset, words_beside), methods in trainings.items():
        lines += list_training_commands(dataset, methods, words_beside, place)
    return list(dict.fromkeys(lines))


def list_training_commands(
    dataset: str, methods: Sequence[str], words: Sequence[str], place: Sequence[str]
) -> list[str]:
    """One command; three where settings are to be tuned, which needs the runs."""
    several = len(methods) > 1 or any("," in word and "[" not in word for word in words)
    start = ["pretrain", *["-m"] * several, f"method={','.join(methods)}"]
    trained = format_command(*start, *words, *place)
    if TUNED_OVERRIDE not in words:
        return [trained]
    unscored = [word for word in words if not word.startswith("probe")]
    recipe = [word for word in words if word.startswith("recipe=")]
    return [
        format_command(*start, *unscored, "evaluate=false", *place),
        format_command("tune", f"dataset={dataset}", *recipe, f"method=[{','.join(methods)}]", *place),
        trained,
    ]


def find_neighbours(hole: MissingCell, known: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The results that the filters leave; where none of them was trained, those `beside` of the recipe that most of
    them were trained by."""
    own = select_ordinary(runs)
    if hole.beside is None or is_trained(own).any():
        return own
    others = select_ordinary(hole.beside.apply(known))
    most = others.loc[is_trained(others), "recipe"].mode()
    return own if most.empty else others[~is_trained(others) | others["recipe"].eq(most.iloc[0])]


def find_unscored_runs(hole: MissingCell, runs: pd.DataFrame) -> list[str]:
    """Finished runs of the method that only lack this probe; a training gives the end-to-end score itself."""
    own = runs[runs["entry"] == hole.method]
    if isinstance(hole.batch_size, int):
        own = own[own["batch_size"].isna() | (own["batch_size"] == hole.batch_size)]
    scored = set(own.loc[(own["probe"] == hole.probe) & (own["label_fraction"] == 1), "run"])
    return [] if hole.probe == CLASSIFIER_PROBE else sorted(set(own["run"]) - scored)


def build_training_overrides(hole: MissingCell, neighbours: pd.DataFrame, output_dir: Path) -> list[str]:
    """All but the method. What was not typed is as in the results of the same data set that the filters leave; what
    those disagree in is left to the defaults."""
    trains = hole.method not in UNTRAINED_ENCODERS
    trained = neighbours[is_trained(neighbours)]
    words = build_neighbour_dataset(hole.dataset, neighbours, output_dir)
    for key in NEIGHBOUR_KEYS:
        value = getattr(hole.filters, key)
        if value is None:
            value = get_common_value((trained if key in TRAINING_ONLY_KEYS else neighbours)[key])
            if (
                key == "epochs"
                and hole.beside is not None
                and value == read_recipe_epochs(get_common_value(trained["recipe"]))
            ):
                value = None  # each recipe has its own
        if value is not None and (trains or key != "epochs"):
            words.append(f"{key}={value}")
    if hole.filters.precision is not None:
        words.append(f"precision={hole.filters.precision}")
    if trains:
        sizes = [hole.batch_size] if isinstance(hole.batch_size, int) else list_whole_numbers(neighbours["batch_size"])
        words += [f"batch_size={','.join(map(str, sizes))}"] if sizes else []
    seeds = list_whole_numbers(neighbours["seed"])
    if hole.method in RANDOM_BASELINES and seeds:
        seeds = sorted({*seeds, *range(RANDOM_SEEDS)})
    words += [f"seed={','.join(map(str, seeds))}"] if seeds else []
    recipe = (
        get_common_value(trained["recipe"]) or hole.filters.recipe or "paper"
    )  # whose usual settings the neighbours have
    scored = neighbours if trained.empty else trained
    # One that the neighbours do not agree in has no settings to go by.
    usual = [probe for probe in DEFAULT_PROBES if probe == hole.probe or len(list_probe_settings(scored, probe)) < 2]
    if hole.probe != CLASSIFIER_PROBE and {*usual, hole.probe} != set(DEFAULT_PROBES):
        words.append(f"probe=[{','.join(dict.fromkeys([*usual, hole.probe]))}]")
    words += [*build_probe_overrides(scored, recipe, {*usual, hole.probe}), *build_asked_settings(hole)]
    return list(dict.fromkeys(words))


def build_asked_settings(hole: MissingCell) -> list[str]:
    """The settings that were typed as a filter, as they are typed for the probe; none that it does not have."""
    if hole.filters.settings is None or hole.probe == CLASSIFIER_PROBE:
        return []
    known = read_default_settings(hole.probe, hole.filters.recipe or "paper")
    return [
        f"probe.{hole.probe}.{key}={value.replace(' ', '')}"
        for key, value in parse_settings(hole.filters.settings).items()
        if key in known or not known
    ]


def build_output_override(output_dir: Path) -> list[str]:
    """What to type so that the result is found there; nothing if it is anyway."""
    return [] if str(output_dir) == os.environ.get("LOWRES_SSL_OUTPUTS", "outputs") else [f"output_dir={output_dir}"]


def list_whole_numbers(values: "pd.Series[Any]") -> list[int]:
    return sorted({int(value) for value in values.dropna()})


def get_common_value(values: "pd.Series[Any]") -> Any:
    """The value that all have; None if they differ or there are none."""
    found = values.dropna().unique()
    return found[0] if len(found) == 1 else None


def build_neighbour_dataset(dataset: str, neighbours: pd.DataFrame, output_dir: Path) -> list[str]:
    """How the images are named, as one of the neighbours had them."""
    if neighbours.empty:
        return build_dataset_overrides(dataset, {})
    return build_dataset_overrides(
        dataset, find_run(output_dir, str(neighbours["run"].iloc[0])).description().get("config", {})
    )


def build_probe_overrides(scored: pd.DataFrame, recipe: str, probes: set[str]) -> list[str]:
    """Settings of the probes that the results agree in and that are not what the config files say."""
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
    """The settings of a probe that the results have, without those that each may have for itself."""
    return {get_shared_settings(row) for row in scored[scored["probe"] == probe].to_dict("records")}


def build_origin_overrides(probe: str, scored: pd.DataFrame) -> list[str]:
    """Where the results' batch size and rate of the probe come from, if that is one place for all, and not the usual
    one. Numbers that were typed are left to whoever typed them."""
    origins = {parse_settings(text).get(SETTINGS_ORIGIN) for text in scored.loc[scored["probe"] == probe, "settings"]}
    return [f"probe.{probe}.{SETTINGS_ORIGIN}={TUNED_ORIGIN}"] if origins == {TUNED_ORIGIN} else []


def choose_encoder_name(row: RowConfig, filters: ResultFilters, rows: pd.DataFrame | None) -> str:
    """Which of a row's entries an empty cell asks for, under the recipe that was typed or that the trained of its
    neighbours `rows` share."""
    recipe = filters.recipe
    if recipe is None and rows is not None:
        recipe = get_common_value(rows.loc[is_trained(rows), "recipe"])
    return row.in_recipe.get(str(recipe), row.entries[0])


def read_recipe_epochs(recipe: str | None) -> int | None:
    """What the file of a recipe says; None of one that is not in `conf/`."""
    file = files("lowres_ssl.conf").joinpath("recipe", f"{recipe}.yaml")
    said: Any = OmegaConf.create(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return None if said.get("epochs") is None else int(said["epochs"])


@cache
def read_default_settings(probe: str, recipe: str) -> dict[str, Any]:
    """What the files of a probe and a recipe say; nothing of one that is not in `conf/`."""
    merged: dict[str, Any] = {}
    for place in (("probe", f"{probe}.yaml"), ("recipe", f"{recipe}.yaml")):
        file = files("lowres_ssl.conf").joinpath(*place)
        if file.is_file():
            said: Any = OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8")))
            merged |= said if said.get("name") == probe else said.get("probe", {}).get(probe, {})
    return merged
