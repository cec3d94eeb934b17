"""The names in an archive: none that leads out, and none that could not stand beside another on somebody's disk."""

import unicodedata
from pathlib import Path

from lowres_ssl.errors import DataError

LONGEST_NAME = 255  # bytes of one folder or file, on every common file system
LONGEST_PATH = 1024  # bytes of a whole name: 4096 is the most that Linux takes, with the folder it is unpacked into


class Names:
    """Those of one archive, taken one after the other."""

    def __init__(self, archive: Path) -> None:
        self.archive = archive
        self.files: set[str] = set()
        self.folders: set[str] = set()

    def checked(self, name: str, *, is_folder: bool) -> str:
        """The name, without "." and empty parts. Raises `DataError` if it must not be unpacked."""
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts or ":" in (parts or [""])[0] or "\0" in name:
            raise self.refused(name, "a path that leads out of the folder")
        plain = "/".join(parts)
        sizes = [len(part.encode("utf-8", "surrogateescape")) for part in parts]
        if max(sizes, default=0) > LONGEST_NAME or sum(sizes) + len(sizes) > LONGEST_PATH:
            raise self.refused(f"{name[:40]}...", "a name too long for a file system")
        if not parts and not is_folder:
            raise self.refused(name, "no name for a file")
        # As a disk spells it that knows no case and one way to write a letter.
        keys = [as_one(part) for part in parts]
        above = {"/".join(keys[:depth]) for depth in range(1, len(keys))}
        own = "/".join(keys)
        if above & self.files or own in (self.files if is_folder else self.folders):
            raise self.refused(name, "a file and a folder at once")
        if own in self.files:
            raise self.refused(name, "there twice, or differs from another name in case or spelling only")
        self.folders |= above
        if is_folder:
            self.folders.add(own)
        else:
            self.files.add(own)
        return plain

    def refused(self, name: str, what: str) -> DataError:
        return DataError(f"{self.archive}: refused, {name!r} is {what}; wanted plain files only; nothing was unpacked")


def as_one(part: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", part).casefold())
