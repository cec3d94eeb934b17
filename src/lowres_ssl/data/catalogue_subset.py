"""Take a part of a catalogue: a fixed subset, or all without small classes, or without images that cannot be read."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from lowres_ssl.console import shorten_list
from lowres_ssl.data.catalogue import Catalogue, ImageRecord, check_readable
from lowres_ssl.errors import DataError

FEWEST_TO_DIVIDE = 2  # an image to train and one to test
MAX_NAMED_CLASSES = 3


def find_small_classes(catalogue: Catalogue, fewest: int) -> dict[str, int]:
    """Find the classes of fewer than so many images of different bytes, the smallest first, with their numbers."""
    distinct = {(record.label, record.sha256) for record in catalogue.records}
    counts = dict.fromkeys(catalogue.classes, 0)
    for label, _ in distinct:
        counts[label] += 1
    return dict(sorted(((name, n) for name, n in counts.items() if n < fewest), key=lambda each: (each[1], each[0])))


def leave_out_small_classes(catalogue: Catalogue, fewest: int) -> Catalogue:
    """Leave out the classes of fewer than so many distinct images, with a note. Raises `DataError` if less than two
    classes are left."""
    small = find_small_classes(catalogue, fewest)
    if not small:
        return catalogue
    if len(catalogue.classes) - len(small) < 2:
        raise DataError(
            f"dataset.min_class_images={fewest}: got {format_classes(small)}, wanted at least two classes of so many "
            "distinct images; add images, or type a smaller number"
        )
    kept = tuple(record for record in catalogue.records if record.label not in small)
    note = f"{format_classes(small)} left out: fewer than {fewest} distinct images (dataset.min_class_images)"
    return replace(catalogue, records=kept, notes=(*catalogue.notes, note))


def format_classes(counts: Mapping[str, int]) -> str:
    """Name classes with their numbers, a few of many: "class vasc (1)", "5 classes: df (1), vasc (1), a (2) and 2
    more"."""
    named = [f"{name} ({number:,})" for name, number in counts.items()]
    return ("class " if len(counts) == 1 else f"{len(counts):,} classes: ") + shorten_list(named, MAX_NAMED_CLASSES)


def take_stratified_subset(catalogue: Catalogue, images: int) -> Catalogue:
    """Choose `images` of the labelled records, or of all in a set without labels, in the shares of the classes (and of
    a divided set's subsets), at least one of each; other unlabelled ones all stay.

    The choice depends on the ids alone: the same on every machine. Raises `DataError` if there are fewer images.
    """
    chosen_from = catalogue.records or catalogue.unlabelled
    total = len(chosen_from)
    if images > total:
        raise DataError(f"dataset.subset={images}: the set has {total} images; wanted at most {total}, or null for all")
    strata: dict[tuple[str, str], list[ImageRecord]] = {}
    for record in sorted(chosen_from, key=lambda each: hashlib.sha256(each.id.encode()).digest()):
        strata.setdefault((record.label, record.subset or ""), []).append(record)
    if images < len(strata):
        raise DataError(f"dataset.subset={images}: wanted at least {len(strata)}, an image a class and subset")
    shares = {key: len(own) * images / total for key, own in strata.items()}
    counts = {key: max(1, int(share)) for key, share in shares.items()}
    # Images left over by rounding down go to the largest remainders; those added by the minimum of 1 are taken back.
    while sum(counts.values()) < images:
        key = max(
            (key for key in strata if counts[key] < len(strata[key])), key=lambda key: (shares[key] - counts[key], key)
        )
        counts[key] += 1
    while sum(counts.values()) > images:
        key = max((key for key in counts if counts[key] > 1), key=lambda key: (counts[key] - shares[key], key))
        counts[key] -= 1
    chosen = [record for key, own in strata.items() for record in own[: counts[key]]]
    note = f"a fixed subset of {images} of the {total} images (dataset.subset)"
    records = tuple(sorted(chosen, key=lambda each: each.id))
    part = replace(catalogue, notes=(*catalogue.notes, note))
    return replace(part, records=records) if catalogue.records else replace(part, unlabelled=records)


def drop_records(catalogue: Catalogue, dropped: Mapping[str, str]) -> Catalogue:
    """Drop the ids in `dropped` (id -> reason), with a note. Raises `DataError` if a class loses all its images."""
    if not dropped:
        return catalogue
    everything = catalogue.records or catalogue.unlabelled
    problems = {record.path: dropped[record.id] for record in everything if record.id in dropped}
    check_readable(catalogue.root, everything, problems)
    first, reason = next(iter(dropped.items()))
    return replace(
        catalogue,
        records=tuple(record for record in catalogue.records if record.id not in dropped),
        unlabelled=tuple(record for record in catalogue.unlabelled if record.id not in dropped),
        notes=(*catalogue.notes, f"{len(dropped)} unreadable images left out, for one {first}: {reason}"),
    )
