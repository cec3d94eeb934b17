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

from lowres_ssl.command_line.images import words_for
from lowres_ssl.command_line.overrides import command_line
from lowres_ssl.evaluation.tuning import tuned_file
from lowres_ssl.results.agreement import is_trained, settings_of, shared_settings
from lowres_ssl.results.selection import BatchSize, Filters, ordinary
from lowres_ssl.runs import END_TO_END, find_run
from lowres_ssl.schemas.experiment import ORIGIN, RANDOM_SEEDS, RANDOM_STARTS, TUNED
from lowres_ssl.schemas.table import RowConfig

UNTRAINED = (*RANDOM_STARTS, "imagenet", "trivial")
USUAL_PROBES = ("knn", "linear")  # what `pretrain` scores with unless told otherwise
FROM_NEIGHBOURS = ("recipe", "backbone", "image_size", "epochs", "split", "split_seed")
OF_TRAINING = ("recipe", "epochs")
TUNED_WORD = f"probe.linear.{ORIGIN}={TUNED}"


@dataclass(frozen=True)
class Hole:
    """An empty cell. `filters` has what was typed, and the split seed or recipe that the cell stands for. `beside`:
    what its neighbours are, where they need not be of its recipe."""

    method: str
    dataset: str
    probe: str
    batch_size: BatchSize
    filters: Filters
    beside: Filters | None = None


def commands(holes: Sequence[Hole], frame: pd.DataFrame, output_dir: Path) -> list[str]:
    """What to type, methods that need the same in one line. `frame`: the ledger."""
    place = place_of(output_dir)
    lines: list[str] = []
    trainings: dict[tuple[str, tuple[str, ...]], list[str]] = {}  # data set, words beside the methods -> the methods
    for hole in holes:
        known = frame[(frame["dataset"] == hole.dataset) & (frame["state"] == "finished")]
        runs = hole.filters.applied(known[known["pretrain_on"] != "all"])
        unscored = without_score(hole, runs)
        asked = dict.fromkeys([*origin_words(hole.probe, ordinary(runs)), *asked_settings(hole)])
        for run in unscored:
            if TUNED_WORD in asked and not tuned_file(output_dir, run).exists():
                lines.append(command_line("tune", f"run={run}", *place))
            lines.append(command_line("evaluate", f"run={run}", f"probe=[{hole.probe}]", *asked, *place))
        if not unscored:
            words = training_words(hole, neighbours_of(hole, known, runs), output_dir)
            methods = trainings.setdefault((hole.dataset, tuple(words)), [])
            methods += [hole.method] if hole.method not in methods else []
    for (dataset, words_beside), methods in trainings.items():
        lines += training_lines(dataset, methods, words_beside, place)
    return list(dict.fromkeys(lines))


def training_lines(dataset: str, methods: Sequence[str], words: Sequence[str], place: Sequence[str]) -> list[str]:
    """One command; three where settings are to be tuned, which needs the runs."""
    several = len(methods) > 1 or any("," in word and "[" not in word for word in words)
    start = ["pretrain", *["-m"] * several, f"method={','.join(methods)}"]
    trained = command_line(*start, *words, *place)
    if TUNED_WORD not in words:
        return [trained]
    unscored = [word for word in words if not word.startswith("probe")]
    recipe = [word for word in words if word.startswith("recipe=")]
    return [
        command_line(*start, *unscored, "evaluate=false", *place),
        command_line("tune", f"dataset={dataset}", *recipe, f"method=[{','.join(methods)}]", *place),
        trained,
    ]


def neighbours_of(hole: Hole, known: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The results that the filters leave; where none of them was trained, those `beside` of the recipe that most of
    them were trained by."""
    own = ordinary(runs)
    if hole.beside is None or is_trained(own).any():
        return own
    others = ordinary(hole.beside.applied(known))
    most = others.loc[is_trained(others), "recipe"].mode()
    return own if most.empty else others[~is_trained(others) | others["recipe"].eq(most.iloc[0])]


def without_score(hole: Hole, runs: pd.DataFrame) -> list[str]:
    """Finished runs of the method that only lack this probe; a training gives the end-to-end score itself."""
    own = runs[runs["entry"] == hole.method]
    if isinstance(hole.batch_size, int):
        own = own[own["batch_size"].isna() | (own["batch_size"] == hole.batch_size)]
    scored = set(own.loc[(own["probe"] == hole.probe) & (own["label_fraction"] == 1), "run"])
    return [] if hole.probe == END_TO_END else sorted(set(own["run"]) - scored)


def training_words(hole: Hole, neighbours: pd.DataFrame, output_dir: Path) -> list[str]:
    """All but the method. What was not typed is as in the results of the same data set that the filters leave; what
    those disagree in is left to the defaults."""
    trains = hole.method not in UNTRAINED
    trained = neighbours[is_trained(neighbours)]
    words = dataset_words(hole.dataset, neighbours, output_dir)
    for key in FROM_NEIGHBOURS:
        value = getattr(hole.filters, key)
        if value is None:
            value = only((trained if key in OF_TRAINING else neighbours)[key])
            if key == "epochs" and hole.beside is not None and value == epochs_of(only(trained["recipe"])):
                value = None  # each recipe has its own
        if value is not None and (trains or key != "epochs"):
            words.append(f"{key}={value}")
    if hole.filters.precision is not None:
        words.append(f"precision={hole.filters.precision}")
    if trains:
        sizes = [hole.batch_size] if isinstance(hole.batch_size, int) else every(neighbours["batch_size"])
        words += [f"batch_size={','.join(map(str, sizes))}"] if sizes else []
    seeds = every(neighbours["seed"])
    if hole.method in RANDOM_STARTS and seeds:
        seeds = sorted({*seeds, *range(RANDOM_SEEDS)})
    words += [f"seed={','.join(map(str, seeds))}"] if seeds else []
    recipe = only(trained["recipe"]) or hole.filters.recipe or "paper"  # whose usual settings the neighbours have
    scored = neighbours if trained.empty else trained
    # One that the neighbours do not agree in has no settings to go by.
    usual = [probe for probe in USUAL_PROBES if probe == hole.probe or len(settings_in(scored, probe)) < 2]
    if hole.probe != END_TO_END and {*usual, hole.probe} != set(USUAL_PROBES):
        words.append(f"probe=[{','.join(dict.fromkeys([*usual, hole.probe]))}]")
    words += [*probe_words(scored, recipe, {*usual, hole.probe}), *asked_settings(hole)]
    return list(dict.fromkeys(words))


def asked_settings(hole: Hole) -> list[str]:
    """The settings that were typed as a filter, as they are typed for the probe; none that it does not have."""
    if hole.filters.settings is None or hole.probe == END_TO_END:
        return []
    known = default_settings(hole.probe, hole.filters.recipe or "paper")
    return [
        f"probe.{hole.probe}.{key}={value.replace(' ', '')}"
        for key, value in settings_of(hole.filters.settings).items()
        if key in known or not known
    ]


def place_of(output_dir: Path) -> list[str]:
    """What to type so that the result is found there; nothing if it is anyway."""
    return [] if str(output_dir) == os.environ.get("LOWRES_SSL_OUTPUTS", "outputs") else [f"output_dir={output_dir}"]


def every(values: "pd.Series[Any]") -> list[int]:
    return sorted({int(value) for value in values.dropna()})


def only(values: "pd.Series[Any]") -> Any:
    """The value that all have; None if they differ or there are none."""
    found = values.dropna().unique()
    return found[0] if len(found) == 1 else None


def dataset_words(dataset: str, neighbours: pd.DataFrame, output_dir: Path) -> list[str]:
    """How the images are named, as one of the neighbours had them."""
    if neighbours.empty:
        return words_for(dataset, {})
    return words_for(dataset, find_run(output_dir, str(neighbours["run"].iloc[0])).description().get("config", {}))


def probe_words(scored: pd.DataFrame, recipe: str, probes: set[str]) -> list[str]:
    """Settings of the probes that the results agree in and that are not what the config files say."""
    words = []
    for probe in sorted(probes - {END_TO_END}):
        shared = settings_in(scored, probe)
        settings = settings_of(shared.pop()) if len(shared) == 1 else {}
        default = default_settings(probe, recipe)
        words += [
            f"probe.{probe}.{key}={value.replace(' ', '')}"
            for key, value in settings.items()
            if key in default and key != ORIGIN and str(default[key]) != value
        ]
        words += origin_words(probe, scored)
    return words


def settings_in(scored: pd.DataFrame, probe: str) -> set[str]:
    """The settings of a probe that the results have, without those that each may have for itself."""
    return {shared_settings(row) for row in scored[scored["probe"] == probe].to_dict("records")}


def origin_words(probe: str, scored: pd.DataFrame) -> list[str]:
    """Where the results' batch size and rate of the probe come from, if that is one place for all, and not the usual
    one. Numbers that were typed are left to whoever typed them."""
    origins = {settings_of(text).get(ORIGIN) for text in scored.loc[scored["probe"] == probe, "settings"]}
    return [f"probe.{probe}.{ORIGIN}={TUNED}"] if origins == {TUNED} else []


def entry_for(row: RowConfig, filters: Filters, rows: pd.DataFrame | None) -> str:
    """Which of a row's entries an empty cell asks for, under the recipe that was typed or that the trained of its
    neighbours `rows` share."""
    recipe = filters.recipe
    if recipe is None and rows is not None:
        recipe = only(rows.loc[is_trained(rows), "recipe"])
    return row.in_recipe.get(str(recipe), row.entries[0])


def epochs_of(recipe: str | None) -> int | None:
    """What the file of a recipe says; None of one that is not in `conf/`."""
    file = files("lowres_ssl.conf").joinpath("recipe", f"{recipe}.yaml")
    said: Any = OmegaConf.create(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return None if said.get("epochs") is None else int(said["epochs"])


@cache
def default_settings(probe: str, recipe: str) -> dict[str, Any]:
    """What the files of a probe and a recipe say; nothing of one that is not in `conf/`."""
    merged: dict[str, Any] = {}
    for place in (("probe", f"{probe}.yaml"), ("recipe", f"{recipe}.yaml")):
        file = files("lowres_ssl.conf").joinpath(*place)
        if file.is_file():
            said: Any = OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8")))
            merged |= said if said.get("name") == probe else said.get("probe", {}).get(probe, {})
    return merged
