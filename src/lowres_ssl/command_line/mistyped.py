"""Names typed as filters that nothing has: no stored result, and no file that could make one."""

from fnmatch import fnmatchcase
from importlib.resources import files
from importlib.resources.abc import Traversable

import pandas as pd

from lowres_ssl.data.splits import KINDS as SPLITS
from lowres_ssl.errors import ConfigError, did_you_mean
from lowres_ssl.own_data.own_conf import own_conf
from lowres_ssl.results.agreement import settings_of
from lowres_ssl.results.selection import Filters
from lowres_ssl.runs import END_TO_END
from lowres_ssl.schemas.experiment import ORIGIN, ORIGINS

# What may be asked for before there is a result of it, beside the choices that have a file.
WITHOUT_FILE = {"split": frozenset(SPLITS), "precision": frozenset(["fp32", "bf16", "fp16"]), "probe": {END_TO_END}}
SEE = "; see what there is with lowres-ssl runs"
NAMES = ("dataset", "probe", "recipe", "backbone", "split", "precision")


def choice_file(group: str, name: str) -> Traversable | None:
    """The file that `group=name` chooses; ours goes before one's own. None if there is none."""
    places: list[Traversable] = [files("lowres_ssl.conf").joinpath(group), own_conf() / group]
    found = [place.joinpath(f"{name}.yaml") for place in places]
    return next((file for file in found if file.is_file()), None)


def heard_of(filters: Filters, frame: pd.DataFrame) -> list[str]:
    """A line for each name that was typed and that no row of the ledger has, with those that there are.

    Raises `ConfigError` for one that no choice stands for either, with the nearest stored one; for entries, if that is
    so of all. Without results nothing is refused: there is nothing to compare with.
    """
    notes = []
    typed = [("entry", entry) for entry in filters.entries or ()]
    typed += [(key, name) for key in NAMES if (name := getattr(filters, key)) is not None]
    known_entries = sorted(set(frame["entry"].dropna()))
    one_entry = any(has(known_entries, entry) or can_be_made("method", entry) for entry in filters.entries or ())
    for key, name in typed:
        known = known_entries if key == "entry" else sorted(set(frame[key].dropna()))
        if has(known, name) if key == "entry" else name in known:
            continue
        line = f"{key}={name}: no stored result has it; there is {', '.join(known) or 'none at all'}"
        if not frame.empty and not (one_entry if key == "entry" else can_be_made(key, name)):
            raise ConfigError(line + (did_you_mean(name, known, f"{key}={{}}") or SEE))
        notes.append(line)
    return notes + unheard_of_settings(filters, frame)


def unheard_of_settings(filters: Filters, frame: pd.DataFrame) -> list[str]:
    """As `heard_of`, of the probes' settings."""
    notes = []
    meant = frame if filters.probe is None else frame[frame["probe"] == filters.probe]
    stored = [settings_of(text) for text in meant["settings"].dropna()]
    for key, value in settings_of(filters.settings or "").items():
        known = sorted({settings[key] for settings in stored if key in settings}, key=lambda text: (len(text), text))
        if not known or value in known:
            continue
        line = f"settings={key}={value}: no stored result has it; there is {', '.join(known)}"
        if key == ORIGIN and value not in ORIGINS:
            raise ConfigError(line + (did_you_mean(value, ORIGINS, f"settings={key}={{}}") or SEE))
        notes.append(line)
    return notes


def has(known: list[str], pattern: str) -> bool:
    return any(fnmatchcase(each, pattern) for each in known)


def can_be_made(key: str, name: str) -> bool:
    return name in WITHOUT_FILE.get(key, ()) or choice_file(key, name) is not None
