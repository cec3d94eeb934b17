"""Replace names of patients and images by keyed hashes: results show what belongs together, not whose it is.

The key lies beside the images, readable by its owner alone: with the images one finds the same hashes again, with only
the results one cannot try names out.
"""

import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from lowres_ssl.errors import DataError
from lowres_ssl.io.atomic import atomic_write
from lowres_ssl.io.locks import lock

KEY_FILE = ".lowres-ssl-key"
KEY_BYTES = 32


@dataclass(frozen=True)
class Pseudonyms:
    """Hash names to 64 bits under one key: enough that no two images of a set share a hash."""

    key: bytes = field(repr=False)

    def patient(self, group: str | None) -> str:
        """Hash a patient; "" where none is known."""
        return self.hash_name("patient", group) if group else ""

    def image(self, id: str) -> str:
        return self.hash_name("image", id)

    def hash_name(self, kind: str, name: str) -> str:
        text = name.encode("utf-8", "surrogateescape")
        return f"{kind}-{hashlib.blake2b(text, key=self.key, digest_size=8, person=kind.encode()).hexdigest()}"


def make_pseudonyms(root: Path, store_dir: Path) -> Pseudonyms:
    """Load the key of the set in the folder `root`; make one if there is none yet.

    It is kept in `root`, or in `store_dir` where `root` cannot be written to, or holds a key that only another user may
    read. Raises `DataError` if neither can be written to, or a key is damaged.
    """
    known = find_pseudonyms(root, store_dir)
    if known is not None:
        return known
    reason = ""
    for place in (root / KEY_FILE, store_dir / KEY_FILE):
        try:
            return Pseudonyms(make_key(place))
        except OSError as error:
            reason = error.strerror or str(error)
    raise DataError(
        f"{store_dir / KEY_FILE}: the key that hides patients' names cannot be kept there ({reason}); "
        "name another place with store_dir=FOLDER"
    )


def find_pseudonyms(root: Path, store_dir: Path) -> Pseudonyms | None:
    """Load the key of the set in the folder `root`; None if it has none yet. Raises `DataError` if it is damaged."""
    for place in (root / KEY_FILE, store_dir / KEY_FILE):
        try:
            return Pseudonyms(read_key(place))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
    return None


def read_key(place: Path) -> bytes:
    """Read a key and check it: with one digit changed, no hash would fit any more. Raises `OSError` or `DataError`."""
    try:
        first, *rest = place.read_text(encoding="ascii").splitlines()
        key = bytes.fromhex(first)
    except ValueError:
        key, rest = b"", []
    if rest != [format_checksum(key)]:
        raise DataError(
            f"{place}: not a key, or a damaged one; take it from a backup, or remove it and score again with force=true"
        )
    return key


def format_checksum(key: bytes) -> str:
    return f"sha256 {hashlib.sha256(key).hexdigest()}"


def make_key(place: Path) -> bytes:
    """Make a key at `place`; of several processes at once, the first one's counts."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with lock(place, "key of the hashed names"):
        if not place.exists():
            key = secrets.token_bytes(KEY_BYTES)
            with atomic_write(place) as file:
                os.fchmod(file.fileno(), 0o600)  # for its owner alone
                file.write(f"{key.hex()}\n{format_checksum(key)}\n".encode())
    return read_key(place)
