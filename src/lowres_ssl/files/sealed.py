"""JSON files that notice damage: beside what they say stands the hash of it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lowres_ssl.files.atomic import write_json

SEAL = "sha256"


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """As `write_json`, with the seal as the last key, in place of one that the content may have."""
    write_json(path, {**content, SEAL: seal_of(content)})


def unsealed(content: Any) -> dict[str, Any]:
    """What was written, from what was read. Raises `ValueError` if there is no seal, or it does not fit."""
    if not isinstance(content, dict):
        raise ValueError("not a set of keys")
    inner = {key: value for key, value in content.items() if key != SEAL}
    if content.get(SEAL) != seal_of(inner):
        raise ValueError("its content does not fit its checksum")
    return inner


def seal_of(content: Mapping[str, Any]) -> str:
    """Hex SHA-256 of the content as JSON holds it, in whatever order its keys are."""
    as_read = json.loads(json.dumps({key: value for key, value in content.items() if key != SEAL}, allow_nan=False))
    text = json.dumps(as_read, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
