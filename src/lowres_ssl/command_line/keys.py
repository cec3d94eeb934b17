"""Which keys a config has against those that its schema knows."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from enum import EnumType
from types import UnionType
from typing import Any, cast, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf


def unknown_keys(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Keys that the schema does not know: `+key=value` adds them, and nothing would read them."""
    schema = OmegaConf.get_type(node)
    assert schema is not None
    assert is_dataclass(schema)
    known = [field.name for field in fields(schema)]
    for key in map(str, node):
        if key not in known:
            yield f"{prefix}{key}"
        elif not OmegaConf.is_missing(node, key) and is_dataclass(OmegaConf.get_type(node, key)):
            yield from unknown_keys(node[key], f"{prefix}{key}.")


def known_keys(schema: type, prefix: str = "") -> list[str]:
    """Every key of a schema, those of the sections in it with a dot."""
    keys = []
    for name, hint in get_type_hints(schema).items():
        keys.append(f"{prefix}{name}")
        for section in () if get_origin(hint) is dict else (hint, *get_args(hint)):  # a dict's keys are not known
            if is_dataclass(section):
                keys += known_keys(cast(type, section), f"{prefix}{name}.")
    return keys


def type_of(schema: type, key: str) -> Any:
    """The type that a schema has for a key, its section's with dots; `Any` where it does not say."""
    found: Any = schema
    for name in key.split("."):
        found = get_type_hints(found).get(name, Any) if is_dataclass(found) else Any
    return found


def may_be(kind: type, schema: type, key: str) -> bool:
    """Whether a key takes a `kind`, as far as its schema says; what stands in a dict may be anything."""
    found = type_of(schema, key)
    known = get_args(found) if isinstance(found, UnionType) else (found,)
    return any(each is Any or (get_origin(each) or each) in (kind, dict) for each in known)


def choices_of(schema: type, key: str) -> list[str]:
    """The words of a key that takes one of a few; none of another."""
    found = type_of(schema, key)
    return list(found.__members__) if isinstance(found, EnumType) else []


def is_deleted(cfg: DictConfig, key: str) -> bool:
    """Whether `~key` took the key out of a section that is there."""
    section, _, name = key.rpartition(".")
    node = OmegaConf.select(cfg, section) if section else cfg
    return isinstance(node, DictConfig) and not node._is_none() and name not in node.keys()  # noqa: SIM118 - `in node` is false for a missing value too
