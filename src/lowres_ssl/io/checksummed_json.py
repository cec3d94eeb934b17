"""Read and write stored JSON: one typed reader and writer for every record, versioned and sealed with SHA-256.

A record is a frozen dataclass with `VERSION`, the number of its format. To change a format, change the class and raise
its number; the changelog names the command that has to be typed again.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Protocol,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from lowres_ssl.errors import CheckpointError, DamagedError
from lowres_ssl.io.atomic import write_json

if TYPE_CHECKING:
    JSON: TypeAlias = bool | int | float | str | Sequence["JSON"] | Mapping[str, "JSON"] | None
else:
    JSON = Any  # a recursive name would have to be known wherever a field's type is looked up
Settings: TypeAlias = Mapping[str, JSON]
CHECKSUM_KEY, VERSION_KEY = "sha256", "version"
ABSENT = "???"  # the default of a config field that has none: OmegaConf's MISSING


class Record(Protocol):
    """A frozen dataclass that is stored as one JSON file."""

    VERSION: ClassVar[int]
    __dataclass_fields__: ClassVar[dict[str, Any]]


AnyRecord = TypeVar("AnyRecord", bound=Record)


def hash_content(content: JSON) -> str:
    """Compute the hex SHA-256 of plain data, whatever the order of its keys. Raises `ValueError` for NaN."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def hash_file(path: Path, repair: str = "name a file that can be read") -> str:
    """Compute the hex SHA-256 of a file. Raises `CheckpointError`, which ends with `repair`, if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {repair}") from error


def write_record(path: Path, record: Record) -> None:
    """Write a record, its version first and its checksum last. Raises `ValueError` for NaN and infinity."""
    content = {VERSION_KEY: record.VERSION, **to_json(record)}
    write_json(path, {**content, CHECKSUM_KEY: hash_content(content)})


def read_record(path: Path, schema: type[AnyRecord], repair: str) -> AnyRecord | None:
    """Read a file that `write_record` wrote; None if there is none.

    Raises `CheckpointError`, which ends with `repair`, for another version or a missing field; `DamagedError` for a
    file that is not as it was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        check_version(content.get(VERSION_KEY), schema.VERSION, path, repair)
        if content.pop(CHECKSUM_KEY, None) != hash_content(content):
            raise ValueError("its content does not fit its checksum")
    except FileNotFoundError:
        return None
    except OSError as error:  # it may be whole all the same
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {repair}") from error
    except ValueError as error:
        raise DamagedError(f"{path}: cannot be read ({error}); {repair}") from error
    try:
        return cast(AnyRecord, from_json(schema, content))
    except KeyError as error:
        raise CheckpointError(f"{path}: {error} is missing; {repair}") from error


def check_version(got: object, wanted: int, path: Path, repair: str) -> None:
    """Raise `CheckpointError` unless a file of version `got` can be read here."""
    if got != wanted:
        newer = "a newer" if isinstance(got, int) and got > wanted else "another"
        raise CheckpointError(f"{path}: got version {got}, wanted {wanted}, written by {newer} lowres-ssl; {repair}")


def to_json(value: Any) -> Any:
    """Convert a dataclass to nested dicts, lists, texts and numbers; an enum's member to its name."""
    if dataclasses.is_dataclass(value):
        return {each.name: to_json(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(inner) for inner in value]
    return value.name if isinstance(value, Enum) else str(value) if isinstance(value, Path) else value


def from_json(hint: Any, value: Any) -> Any:
    """Convert what `to_json` made of a value of type `hint` back. The checksum stands for its types: they are not
    checked. Raises `KeyError` for a missing field without a default."""
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if value is None or kind is Any:
        return value
    if kind in (Union, UnionType):
        kinds = [each for each in inner if each is not NoneType]
        if len(kinds) > 1:  # dataclasses: the one with the most of the keys
            kinds = [max(kinds, key=lambda each: sum(name in value for name, _, _ in list_fields(each)))]
        return from_json(kinds[0], value)
    if dataclasses.is_dataclass(kind):
        fields = [(name, own) for name, own, required in list_fields(cast(type, kind)) if required or name in value]
        return cast(type, kind)(**{name: from_json(own, value[name]) for name, own in fields})
    if kind in (dict, Mapping):
        return {name: from_json(inner[1], each) for name, each in value.items()}
    if kind in (list, tuple, Sequence):
        if kind is tuple and inner[-1] is not Ellipsis:
            return tuple(map(from_json, inner, value))
        own = value if inner[0] in (int, str) else [from_json(inner[0], each) for each in value]
        return own if kind is list else tuple(own)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind[value]
    return kind(value) if kind in (float, Path) else value


@lru_cache
def list_fields(schema: type) -> list[tuple[str, Any, bool]]:
    """List name, type, and whether the field must be there, of each field of a dataclass."""
    hints, missing = get_type_hints(schema), dataclasses.MISSING
    return [
        (each.name, hints[each.name], each.default in (missing, ABSENT) and each.default_factory is missing)
        for each in dataclasses.fields(schema)
    ]
