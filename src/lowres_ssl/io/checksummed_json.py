"""Read and write stored JSON: one typed reader and writer for every record, versioned and sealed with SHA-256.

A record is a frozen dataclass with `VERSION`, the number of its format. To change a format, change the class and raise
its number; the changelog names the command that has to be typed again.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from pathlib import Path
from types import NoneType, UnionType
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Literal,
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
    """Hex SHA-256 of plain data: the same for the same keys and values, in whatever order the keys came."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def hash_file(path: Path, repair: str = "name a file that can be read") -> str:
    """Hex SHA-256 of a file's bytes. Raises `CheckpointError`, which ends with `repair`, if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {repair}") from error


def write_record(path: Path, record: Record) -> None:
    """Write a record, its version first and its checksum last. Raises `ValueError` for a number JSON does not have."""
    content = {VERSION_KEY: record.VERSION, **to_json(record)}
    write_json(path, {**content, CHECKSUM_KEY: hash_content(content)})


def read_record(path: Path, schema: type[AnyRecord], repair: str) -> AnyRecord | None:
    """Read a file that `write_record` wrote; None if there is none.

    Raises `CheckpointError`, which ends with `repair`, for another version or a value of another type; `DamagedError`
    for a file that is not as it was written.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("not a set of keys")
        check_version(content.get(VERSION_KEY), schema.VERSION, path, repair)
        if content.pop(CHECKSUM_KEY, None) != hash_content(content):
            raise ValueError("its content does not fit its checksum")
    except FileNotFoundError:
        return None
    except OSError as error:  # it may be whole all the same
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {repair}") from error
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path}: cannot be read ({error}); {repair}") from error
    try:
        return cast(AnyRecord, parse_json(schema, content))
    except TypeError as error:
        raise CheckpointError(f"{path}: {error}; {repair}") from error


def check_version(got: object, wanted: int, path: Path, repair: str) -> None:
    """Raises `CheckpointError` unless a file of version `got` can be read here."""
    if type(got) is not int or got != wanted:
        newer = "a newer" if type(got) is int and got > wanted else "another"
        raise CheckpointError(f"{path}: got version {got}, wanted {wanted}, written by {newer} lowres-ssl; {repair}")


def to_json(value: Any) -> Any:
    """A dataclass as nested dicts, lists, texts and numbers; an enum's member as its name."""
    if dataclasses.is_dataclass(value):
        return {each.name: to_json(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(inner) for inner in value]
    return value.name if isinstance(value, Enum) else str(value) if isinstance(value, Path) else value


def parse_json(hint: Any, value: Any, key: str = "") -> Any:
    """`value`, as JSON has it, as the type `hint`. Raises `TypeError`, which names the key, if it is none."""
    if hint is Any:
        return value
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if dataclasses.is_dataclass(kind):
        if isinstance(value, dict):
            return cast(type, kind)(**dict(parse_fields(cast(type, kind), value, key)))
    elif kind in (Union, UnionType):
        return parse_union(inner, value, key)
    elif kind is Literal:
        if value in inner:
            return value
    elif kind in (dict, Mapping):
        if isinstance(value, dict):
            return {name: parse_json(inner[1], each, f"{key}.{name}") for name, each in value.items()}
    elif kind in (list, tuple, Sequence):
        if isinstance(value, list):
            if inner[0] in (int, str) and inner[-1] in (inner[0], Ellipsis) and {*map(type, value)} <= {inner[0]}:
                return list(value) if kind is list else tuple(value)  # of thousands of images, so quickly
            wanted = inner if kind is tuple and inner[-1] is not Ellipsis else [inner[0]] * len(value)
            if len(wanted) == len(value):
                return (list if kind is list else tuple)(
                    parse_json(each, one, key) for each, one in zip(wanted, value, strict=True)
                )
    elif issubclass(kind, Enum):
        if value in kind.__members__:
            return kind[value]
    elif kind is float and type(value) is int:
        return float(value)
    elif type(value) is kind or (kind is Path and isinstance(value, str)):
        return kind(value) if kind is Path else value
    raise TypeError(f"{key or 'content'}: got {value!r:.60}, wanted {getattr(hint, '__name__', hint)}")


def parse_union(kinds: Sequence[Any], value: Any, key: str) -> Any:
    """`value` as the first of these types that it fits; of several dataclasses that with the most of its keys."""
    if value is None and NoneType in kinds:
        return None
    kinds = [kind for kind in kinds if kind is not NoneType]
    if isinstance(value, dict) and all(map(dataclasses.is_dataclass, kinds)):
        kinds = [max(kinds, key=lambda kind: sum(each.name in value for each in dataclasses.fields(kind)))]
    *others, last = kinds
    for kind in others:
        try:
            return parse_json(kind, value, key)
        except TypeError:
            continue
    return parse_json(last, value, key)


def parse_fields(schema: type, content: Mapping[str, Any], key: str) -> Iterator[tuple[str, Any]]:
    """Each field of a dataclass that the content has. Raises `TypeError` for one that is missing and has no default."""
    for name, hint, is_required in list_fields(schema):
        if name in content:
            yield name, parse_json(hint, content[name], f"{key}.{name}".lstrip("."))
        elif is_required:
            raise TypeError(f"{f'{key}.{name}'.lstrip('.')}: is missing")


@lru_cache
def list_fields(schema: type) -> list[tuple[str, Any, bool]]:
    """Name, type, and whether the field must be there, of each field of a dataclass."""
    hints, missing = get_type_hints(schema), dataclasses.MISSING
    return [
        (each.name, hints[each.name], each.default in (missing, ABSENT) and each.default_factory is missing)
        for each in dataclasses.fields(schema)
    ]
