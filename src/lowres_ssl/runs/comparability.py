"""What may not be mixed in a column, and what a user types to choose."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lowres_ssl.config.experiment_schema import SETTINGS_ORIGIN, TUNED_ORIGIN
from lowres_ssl.errors import ConfigError
from lowres_ssl.io.checksummed_json import to_json
from lowres_ssl.runs.records import RunIdentity
from lowres_ssl.runs.run import Run

# What the paper's Table 1 chooses for each method and data set; the rest of a probe's settings are the column's.
FREE_SETTINGS = {"linear": frozenset(["batch_size", "learning_rate"])}


def is_trained(frame: pd.DataFrame) -> "pd.Series[bool]":
    return frame["batch_size"].notna()


def has_own_encoder(frame: pd.DataFrame) -> "pd.Series[bool]":
    """Which rows are what they are under any `backbone`."""
    return (frame["entry"] == "trivial") | frame["entry"].astype(str).str.startswith("pretrained ")


def parse_settings(text: object) -> dict[str, str]:
    """ "k=200, strengths=[1, 2]" as {"k": "200", "strengths": "[1, 2]"}."""
    pairs = (setting.partition("=") for setting in re.split(r",\s*(?=\w+=)", str(text)))
    return {key.strip(): value.strip() for key, _, value in pairs if key.strip()}


def get_shared_settings(row: Mapping[Any, Any]) -> str:
    """The settings that all of a column must have."""
    free = FREE_SETTINGS.get(row["probe"], frozenset())
    return ", ".join(f"{key}={value}" for key, value in parse_settings(row["settings"]).items() if key not in free)


def check_same_kind(rows: pd.DataFrame, where: str, asked: str | None = None) -> None:
    """Raises `ConfigError` if the rows are not of one kind, but for what may differ. `asked`: settings that were typed
    already, to be typed again beside those that choose."""
    trained, own_encoder = is_trained(rows), has_own_encoder(rows)
    everywhere = trained | True
    checked = {"recipe": trained, "backbone": ~own_encoder, "image_size": everywhere, "epochs": trained}
    checked |= {"split": everywhere, "split_digest": everywhere, "storage_size": trained}
    differing = [key for key, among in checked.items() if rows.loc[among, key].nunique() > 1]
    if "split" in differing and "split_digest" in differing:
        differing.remove("split_digest")  # other kinds of split have others
    if "storage_size" in differing and {"recipe", "image_size"} & set(differing):
        differing.remove("storage_size")  # which depends on them
    if len(differing) > 1:
        raise_several_differences(differing, rows[checked[differing[0]]], where)
    for key in differing:
        check_single_value(key, rows[checked[key]], where)
    shared = rows.assign(settings=[get_shared_settings(row) for row in rows.to_dict("records")])
    for _, same_probe in shared.groupby("probe"):
        check_single_value("settings", same_probe, where, asked)


def check_single_value(key: str, rows: pd.DataFrame, where: str, asked: str | None = None) -> None:
    """Raises `ConfigError` with the values and the first run of each, if the rows have not all the same `key`."""
    if rows[key].nunique() < 2:
        return
    firsts = rows.drop_duplicates(key).sort_values(key)
    values = [format_typed_value(key, value) for value in firsts[key]]
    if key == "settings":
        values = list_distinguishing_settings([parse_settings(value) for value in values])
    named = ", ".join(f"{value or 'no others'} ({run})" for value, run in zip(values, firsts["run"], strict=True))
    before = f"{asked.replace(', ', ',')}," if key == "settings" and asked else ""
    each = [f"{before}{value}" for value in dict.fromkeys(values) if value]  # an older result may lack a setting
    typed = " or ".join(f"'{key}={value}'" if " " in value else f"{key}={value}" for value in each)
    raise ConfigError(f"{where}: {key} differs, got {named}, wanted one in a column; type {typed}")


def raise_several_differences(keys: Sequence[str], rows: pd.DataFrame, where: str) -> None:
    """Raises `ConfigError` for results that differ in several keys, with what is to be typed of all of them at once."""
    firsts = rows.drop_duplicates(keys[0]).sort_values(keys[0]).to_dict("records")
    typed = " or ".join(
        " ".join(f"{key}={format_typed_value(key, row[key])}" for key in keys if not pd.isna(row[key]))
        for row in firsts
    )
    named = ", ".join(str(row["run"]) for row in firsts)
    raise ConfigError(
        f"{where}: {', '.join(keys[:-1])} and {keys[-1]} differ, as between {named}, wanted one of each in a column; "
        f"type {typed}"
    )


def format_typed_value(key: str, value: Any) -> str:
    return str(value)[:8] if key == "split_digest" else str(value)


def check_seeds_alike(rows: pd.DataFrame, what: str) -> None:
    """Raises `ConfigError` if an entry's seeds were trained in other ways: their mean has no meaning."""
    made = rows[rows["made"].notna()].drop_duplicates("made")
    if len(made) > 1:
        one, other = (Run(Path(result).parent) for result in made["result"].iloc[:2])
        differing = list_identity_differences(one.read().identity, other.read().identity)
        raise ConfigError(
            f"{what}: its seeds were not trained alike: {one.name} and {other.name} differ in {', '.join(differing)}; "
            "move one of them out of output_dir"
        )


def list_identity_differences(one: RunIdentity, other: RunIdentity) -> list[str]:
    """What differs between two runs, but for seed and starting weights: "learning_rate (0.1, 0.01)"."""
    own, others = (
        to_json(each) | to_json(each.settings) | {"settings": None} for each in (one.drop_seed(), other.drop_seed())
    )
    return [
        f"{key} ({own.get(key)}, {others.get(key)})"
        for key in dict.fromkeys([*own, *others])
        if own.get(key) != others.get(key)
    ]


def list_distinguishing_settings(every: list[dict[str, str]]) -> list[str]:
    """For each of several settings what to type for it: where they come from, or another one key if that will do, else
    all that not all share. Those of one origin are separated by what is typed next."""
    origins = [settings.get(SETTINGS_ORIGIN) for settings in every]
    if None not in origins and len(set(origins)) > 1:
        return [f"{SETTINGS_ORIGIN}={origin}" for origin in origins]
    for key in every[0]:
        values = [settings.get(key) for settings in every]
        if None not in values and len(set(values)) == len(values):
            return [f"{key}={value}" for value in values]
    common = set.intersection(*(set(settings.items()) for settings in every))
    return [", ".join(f"{key}={value}" for key, value in each.items() if (key, value) not in common) for each in every]


def check_no_duplicates(rows: pd.DataFrame, what: str, asked: str | None = None) -> None:
    """Raises `ConfigError` if an entry has two results of a batch size and seed. `asked`: as above."""
    for _, same in rows.groupby(["batch_size", "seed"], dropna=False):
        if len(same) == 1:
            continue
        batch_size, seed = same["batch_size"].iloc[0], same["seed"].iloc[0]
        size = "" if pd.isna(batch_size) else f", batch size {batch_size}"
        where = f"{what}{size}, seed {seed} is there twice"
        # Settings that were tuned are a run's own: to ask for one's rate would leave the other runs out.
        tuned_again = all(parse_settings(text).get(SETTINGS_ORIGIN) == TUNED_ORIGIN for text in same["settings"])
        for key in ("precision", "recipe", "backbone", *([] if tuned_again else ["settings"])):
            check_single_value(key, same, where, asked)
        first, second = same["result"].iloc[:2]
        raise ConfigError(f"{where}: {first} and {second}; move one of the two out of output_dir")
