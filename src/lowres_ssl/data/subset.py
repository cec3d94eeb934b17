"""A smaller set from a set: always the same images of it."""

import hashlib
from dataclasses import replace

from lowres_ssl.data.records import Catalogue, Record
from lowres_ssl.errors import DataError


def stratified_subset(catalogue: Catalogue, images: int) -> Catalogue:
    """`images` of the labelled records, the shares of the classes (and of the sides of a set that comes divided) kept
    as well as whole images allow, at least one of each; unlabelled ones all stay.

    Which ones depends on their ids alone, so it is the same subset on every machine. Raises `DataError` if there are
    fewer.
    """
    total = len(catalogue.records)
    if images > total:
        raise DataError(f"dataset.subset={images}: the set has {total} images; wanted at most {total}, or null for all")
    strata: dict[tuple[str, str], list[Record]] = {}
    for record in sorted(catalogue.records, key=lambda each: hashlib.sha256(each.id.encode()).digest()):
        strata.setdefault((record.label, record.side or ""), []).append(record)
    if images < len(strata):
        raise DataError(f"dataset.subset={images}: wanted at least {len(strata)}, an image a class and side")
    shares = {key: len(own) * images / total for key, own in strata.items()}
    counts = {key: max(1, int(share)) for key, share in shares.items()}
    # What rounding down has left over goes to the largest remainders; what the least of 1 has added comes off the top.
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
    return replace(catalogue, records=records, notes=(*catalogue.notes, note), subset=images)
