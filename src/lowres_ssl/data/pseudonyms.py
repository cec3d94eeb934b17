"""Names of patients and images as keyed hashes: results tell what belongs together, not whose it is.

The key lies beside the images, readable by its owner alone, so that whoever has the images finds the same hashes again
and whoever has only the results cannot try names out.
"""

import hashlib
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from lowres_ssl.errors import DataError
from lowres_ssl.io.atomic import make_temp_file

KEY_FILE = ".lowres-ssl-key"
KEY_BYTES = 32


@dataclass(frozen=True)
class Pseudonyms:
    """Hashes of 64 bits under one key: far more than the images of a set, so that no two share one."""

    key: bytes = field(repr=False)

    def patient(self, group: str | None) -> str:
        """ "" where no patient is known."""
        return self.hashed("patient", group) if group else ""

    def image(self, id: str) -> str:
        return self.hashed("image", id)

    def hashed(self, kind: str, name: str) -> str:
        text = name.encode("utf-8", "surrogateescape")
        return f"{kind}-{hashlib.blake2b(text, key=self.key, digest_size=8, person=kind.encode()).hexdigest()}"


def make_pseudonyms(root: Path, store_dir: Path) -> Pseudonyms:
    """Those of the set in the folder `root`; its key is made if there is none yet.

    It is kept in `root`, or in `store_dir` where `root` cannot be written to, or holds a key that only somebody else
    may read. Raises `DataError` if neither can be written to, or a key is damaged.
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
    """Those of the set in the folder `root`; None if it has no key yet. Raises `DataError` if that is damaged."""
    for place in (root / KEY_FILE, store_dir / KEY_FILE):
        try:
            return Pseudonyms(read_key(place))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            continue
    return None


def read_key(place: Path) -> bytes:
    """Raises `OSError` if it is not there, `DataError` if it is no key."""
    try:
        first, *rest = place.read_text(encoding="ascii").splitlines()
        key = bytes.fromhex(first)
    except ValueError:
        key, rest = b"", []
    # An earlier version wrote the key alone.
    if len(key) != KEY_BYTES or rest not in ([], [compute_key_checksum(key)]):
        raise DataError(
            f"{place}: not a key, or a damaged one; take it from a backup, or remove it and score again with force=true"
        )
    return key


def compute_key_checksum(key: bytes) -> str:
    """The second line of a key's file: one digit of the key that is another would make strangers of all patients."""
    return f"sha256 {hashlib.sha256(key).hexdigest()}"


def make_key(place: Path) -> bytes:
    """A new key at `place`, whole from the start; of several processes that try at once, the first one's counts."""
    place.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = make_temp_file(place)  # for its owner alone
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            key = secrets.token_bytes(KEY_BYTES)
            file.write(f"{key.hex()}\n{compute_key_checksum(key)}\n")
            file.flush()
            os.fsync(file.fileno())
            try:
                os.link(temporary, place)  # unlike a rename, it never replaces another's
            except FileExistsError:
                pass
            except OSError:  # a file system without links, where one user works alone
                if not place.exists():
                    temporary.rename(place)
    finally:
        temporary.unlink(missing_ok=True)
    return read_key(place)
