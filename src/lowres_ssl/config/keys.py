"""Which keys a config has against those that its schema knows."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from enum import EnumType
from importlib.resources import files
from types import UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

import yaml
from omegaconf import DictConfig, Node, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from omegaconf.resolvers import oc

from lowres_ssl.config.overrides import COMMAND_FILTERS, COMMAND_INPUTS
from lowres_ssl.errors import ConfigError, did_you_mean


def find_unknown_keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Keys that the schema does not know: `+key=value` adds them, and nothing would read them."""
    schema = OmegaConf.get_type(node)
    assert schema is not None
    assert is_dataclass(schema)
    known = [field.name for field in fields(schema)]
    for key in map(str, node):
        if key not in known:
            yield f"{prefix}{key}"
        elif not OmegaConf.is_missing(node, key) and is_dataclass(OmegaConf.get_type(node, key)):
            yield from find_unknown_keys(node[key], f"{prefix}{key}.")


def list_schema_keys(schema: type, prefix: str = "") -> list[str]:
    """Every key of a schema, those of the sections in it with a dot."""
    keys = []
    for name, hint in get_type_hints(schema).items():
        keys.append(f"{prefix}{name}")
        for section in () if get_origin(hint) is dict else (hint, *get_args(hint)):  # a dict's keys are not known
            if is_dataclass(section):
                keys += list_schema_keys(cast(type, section), f"{prefix}{name}.")
    return keys


def get_key_type(schema: type, key: str) -> Any:
    """The type that a schema has for a key, its section's with dots; `Any` where it does not say."""
    found: Any = schema
    for name in key.split("."):
        found = get_type_hints(found).get(name, Any) if is_dataclass(found) else Any
    return found


def accepts_type(kind: type, schema: type, key: str) -> bool:
    """Whether a key takes a `kind`, as far as its schema says; what stands in a dict may be anything."""
    found = get_key_type(schema, key)
    known = get_args(found) if isinstance(found, UnionType) else (found,)
    return any(each is Any or (get_origin(each) or each) in (kind, dict) for each in known)


def list_enum_values(schema: type, key: str) -> list[str]:
    """The words of a key that takes one of a few; none of another."""
    found = get_key_type(schema, key)
    return list(found.__members__) if isinstance(found, EnumType) else []


def is_key_deleted(cfg: DictConfig, key: str) -> bool:
    """Whether `~key` took the key out of a section that is there."""
    section, _, name = key.rpartition(".")
    node = OmegaConf.select(cfg, section) if section else cfg
    return isinstance(node, DictConfig) and not node._is_none() and name not in node.keys()  # noqa: SIM118 - `in node` is false for a missing value too


ENV_KEYS = ("data_dir", "output_dir", "store_dir", "folder")
ENV_RESOLVER = "oc.env"


@contextmanager
def restrict_env_lookups() -> Iterator[None]:
    """Within the block a config may be resolved. Raises `ConfigError` for one that looks up the environment elsewhere
    than for `PLACES`; what takes its value from those may do so.

    For the block alone: the resolver is OmegaConf's, and of every config of this process.
    """
    refused: list[str] = []

    def for_places(*arguments: Any, _node_: Node) -> str | None:
        key = _node_._get_full_key(None)
        if key in ENV_KEYS:
            return oc.env(*arguments)
        refused.append(f"{key}: got ${{{ENV_RESOLVER}:{arguments[0]}}}")
        raise ValueError(refused[0])

    OmegaConf.register_new_resolver(ENV_RESOLVER, for_places, replace=True)
    try:
        yield
    except OmegaConfBaseException:
        if not refused:
            raise
    finally:
        OmegaConf.register_new_resolver(ENV_RESOLVER, oc.env, replace=True)
    if refused:
        raise ConfigError(
            f"{refused[0]}, which would write the environment down with the results; wanted a plain value; only "
            f"{', '.join(ENV_KEYS)} may look it up"
        )


RESERVED_KEYS = frozenset(["defaults", "hydra"])


def suggest_key(key: str, known: Iterable[str], command: str) -> str:
    """; did you mean ...? - nothing if no key is close. `known`: those of the command's schema. What only a file of a
    group knows is known as well, and what is typed without its section."""
    section, _, last = key.rpartition(".")
    names = {*known, *COMMAND_FILTERS.get(command, ()), *COMMAND_INPUTS.get(command, ())}
    if section and section.split(".")[0] in names:
        names |= set(list_group_keys(section.split(".")[0]))
    beside = [name.rpartition(".")[2] for name in names if name.rpartition(".")[0] == section]
    if section and beside:
        return did_you_mean(last, sorted(beside), f"{section}.{{}}")
    close = get_close_matches(key, sorted(names), n=1, cutoff=0.75)
    within = close and (key == close[0] or key.startswith(f"{close[0]}."))
    return f"; did you mean {close[0]}?" if close and not within else ""


def list_group_keys(group: str) -> Iterator[str]:
    """The keys that the files of a group set: "method.temperature", "probe.knn.k"; none if there is no such group."""
    folder = files("lowres_ssl.conf").joinpath(group)
    if not group.isidentifier() or not folder.is_dir():
        return
    for path in folder.iterdir():
        if not path.name.endswith(".yaml"):
            continue
        text = path.read_text(encoding="utf-8")
        package = next((line.split()[2] for line in text.splitlines() if line.startswith("# @package ")), group)
        content = {name: value for name, value in yaml.safe_load(text).items() if name not in RESERVED_KEYS}
        yield from list_nested_keys(content, "" if package == "_global_" else f"{package}.")


def list_nested_keys(content: Mapping[str, Any], before: str) -> Iterator[str]:
    for name, value in content.items():
        yield f"{before}{name}"
        if isinstance(value, Mapping):
            yield from list_nested_keys(value, f"{before}{name}.")
