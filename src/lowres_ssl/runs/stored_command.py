"""The command that makes a stored run again: its overrides, found by comparing its config with the files."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from fnmatch import fnmatchcase
from functools import lru_cache, reduce
from importlib.resources import files
from importlib.resources.abc import Traversable
from operator import getitem
from typing import Any

import pandas as pd
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from lowres_ssl.config.check import get_user_conf
from lowres_ssl.config.command_schemas import PATH_KEYS
from lowres_ssl.config.experiment_schema import (
    SETTINGS_ORIGIN,
    SETTINGS_ORIGINS,
    TUNABLE_KEYS,
    TYPED_ORIGIN,
    ExperimentConfig,
    PretrainConfig,
    list_keys_with,
    to_plain,
)
from lowres_ssl.config.overrides import is_text, quote_value
from lowres_ssl.data.splits import SPLIT_STRATEGIES as SPLITS
from lowres_ssl.errors import ConfigError, did_you_mean
from lowres_ssl.runs.comparability import parse_settings
from lowres_ssl.runs.query import ResultFilters
from lowres_ssl.runs.run import CLASSIFIER_PROBE

# What may be asked for before there is a result of it, beside the choices that have a file.
FIXED_CHOICES = {
    "split": frozenset(SPLITS),
    "precision": frozenset(["fp32", "bf16", "fp16"]),
    "probe": {CLASSIFIER_PROBE},
}
SEE_RUNS_HINT = "; see what there is with lowres-ssl runs"
NAME_FILTERS = ("dataset", "probe", "recipe", "backbone", "split", "precision")


def find_choice_file(group: str, name: str) -> Traversable | None:
    """The file that `group=name` chooses; ours goes before one's own. None if there is none."""
    places: list[Traversable] = [files("lowres_ssl.conf").joinpath(group), get_user_conf() / group]
    found = [place.joinpath(f"{name}.yaml") for place in places]
    return next((file for file in found if file.is_file()), None)


def explain_unknown_names(filters: ResultFilters, frame: pd.DataFrame) -> list[str]:
    """A line for each name that was typed and that no row of the index has, with those that there are.

    Raises `ConfigError` for one that no choice stands for either, with the nearest stored one; for entries, if that is
    so of all. Without results nothing is refused: there is nothing to compare with.
    """
    notes = []
    typed = [("entry", entry) for entry in filters.entries or ()]
    typed += [(key, name) for key in NAME_FILTERS if (name := getattr(filters, key)) is not None]
    known_entries = sorted(set(frame["entry"].dropna()))
    one_entry = any(
        has_match(known_entries, entry) or is_known_choice("method", entry) for entry in filters.entries or ()
    )
    for key, name in typed:
        known = known_entries if key == "entry" else sorted(set(frame[key].dropna()))
        if has_match(known, name) if key == "entry" else name in known:
            continue
        line = f"{key}={name}: no stored result has it; there is {', '.join(known) or 'none at all'}"
        if not frame.empty and not (one_entry if key == "entry" else is_known_choice(key, name)):
            raise ConfigError(line + (did_you_mean(name, known, f"{key}={{}}") or SEE_RUNS_HINT))
        notes.append(line)
    return notes + explain_unknown_settings(filters, frame)


def explain_unknown_settings(filters: ResultFilters, frame: pd.DataFrame) -> list[str]:
    """As `explain_unknown_names`, of the probes' settings."""
    notes = []
    meant = frame if filters.probe is None else frame[frame["probe"] == filters.probe]
    stored = [parse_settings(text) for text in meant["settings"].dropna()]
    for key, value in parse_settings(filters.settings or "").items():
        known = sorted({settings[key] for settings in stored if key in settings}, key=lambda text: (len(text), text))
        if not known or value in known:
            continue
        line = f"settings={key}={value}: no stored result has it; there is {', '.join(known)}"
        if key == SETTINGS_ORIGIN and value not in SETTINGS_ORIGINS:
            raise ConfigError(line + (did_you_mean(value, SETTINGS_ORIGINS, f"settings={key}={{}}") or SEE_RUNS_HINT))
        notes.append(line)
    return notes


def has_match(known: list[str], pattern: str) -> bool:
    return any(fnmatchcase(each, pattern) for each in known)


def is_known_choice(key: str, name: str) -> bool:
    return name in FIXED_CHOICES.get(key, ()) or find_choice_file(key, name) is not None


# How a run was asked for, not what it is; and the folder of outputs, which is the one that is read now.
UNTYPED_KEYS = frozenset(list_keys_with(PretrainConfig, "request"))
INTERPOLATION_SOURCES = ("data_dir", "dataset.name")  # other values are interpolated from these
PLAIN_VALUE = re.compile(r"(?!(?:null|true|false|inf|nan|none)$)[A-Za-z_][A-Za-z0-9_./-]*", re.IGNORECASE)
FOLDER_PLACEHOLDER = "FOLDER"  # stands for a path that is hidden


def rebuild_overrides(config: ExperimentConfig, *, trained: bool, paths: bool = True) -> list[str] | None:
    """The words after `lowres-ssl` that compose the stored `config` under what is in `conf/` now.

    None where they cannot be known, since a choice has no file any more. Of an untrained encoder nothing is shown that
    is about training. `paths=False`: no folder is shown. Only within a command, since it asks Hydra for what that was
    started with.
    """
    command, stored = "pretrain" if isinstance(config, PretrainConfig) else "evaluate", to_plain(config)
    choices = rebuild_group_choices(command, stored)
    if choices is None:
        return None
    composed = compose_base_config(command, tuple(choices)).copy()
    OmegaConf.set_struct(composed, False)
    differing = []
    for key in INTERPOLATION_SOURCES:
        value = reduce(getitem, key.split("."), stored)
        if OmegaConf.select(composed, key) != value:
            differing.append((key, value, True))
        OmegaConf.update(composed, key, value)
    for key in ("output_dir", "store_dir"):
        OmegaConf.update(composed, key, stored[key])
    plain: Any = OmegaConf.to_container(composed, resolve=True, enum_to_str=True)
    differing += list_config_changes(stored, plain)
    hidden = frozenset() if paths else PATH_KEYS
    about_encoder = {field.name for field in fields(ExperimentConfig)}
    return [
        command,
        *choices,
        *(
            f"{'' if there else '+'}{key}={FOLDER_PLACEHOLDER if value and key in hidden else format_value(value)}"
            for key, value, there in differing
            if trained or command == "evaluate" or key.split(".")[0] in about_encoder
        ),
    ]


def rebuild_group_choices(command: str, stored: Mapping[str, Any]) -> list[str] | None:
    """The choices of groups, such as "method=dcl"; None if one has no file any more."""
    options = GlobalHydra.instance().config_loader().get_group_options
    names = {group: str(stored[group]["name"]) for group in ("dataset", "backbone")}
    if names["dataset"] not in options("dataset"):
        names["dataset"] = "folder"
    if command == "pretrain":
        names |= {"method": str(stored["method"]["name"]), "recipe": str(stored["recipe"])}
    if any(name not in options(group) for group, name in names.items()):
        return None
    words = [f"{group}={name}" for group, name in names.items()] + [f"probe=[{','.join(stored['probe'])}]"]
    kind = str(stored["images"]["name"])
    return words if compose_base_config(command, tuple(words)).images.name == kind else [*words, f"images={kind}"]


@lru_cache(maxsize=64)
def compose_base_config(command: str, choices: tuple[str, ...]) -> DictConfig:
    """The values in the files, interpolations as they are. Not to be changed."""
    return compose(command, overrides=list(choices))


def list_config_changes(stored: Mapping[str, Any], composed: Mapping[str, Any]) -> Iterator[tuple[str, Any, bool]]:
    """Each key, with its dots, whose value is another in the run's config; that value; whether the key is there."""
    for key, value in stored.items():
        if key in UNTYPED_KEYS:
            continue
        there = key in composed
        other = composed.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            for below, own, known in list_config_changes(*mask_typed_settings(value, other)):
                yield f"{key}.{below}", own, known
        elif not there or value != other:
            yield key, value, there


def mask_typed_settings(stored: dict[str, Any], composed: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both as they are, but for a linear probe whose settings "were typed": that they were shows only if they are."""
    if stored.get(SETTINGS_ORIGIN) != TYPED_ORIGIN:
        return stored, composed
    untold = dict.fromkeys(TUNABLE_KEYS)
    return {key: value for key, value in stored.items() if key != SETTINGS_ORIGIN}, composed | untold


def format_value(value: Any) -> str:
    """A value in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return value if PLAIN_VALUE.fullmatch(value) else quote_value(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{format_value(own)}" for key, own in value.items()) + "}"
    return "[" + ",".join(map(format_value, value)) + "]" if isinstance(value, list) else repr(value)


GENERIC_DATASETS = ("folder", "csv")  # files for any set; alone they name none
DEFAULT_MODALITY = "any"  # what `conf/pretrain.yaml` has where a data set sets none
MODALITY_OVERRIDE = "/images@_global_.images"
# What makes other images of the same folder; with what is meant where a file does not set it.
DATASET_DEFAULTS = {
    "subset": None,
    "unlabelled": None,
    "skip_unreadable": False,
    "grey_range": None,
    "storage_size": None,
}


def build_dataset_overrides(dataset: str, config: ExperimentConfig | None) -> list[str]:
    """A set that has a file, of ours or of one's own, by its name, any other by its place; then which of the images,
    how they are read, and what kind of picture they are, where the file sets another. `config`: of a run of it.
    """
    stored = {} if config is None else to_plain(config.dataset)
    if dataset not in GENERIC_DATASETS and find_choice_file("dataset", dataset) is not None:
        choice, words = dataset, [f"dataset={dataset}"]
    else:
        choice = config.dataset.source if config and config.dataset.source in GENERIC_DATASETS else GENERIC_DATASETS[0]
        words = [f"dataset={choice}", f"dataset.name={dataset}", f"dataset.root={stored.get('root', 'FOLDER')}"]
    said, kind = read_dataset_file(choice)
    usual = said | (said_by_recipe(config.recipe) if config else {})
    words += [f"dataset.{word}" for word in list_changed_keys(stored, usual)]
    trained_as = config.images.name if config else kind
    return words if trained_as == kind else [*words, f"images={trained_as}"]


def list_changed_keys(stored: Mapping[str, Any], said: Mapping[str, Any]) -> Iterator[str]:
    """Each key below `dataset` whose value is another than the file's, as it is typed."""
    pairs = [(key, stored.get(key, usual), said.get(key, usual)) for key, usual in DATASET_DEFAULTS.items()]
    options = said.get("options", {})
    pairs += [(f"options.{key}", value, options.get(key)) for key, value in stored.get("options", {}).items()]
    for key, value, usual in pairs:
        if value != usual:
            plain = isinstance(value, str) and is_text(f"dataset.{key}", value)  # quoted when it is typed
            yield f"{key}={value if plain and value else format_value(value)}"


def said_by_recipe(recipe: object) -> dict[str, Any]:
    """What a recipe's file sets for the images; it goes before what the data set's sets."""
    file = find_choice_file("recipe", str(recipe))
    said: Any = {} if file is None else OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8")))
    return dict(said.get("dataset", {}))


def read_dataset_file(choice: str) -> tuple[dict[str, Any], str]:
    """The settings in a data set's file, with the files it is made from, and the kind of picture that it chooses."""
    file: Traversable | None = find_choice_file("dataset", choice)
    if file is None:
        return {}, DEFAULT_MODALITY
    own: Any = OmegaConf.to_container(OmegaConf.create(file.read_text(encoding="utf-8")))
    merged: dict[str, Any] = {}
    kind = DEFAULT_MODALITY
    for each in own.pop("defaults", []):
        if isinstance(each, str) and each != "_self_":
            below, kind = read_dataset_file(each)
            merged |= below
        elif isinstance(each, dict):
            kind = next((str(value) for key, value in each.items() if key.endswith(MODALITY_OVERRIDE)), kind)
    options = merged.get("options", {}) | own.get("options", {})
    return merged | own | {"options": options}, kind
