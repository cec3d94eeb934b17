"""The command that makes a stored run again: its overrides, found by comparing its config with what the files say."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from functools import lru_cache, reduce
from operator import getitem
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from lowres_ssl.command_line.overrides import PATH_KEYS, quoted
from lowres_ssl.config import TUNABLE, Experiment
from lowres_ssl.schemas.experiment import ORIGIN, TYPED

# How a run was asked for, not what it is; and the folder of outputs, which is the one that is read now.
NOT_TYPED = frozenset(["force", "dry_run", "evaluate", "picture", "output_dir", "store_dir", "table_1", "tracker"])
CAUSES = ("data_dir", "dataset.name")  # other values are interpolated from these
NEEDED = frozenset(
    ["dataset", "images", "backbone", "method", "probe", "recipe", "data_dir", "output_dir", "store_dir"]
)
PLAIN = re.compile(r"(?!(?:null|true|false|inf|nan|none)$)[A-Za-z_][A-Za-z0-9_./-]*", re.IGNORECASE)
FOLDER = "FOLDER"  # stands for a path that is not told


def typed_again(stored: Mapping[str, Any], *, trained: bool, paths: bool = True) -> list[str] | None:
    """The words after `lowres-ssl` that compose this config (as `run.json` has it) under what is in `conf/` now.

    None where they cannot be known: a choice has no file any more, or it was made beside another run. Of an untrained
    encoder nothing is told that is about training. `paths=False`: no folder is told. Only within a command, since it
    asks Hydra for what that was started with.
    """
    command = "pretrain" if "epochs" in stored else "evaluate"
    if not stored.keys() >= NEEDED:
        return None
    choices = choices_of(command, stored)
    if choices is None:
        return None
    composed = base(command, tuple(choices)).copy()
    OmegaConf.set_struct(composed, False)
    differing = []
    for key in CAUSES:
        value = reduce(getitem, key.split("."), stored)
        if OmegaConf.select(composed, key) != value:
            differing.append((key, value, True))
        OmegaConf.update(composed, key, value)
    for key in ("output_dir", "store_dir"):
        OmegaConf.update(composed, key, stored[key])
    plain: Any = OmegaConf.to_container(composed, resolve=True, enum_to_str=True)
    differing += differences(stored, plain)
    about_encoder = {field.name for field in fields(Experiment)}
    return [
        command,
        *choices,
        *(
            f"{'' if there else '+'}{key}={FOLDER if value and key in PATH_KEYS and not paths else written(value)}"
            for key, value, there in differing
            if trained or command == "evaluate" or key.split(".")[0] in about_encoder
        ),
    ]


def choices_of(command: str, stored: Mapping[str, Any]) -> list[str] | None:
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
    return words if base(command, tuple(words)).images.name == kind else [*words, f"images={kind}"]


@lru_cache(maxsize=64)
def base(command: str, choices: tuple[str, ...]) -> DictConfig:
    """What the files say, interpolations as they are. Not to be changed."""
    return compose(command, overrides=list(choices))


def differences(stored: Mapping[str, Any], composed: Mapping[str, Any]) -> Iterator[tuple[str, Any, bool]]:
    """Each key, with its dots, whose value is another in the run's config; that value; whether the key is there."""
    for key, value in stored.items():
        if key in NOT_TYPED:
            continue
        there = key in composed
        other = composed.get(key)
        if isinstance(value, dict) and isinstance(other, dict):
            for below, own, known in differences(*as_typed(value, other)):
                yield f"{key}.{below}", own, known
        elif not there or value != other:
            yield key, value, there


def as_typed(stored: dict[str, Any], composed: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both as they are, but for a linear probe whose settings "were typed": that they were shows only if they are."""
    if stored.get(ORIGIN) != TYPED:
        return stored, composed
    untold = dict.fromkeys(TUNABLE)
    return {key: value for key, value in stored.items() if key != ORIGIN}, composed | untold


def written(value: Any) -> str:
    """A value in Hydra's grammar."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) else quoted(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{written(own)}" for key, own in value.items()) + "}"
    return "[" + ",".join(map(written, value)) + "]" if isinstance(value, list) else repr(value)
