"""Names typed as filters that nothing has: no stored result, and no file that could make one."""

from fnmatch import fnmatchcase
from importlib.resources import files
from importlib.resources.abc import Traversable

import pandas as pd

from lowres_ssl.data.splits import KINDS as SPLITS
from lowres_ssl.errors import ConfigError, did_you_mean
from lowres_ssl.own_conf import own_conf
from lowres_ssl.runs import END_TO_END
from lowres_ssl.selection import Filters

# What may be asked for before there is a result of it, beside the choices that have a file.
WITHOUT_FILE = {"split": frozenset(SPLITS), "precision": frozenset(["fp32", "bf16", "fp16"]), "probe": {END_TO_END}}
NAMES = ("dataset", "probe", "recipe", "backbone", "split", "precision")


def choice_file(group: str, name: str) -> Traversable | None:
    """The file that `group=name` chooses; ours goes before one's own. None if there is none."""
    places: list[Traversable] = [files("lowres_ssl.conf").joinpath(group), own_conf() / group]
    found = [place.joinpath(f"{name}.yaml") for place in places]
    return next((file for file in found if file.is_file()), None)


def refuse_mistyped(filters: Filters, frame: pd.DataFrame) -> None:
    """Raises `ConfigError` for a name that no row of the ledger has and no choice either, with the nearest stored one;
    for entries, if that is so of all. Without results nothing is refused: there is nothing to compare with.
    """
    if frame.empty:
        return
    for key in NAMES:
        name = getattr(filters, key)
        known = sorted(set(frame[key].dropna()))
        if name is not None and name not in known and not can_be_made(key, name):
            raise ConfigError(mistyped(key, name, known))
    entries, known = list(filters.entries or ()), sorted(set(frame["entry"].dropna()))
    there = [any(fnmatchcase(each, entry) for each in known) or can_be_made("method", entry) for entry in entries]
    if entries and not any(there):
        raise ConfigError(mistyped("entry", entries[0], known))


def can_be_made(key: str, name: str) -> bool:
    return name in WITHOUT_FILE.get(key, ()) or choice_file(key, name) is not None


def mistyped(key: str, name: str, known: list[str]) -> str:
    hint = did_you_mean(name, known, f"{key}={{}}") or "; see what there is with lowres-ssl runs"
    return f"{key}={name}: no stored result has it; there is {', '.join(known) or 'none at all'}{hint}"
