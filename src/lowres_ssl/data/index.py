"""Files -> records: lists a source's images, reads the header and the hash of each, checks what was found.

What was read is kept in one JSON a folder, so that a second look at 6,000 images takes a moment.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from lowres_ssl.data.decode import FORMATS
from lowres_ssl.data.parallel import in_threads
from lowres_ssl.data.records import Catalogue, Record
from lowres_ssl.data.sources import Listing, Source, images_below, resolve_root
from lowres_ssl.errors import DataError
from lowres_ssl.leases import held
from lowres_ssl.sealed import unsealed, write_sealed
from lowres_ssl.stored import WRITTEN

ORIENTATION = 0x0112  # the EXIF tag; from 5 on, the picture lies on its side
SKIP_HINT = "dataset.skip_unreadable=true leaves it out"


@dataclass(frozen=True)
class Header:
    """What reading a file once tells: size in pixels (upright), hash of the bytes; or why it cannot be read."""

    height: int
    width: int
    sha256: str
    problem: str | None = None


def build_catalogue(
    *,
    name: str,
    root: Path,
    source: Source,
    expected: dict[str, int],
    unlabelled: Path | None,
    skip_unreadable: bool,
    cache_dir: Path,
    progress: bool = True,
) -> Catalogue:
    """Every image of the set below `root`, and of the folder `unlabelled`, as records.

    `expected` is the published number of images of each class: another number is a note, a missing class an error.
    An image that cannot be read is an error, with `skip_unreadable` a note. Unlabelled images that are byte for byte
    among the labelled ones are left out, since those may be test images. Nothing is written outside `cache_dir`.

    Raises `DataError` for a missing or empty folder, fewer than two classes, a missing class, an unreadable image.
    """
    source.prepare(root)
    folder = resolve_root(root)
    listings = source.listings(root)
    extra: list[Listing] = []
    if unlabelled is not None:
        extra = list_unlabelled(unlabelled)
        beside = unlabelled.resolve()  # a folder of unlabelled images inside the set is no class of it
        if beside == folder or beside in folder.parents:
            raise DataError(f"dataset.unlabelled={unlabelled}: holds the labelled images, wanted a folder beside them")
        listings = [listing for listing in listings if beside not in listing.path.parents]
    if not listings:
        raise DataError(
            f"{root}: no images of this set there; wanted {source.layout}; name it with dataset.root=FOLDER"
        )
    check_unique(listings)
    notes = note_strays(folder, listings, extra)

    headers, cache_note = read_headers(
        listings + extra, cache_dir / f"index-{short_digest(str(folder))}.json", progress
    )
    notes += cache_note
    unreadable = [(listing, header) for listing, header in headers if header.problem]
    if unreadable:
        first, header = unreadable[0]
        if not skip_unreadable:
            more = f" (and {len(unreadable) - 1} more)" if len(unreadable) > 1 else ""
            raise DataError(f"{first.path}: not a readable image{more}: {header.problem}; {SKIP_HINT}")
        notes.append(f"{len(unreadable)} unreadable images left out, for one {first.id}: {header.problem}")
    records = [to_record(listing, header) for listing, header in headers[: len(listings)] if not header.problem]
    pool = [to_record(listing, header) for listing, header in headers[len(listings) :] if not header.problem]
    notes += check_counts(root, records, expected)

    labelled_bytes = {record.sha256 for record in records}
    free = [record for record in pool if record.sha256 not in labelled_bytes]
    if len(free) < len(pool):
        notes.append(f"{len(pool) - len(free)} unlabelled images are among the labelled ones as well: left out")
    return Catalogue(
        name=name,
        root=folder,
        records=tuple(records),
        notes=tuple(notes),
        unlabelled=tuple(free),
        official_default=source.official_default and {"train", "test"} <= {record.side for record in records},
        groups_may_restart=source.numbering_may_restart,
    )


def list_unlabelled(folder: Path) -> list[Listing]:
    """The images below `folder`, as listings without a label. Raises `DataError` if there are none."""
    if not folder.is_dir():
        raise DataError(f"dataset.unlabelled={folder}: no such folder; wanted one with images, at any depth")
    found = [
        Listing(path=path, id=f"unlabelled/{id}", label="", group=None, side=None)
        for path, id in images_below(folder.resolve())
    ]
    if not found:
        raise DataError(f"dataset.unlabelled={folder}: no images there; wanted a folder with images, at any depth")
    check_unique(found)
    return found


def check_unique(listings: Iterable[Listing]) -> None:
    """Two names that differ only in how a letter is encoded cannot be told apart on another platform."""
    twice = [id for id, count in Counter(listing.id for listing in listings).items() if count > 1]
    if twice:
        raise DataError(f"{twice[0]}: two files are spelt like this, differing in encoding only; rename one of them")


def note_strays(folder: Path, listings: list[Listing], extra: list[Listing]) -> list[str]:
    """A note on image files that the source passed over, since leaving out images in silence misleads."""
    used = {listing.path for listing in listings + extra}
    strays = [id for path, id in images_below(folder) if path not in used]
    if not strays:
        return []
    total = len(strays) + len(listings)
    return [f"{len(strays)} of {total} image files do not belong to the set as configured, for one {strays[0]}"]


def read_headers(
    listings: list[Listing], cache_file: Path, progress: bool
) -> tuple[list[tuple[Listing, Header]], list[str]]:
    """Each listing with its header, from the cache where size and time of the file are the same; and notes.

    Of several processes at once one reads the files, and the others wait for what it keeps.
    """
    with ExitStack() as stack:
        known, stamps = kept_headers(listings, cache_file)
        if len(known) < len({listing.path for listing in listings}):
            with suppress(OSError):  # nothing can be written there: each reads for itself
                stack.enter_context(held(cache_file, "index of the images"))
                known, stamps = kept_headers(listings, cache_file)
        fresh = [listing.path for listing in listings if listing.path not in known]
        found = in_threads(read_header, fresh, label="Reading images", progress=progress)
        known.update(zip(fresh, found, strict=True))
        headers = [(listing, known[listing.path]) for listing in listings]
        if not fresh:
            return headers, []
        entries = {
            cache_key(path): [*stamps[path], header.height, header.width, header.sha256]
            for path, header in known.items()
            if not header.problem and path in stamps
        }
        try:
            write_sealed(cache_file, {"version": WRITTEN["index"], "files": entries})
        except OSError as error:
            return headers, [f"{cache_file}: the index could not be kept ({error.strerror}), it is read anew each time"]
    return headers, []


def kept_headers(listings: list[Listing], cache_file: Path) -> tuple[dict[Path, Header], dict[Path, list[int]]]:
    """What is known of the files as they are; and size in bytes and time in ns of each that is there."""
    cache = load_cache(cache_file)
    known: dict[Path, Header] = {}
    stamps: dict[Path, list[int]] = {}
    for listing in listings:
        try:
            stat = listing.path.stat()
        except OSError:  # read_header will say why
            continue
        stamps[listing.path] = [stat.st_size, stat.st_mtime_ns]
        entry = cache.get(cache_key(listing.path))
        if entry and entry[:2] == stamps[listing.path]:
            known[listing.path] = Header(*entry[2:])
    return known, stamps


def cache_key(path: Path) -> str:
    """The path as text that JSON can hold, whatever bytes a file name is made of."""
    return str(path).encode("utf-8", "backslashreplace").decode()


def load_cache(cache_file: Path) -> dict[str, list[Any]]:
    """Path -> [bytes, mtime in ns, height, width, sha256]; empty if there is none, or it is damaged."""
    try:
        content = unsealed(json.loads(cache_file.read_text(encoding="utf-8")))
        if content["version"] != WRITTEN["index"]:
            return {}
        return {
            path: entry
            for path, entry in content["files"].items()
            if [type(value) for value in entry] == [int, int, int, int, str]
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def read_header(path: Path) -> Header:
    """Size and hash of one file. Never raises: what is wrong with it is in `problem`."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            if not file.tell():
                return Header(0, 0, "", "the file is empty")
            file.seek(0)
            with Image.open(file, formats=FORMATS) as image:
                width, height = image.size
                # Asking a PNG for its EXIF data would decode it whole, and its orientation is next to never set.
                sideways = image.format != "PNG" and image.getexif().get(ORIENTATION, 1) >= 5
    except Exception as error:  # whatever a decoder stumbles over, the file is the cause
        return Header(0, 0, "", describe(error))
    return Header(width, height, digest) if sideways else Header(height, width, digest)


def describe(error: Exception) -> str:
    """Why Pillow could not read a file, in a few words."""
    if isinstance(error, UnidentifiedImageError):
        return f"its content is none of {', '.join(FORMATS)}"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more pixels than Pillow's limit of {2 * (Image.MAX_IMAGE_PIXELS or 0):,}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return (str(error) or type(error).__name__).splitlines()[0]


def to_record(listing: Listing, header: Header) -> Record:
    return Record(
        id=listing.id,
        label=listing.label,
        group=listing.group,
        side=listing.side,
        height=header.height,
        width=header.width,
        sha256=header.sha256,
        path=listing.path,
    )


def check_counts(root: Path, records: list[Record], expected: dict[str, int]) -> list[str]:
    """Notes on numbers that are not those published. Raises `DataError` for a missing class or fewer than two."""
    counts = Counter(record.label for record in records)
    got = ", ".join(f"{label} ({counts[label]})" for label in sorted(counts)) or "none"
    missing = sorted(set(expected) - set(counts))
    if missing:
        raise DataError(f"{root}: class {missing[0]} is missing, got {got}; wanted {', '.join(sorted(expected))}")
    if len(counts) < 2:
        raise DataError(f"{root}: got one class, {got}; wanted at least two, each in a folder of its own")
    notes = [
        f"class {label}: {counts[label]} images, published are {number}"
        for label, number in sorted(expected.items())
        if counts[label] != number
    ]
    if expected:
        notes += [f"class {label} is not among the published ones" for label in sorted(set(counts) - set(expected))]
    return notes


def short_digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
