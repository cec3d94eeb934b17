"""Choose stored results by what is typed, and explain a name or a setting that no result has."""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from typing import Any

import pandas as pd
from hydra.core.global_hydra import GlobalHydra

from lowres_ssl.config.command_schemas import FiltersConfig
from lowres_ssl.config.experiment_schema import SETTINGS_ORIGIN, SETTINGS_ORIGINS
from lowres_ssl.data.splits import SPLIT_STRATEGIES
from lowres_ssl.errors import ConfigError, did_you_mean
from lowres_ssl.runs.run import CLASSIFIER_PROBE

# What the paper's Table 1 chooses for each method and data set; the rest of a probe's settings are the column's.
FREE_SETTINGS = {"linear": frozenset(["batch_size", "learning_rate"])}
# Filters that are no value which a column of the index has to have.
SPECIAL_FILTERS = frozenset(["entry", "seed", "untrained_seed", "split_digest", "settings"])
NAME_FILTERS = ("dataset", "probe", "recipe", "backbone", "optimiser", "split", "precision")
# A name of these may have no choice and come with the next run: "dcl from imagenet", a model of timm.
OPEN_FILTERS = frozenset(["entry", "backbone"])
# What may be asked for before there is a result of it, beside the choices that have a file.
FIXED_CHOICES = {"split": tuple(SPLIT_STRATEGIES), "precision": ("fp32", "bf16", "fp16"), "probe": (CLASSIFIER_PROBE,)}
SEE_RUNS_HINT = "; see what there is with lowres-ssl runs"


def is_trained(frame: pd.DataFrame) -> "pd.Series[bool]":
    return frame["batch_size"].notna()


def has_own_encoder(frame: pd.DataFrame) -> "pd.Series[bool]":
    """Find which rows are what they are under any `backbone`."""
    return (frame["entry"] == "trivial") | frame["entry"].astype(str).str.startswith("pretrained ")


def parse_settings(text: object) -> dict[str, str]:
    """Parse "k=200, strengths=[1, 2]" as {"k": "200", "strengths": "[1, 2]"}."""
    pairs = (setting.partition("=") for setting in re.split(r",\s*(?=\w+=)", str(text)))
    return {key.strip(): value.strip() for key, _, value in pairs if key.strip()}


def format_settings(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def get_shared_settings(row: Mapping[Any, Any]) -> str:
    """Get the settings that all of a column must have."""
    free = FREE_SETTINGS.get(row["probe"], frozenset())
    return format_settings({key: value for key, value in parse_settings(row["settings"]).items() if key not in free})


def count_settings(rows: pd.DataFrame) -> dict[str, int]:
    """Count the shared settings of results by one probe, each with how many have them: the most first, of equals by
    name."""
    counts = Counter(get_shared_settings(row) for row in rows.to_dict("records"))
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def list_differing_settings(texts: Sequence[str]) -> list[str]:
    """List, of each of several settings ("k=5, vote=uniform") those that not all of them have."""
    every = [parse_settings(text) for text in texts]
    common = set.intersection(*(set(settings.items()) for settings in every))
    return [format_settings(dict(pair for pair in each.items() if pair not in common)) for each in every]


def format_settings_override(settings: str) -> str:
    """Format what is typed to choose results with these settings."""
    return f"'settings={settings}'" if " " in settings else f"settings={settings}"


@dataclass
class ResultFilters(FiltersConfig):
    """Choose which results are meant; None: whatever there is, as long as it agrees.

    `recipe`, `epochs` and `optimiser` are of trained encoders, `backbone` not of those that bring one of their own
    ("trivial", "pretrained NAME"). `entry`: names or patterns ("pretrained *"), or one. `split_digest` is its
    beginning. `settings` is a list such as "k=200, vote=uniform"; it does not limit probes without such a setting.
    `seed` is one, or a list of them; `untrained_seed` likewise, instead of it for encoders that nothing was trained
    for.

    Raises `ConfigError` for entries that are no texts, and seeds that are no whole numbers.
    """

    def __post_init__(self) -> None:
        names: Any = () if self.entries is None else self.entries
        if not isinstance(names, Sequence) or not all(isinstance(each, str) for each in names):
            raise ConfigError(f"entry={self.entry}: wanted a name or a pattern, or a list such as entry=[dcl,random]")
        for key in ("seed", "untrained_seed"):
            asked = getattr(self, key)
            seeds = to_list(asked)
            if asked is not None and (not seeds or any(type(each) is not int for each in seeds)):
                raise ConfigError(f"{key}={asked}: wanted a whole number, or a list such as {key}=[0,1,2]")

    @property
    def entries(self) -> Sequence[str] | None:
        return (self.entry,) if isinstance(self.entry, str) else self.entry

    def means(self, entry: str) -> bool:
        """Whether an entry is meant."""
        return self.entries is None or any(fnmatchcase(entry, pattern) for pattern in self.entries)

    def apply(self, frame: pd.DataFrame) -> pd.DataFrame:
        keep = pd.Series(True, index=frame.index)
        trained, own_encoder = is_trained(frame), has_own_encoder(frame)
        exempt = {"recipe": ~trained, "epochs": ~trained, "optimiser": ~trained, "backbone": own_encoder}
        for key in {field.name for field in fields(self)} - SPECIAL_FILTERS:
            if (wanted := getattr(self, key)) is not None:
                same = frame[key].eq(wanted).fillna(False).astype(bool)
                keep &= same | exempt[key] if key in exempt else same
        keep &= frame["entry"].map(lambda entry: self.means(str(entry))).astype(bool)
        for seeds, among in ((self.seed, trained | (self.untrained_seed is None)), (self.untrained_seed, ~trained)):
            if seeds is not None:
                keep &= frame["seed"].isin(to_list(seeds)) | ~among
        if self.split_digest is not None:
            keep &= frame["split_digest"].astype(str).str.startswith(self.split_digest)
        if self.settings is not None:
            asked = parse_settings(self.settings)
            keep &= frame["settings"].map(lambda text: matches_settings(parse_settings(text), asked)).astype(bool)
        return frame[keep]


def to_list(asked: int | Sequence[int] | None) -> list[int]:
    return list(asked) if isinstance(asked, Sequence) else [] if asked is None else [asked]


def matches_settings(settings: Mapping[str, str], asked: Mapping[str, str]) -> bool:
    return all(settings[key] == value for key, value in asked.items() if key in settings)


def explain_unknown_names(filters: ResultFilters, frame: pd.DataFrame) -> list[str]:
    """List a line for each name or setting that was typed and that no row of the index has, with those that there are.

    Raises `ConfigError` for a name that no choice stands for either, with the nearest one (for entries, if that is so
    of all), and for a setting that no result has. Without results the names of `OPEN_FILTERS` are not refused, since a
    run could still get any of them, nor a data set that is not called nearly like a choice. Only within a command,
    since Hydra knows the choices.
    """
    notes = []
    typed = {key: [name] for key in NAME_FILTERS if (name := getattr(filters, key)) is not None}
    for key, names in ({"entry": list(filters.entries or ())} | typed).items():
        known = sorted(map(str, set(frame[key].dropna())))
        unknown = [name for name in names if not any(fnmatchcase(each, name) for each in known)]
        choices = list_choices(key)
        is_open = frame.empty and key in OPEN_FILTERS
        refused = not is_open and len(unknown) == len(names) and not any(name in choices for name in names)
        for name in unknown:
            line = f"{key}={name}: no stored result has it; there is {', '.join(known) or 'none at all'}"
            near = did_you_mean(name, [*known, *choices], f"{key}={{}}")
            # The name of a set need not be that of its config.
            if refused and (near or not (frame.empty and key == "dataset")):
                there = f"; wanted one of {', '.join(sorted(choices))}" if frame.empty else SEE_RUNS_HINT
                raise ConfigError(line + (near or there))
            notes.append(line)
    return notes + explain_unknown_settings(filters, frame)


def list_choices(key: str) -> Collection[str]:
    """List what may be asked for by a filter, whether there is a result of it or not."""
    group = "method" if key == "entry" else key
    return *FIXED_CHOICES.get(key, ()), *GlobalHydra.instance().config_loader().get_group_options(group)


def explain_unknown_settings(filters: ResultFilters, frame: pd.DataFrame) -> list[str]:
    """List the lines of `explain_unknown_names` for the probes' settings."""
    notes = []
    stored = [parse_settings(text) for text in frame["settings"].dropna()]
    keys = sorted({key for settings in stored for key in settings})
    for key, value in parse_settings(filters.settings or "").items():
        known = sorted({each[key] for each in stored if key in each}, key=lambda text: (len(text), text))
        if keys and not known:
            there = ", ".join(keys)
            raise ConfigError(f"settings={key}=...: no stored result has such a setting; there is {there}")
        if value in known or not known:
            continue
        line = f"settings={key}={value}: no stored result has it; there is {', '.join(known)}"
        if key == SETTINGS_ORIGIN and value not in SETTINGS_ORIGINS:
            raise ConfigError(line + (did_you_mean(value, SETTINGS_ORIGINS, f"settings={key}={{}}") or SEE_RUNS_HINT))
        notes.append(line)
    return notes
