"""Files -> records: lists a source's images, has each read (`data/headers.py`), checks what was found."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from lowres_ssl.data.headers import SKIP_HINT, Header, read_headers
from lowres_ssl.data.records import Catalogue, Record
from lowres_ssl.data.sources import Listing, Source, images_below, resolve_root
from lowres_ssl.errors import DataError


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
    grey_range: tuple[float, float] | None = None,
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
    notes = [*source.notes, *note_strays(folder, listings, extra)]

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
        grey_range=grey_range,
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


def to_record(listing: Listing, header: Header) -> Record:
    return Record(
        id=listing.id,
        label=listing.label,
        group=listing.group or header.patient,
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
