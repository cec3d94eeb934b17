"""What tells one content from another: hex SHA-256 of plain data and of files."""

import hashlib
import json
from pathlib import Path
from typing import Any

from lowres_ssl.errors import CheckpointError


def digest(content: Any) -> str:
    """Hex SHA-256 of plain data: the same for the same keys and values, in whatever order the keys came."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def file_hash(path: Path, repair: str = "name a file that can be read") -> str:
    """Hex SHA-256 of a file's bytes. Raises `CheckpointError`, which ends with `repair`, if it cannot be read."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror}); {repair}") from error
