"""Turn the files of a set into records: list the images, read each (`data/image_metadata.py`), check the result."""

import hashlib
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.config.overrides import quote_value
from lowres_ssl.console import pluralise, shorten_list
from lowres_ssl.data.datasets import Listing, Source
from lowres_ssl.data.image_folder import ImageFolder, check_unique_ids, list_image_files
from lowres_ssl.data.image_metadata import ReadImages, find_index_file, make_unreadable_error, read_image_metadata
from lowres_ssl.errors import DataError


@dataclass(frozen=True)
class ImageRecord(Listing):
    """Describe one image: `height` and `width` are the original's in pixels, upright, `sha256` is that of the file's
    bytes."""

    height: int
    width: int
    sha256: str


@dataclass(frozen=True)
class Catalogue:
    """Describe a set of images.

    `records` have labels, `unlabelled` ones serve pre-training only; both are sorted by id. `notes` are lines for the
    user. `official_default`: `split=auto` takes the set's own folders. `groups_may_restart`: the same group in two
    official subsets need not be the same patient. `grey_range`: the stored values that become black and white in grey
    images of more than 8 bits, if configured.
    """

    name: str
    root: Path
    records: tuple[ImageRecord, ...]
    notes: tuple[str, ...]
    unlabelled: tuple[ImageRecord, ...] = ()
    official_default: bool = False
    groups_may_restart: bool = False
    grey_range: tuple[float, float] | None = None

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """List the names of the classes, sorted."""
        return tuple(sorted({record.label for record in self.records}))

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Return the index in `classes` of each record's label: int64 [N]."""
        place = {name: index for index, name in enumerate(self.classes)}
        return np.array([place[record.label] for record in self.records], dtype=np.int64)

    @cached_property
    def groups(self) -> NDArray[np.int64]:
        """Number the groups of all records, the unlabelled ones last: int64 [N], -1 for an image without one."""
        names, numbers = np.unique(
            [record.group or "" for record in self.records + self.unlabelled], return_inverse=True
        )
        return np.where(names[numbers] == "", -1, numbers).astype(np.int64)

    @cached_property
    def digest(self) -> str:
        """Compute the hex SHA-256 of all images' ids, labels, groups and bytes, and of the grey range."""
        content: list[list[object]] = [
            [each.id, each.label, each.group, each.sha256] for each in self.records + self.unlabelled
        ]
        if self.grey_range is not None:
            content.append(["grey_range", *self.grey_range])
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def check_labelled(self, purpose: str) -> None:
        """Raise `DataError` for a set without labels, which `purpose` needs."""
        if not self.records:
            raise DataError(
                f"{self.root}: no labels, which {purpose} needs; wanted images in two or more class folders, or a "
                "table of labels; lowres-ssl pretrain and lowres-ssl embed need none"
            )

    def counts(self) -> dict[str, int]:
        """Count the images of each class."""
        return dict(sorted(Counter(record.label for record in self.records).items()))


def build_catalogue(
    *,
    name: str,
    folder: ImageFolder,
    source: Source,
    cache_dir: Path,
    expected: Mapping[str, int] = MappingProxyType({}),
    unlabelled: Path | None = None,
    skip_unreadable: bool = False,
    known: ReadImages | None = None,
) -> Catalogue:
    """List every image of the set in `folder`, and those in the folder `unlabelled`, as records.

    `expected` is the published number of images of each class: another number is a note, a missing class an error.
    An image that cannot be read is an error, with `skip_unreadable` a note. Unlabelled images with the bytes of a
    labelled one are skipped, since those may be test images. Nothing is written outside `cache_dir`. `known`: what was
    read of the images already.

    A set of less than two classes is one without labels: all its images are unlabelled.

    Raises `DataError` for an empty folder, a missing class, an unreadable image.
    """
    root, inner = folder.root, folder.exclude(source.exclude).enter()
    listings = source.list_included(folder)
    extra: list[Listing] = []
    if unlabelled is not None:
        found = list_image_files(unlabelled, "dataset.unlabelled")
        extra = [Listing(path, f"unlabelled/{id}", label="", group=None, subset=None) for path, id in found]
        beside = unlabelled.resolve()  # a folder of unlabelled images inside the set is no class of it
        if inner.top.is_relative_to(beside):
            raise DataError(f"dataset.unlabelled={unlabelled}: holds the labelled images, wanted a folder beside them")
        listings = [listing for listing in listings if beside not in listing.path.parents]
    labels = {listing.label for listing in listings} - {""}
    if len(labels) < 2 and not expected:  # nothing could be scored
        listings = [replace(listing, label="") for listing in listings]
    if not listings:
        raise DataError(
            f"{root}: no images of this set there; wanted {source.layout}; name it with dataset.root=FOLDER"
        )
    check_unique_ids(listing.id for listing in listings)
    notes = list(source.notes)
    if len(labels) == 1 and not expected:
        notes.append(f"one class, {next(iter(labels))}: wanted at least two, so the images are taken for unlabelled")
    used = {listing.path for listing in listings + extra}
    strays = [id for path, id in inner.images if path not in used]
    if strays:
        total = len(strays) + len(listings)
        notes.append(
            f"{len(strays)} of {total} image files do not belong to the set as configured, for one {strays[0]}"
        )

    paths = [listing.path for listing in listings + extra]
    read = known or read_image_metadata(paths, find_index_file(inner.top, cache_dir))
    notes += read.notes
    unreadable = [listing for listing in listings + extra if listing.path in read.problems]
    if unreadable:
        first, problem = unreadable[0], read.problems[unreadable[0].path]
        if not skip_unreadable:
            raise make_unreadable_error(first.path, problem, others=len(unreadable) - 1)
        notes.append(f"{len(unreadable)} unreadable images left out, for one {first.id}: {problem}")
        check_readable(root, listings, read.problems)
    everything = [make_record(each, read) for each in listings + extra if each.path in read.images]
    records, pool = [each for each in everything if each.label], [each for each in everything if not each.label]
    notes += check_counts(root, records, expected)

    labelled_bytes = {record.sha256 for record in records}
    free = [record for record in pool if record.sha256 not in labelled_bytes]
    if len(free) < len(pool):
        notes.append(f"{len(pool) - len(free)} unlabelled images are among the labelled ones as well: left out")
    return Catalogue(
        name=name,
        root=inner.top,
        records=tuple(records),
        notes=tuple(notes),
        unlabelled=tuple(free),
        official_default=source.official_default and {"train", "test"} <= {record.subset for record in records},
        groups_may_restart=source.numbering_may_restart,
    )


def check_readable(root: Path, listings: Sequence[Listing], problems: Mapping[Path, str]) -> None:
    """Raise `DataError` if no image of the set, or none of a class, can be read."""
    lost = sorted(find_unreadable_classes(listings, problems))
    if not lost:
        return
    first = next(each for each in listings if each.label == lost[0])
    left = {each.label for each in listings}.difference(lost)
    reason = f"for one {first.id}: {problems[first.path]}"
    if not left:
        raise DataError(f"{root}: none of its {pluralise(len(listings), 'image file')} can be read, {reason}")
    advice = f", or type {format_excluded_classes(lost)}" if len(left) > 1 else ""
    raise DataError(f"{root}: class {lost[0]} has no readable image, {reason}; replace its files{advice}")


def format_excluded_classes(names: Iterable[str]) -> str:
    """Format what leaves classes out, as it is typed in a shell."""
    listed = ",".join(name if re.fullmatch(r"[\w.-]+", name) else quote_value(name) for name in names)
    return shlex.quote(f"dataset.exclude_classes=[{listed}]")


def find_unreadable_classes(listings: Sequence[Listing], problems: Mapping[Path, str]) -> set[str]:
    """Find the classes without a readable image."""
    return {each.label for each in listings} - {each.label for each in listings if each.path not in problems}


def make_record(listing: Listing, read: ReadImages) -> ImageRecord:
    image = read.images[listing.path]
    fields = vars(listing) | {"group": listing.group or read.patients.get(listing.path)}
    return ImageRecord(**fields, height=image.height, width=image.width, sha256=image.sha256)


def check_counts(root: Path, records: list[ImageRecord], expected: Mapping[str, int]) -> list[str]:
    """List notes on unpublished numbers. Raises `DataError` for a missing class."""
    counts = Counter(record.label for record in records)
    got = shorten_list([f"{label} ({counts[label]})" for label in sorted(counts)]) or "none"
    missing = sorted(set(expected) - set(counts))
    if missing:
        raise DataError(f"{root}: class {missing[0]} is missing, got {got}; wanted {', '.join(sorted(expected))}")
    notes = [
        f"class {label}: {counts[label]} images, published are {number}"
        for label, number in sorted(expected.items())
        if counts[label] != number
    ]
    if expected:
        notes += [f"class {label} is not among the published ones" for label in sorted(set(counts) - set(expected))]
    return notes
