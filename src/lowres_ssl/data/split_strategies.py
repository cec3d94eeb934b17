"""The four ways to divide a set: each turns a catalogue and a seed into the images of each side, and notes."""

from collections import Counter, defaultdict
from collections.abc import Sequence

from lowres_ssl.console import pluralise
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.partition import (
    SUBSETS,
    Unit,
    group_by_shared_keys,
    shuffle_units,
    split_units,
    stratified_group_split,
)
from lowres_ssl.errors import DataError

# In tenths, as in the paper. The order says which side a class goes without when it has too few images or groups.
SUBSET_SHARES = {"train": 7, "test": 2, "val": 1}
TRAINING_SHARES = {"train": 9, "val": 1}
MIN_VALIDATION_PERCENT = 1  # an official val folder smaller than this, measured by train, cannot choose anything

SubsetIndices = dict[str, list[int]]  # side -> indices into `catalogue.records`


def split_randomly(catalogue: Catalogue, seed: int) -> tuple[SubsetIndices, list[str]]:
    units, notes = group_identical_images(catalogue, range(len(catalogue.records)))
    return flatten_units(split_units(shuffle_units(units, list_ids(catalogue), str(seed)), SUBSET_SHARES)), notes


def split_stratified(catalogue: Catalogue, seed: int) -> tuple[SubsetIndices, list[str]]:
    return stratify_subset(catalogue, seed, range(len(catalogue.records)), SUBSET_SHARES, needed=2)


def stratify_subset(
    catalogue: Catalogue, seed: int, indices: Sequence[int], shares: dict[str, int], needed: int
) -> tuple[SubsetIndices, list[str]]:
    """Deal the images at `indices` class by class. A class needs at least `needed` images of different bytes."""
    units, notes = group_identical_images(catalogue, indices)
    by_class: dict[int, list[Unit]] = defaultdict(list)
    for unit in units:
        by_class[int(catalogue.labels[unit[0]])].append(unit)
    sides: SubsetIndices = {side: [] for side in SUBSETS}
    for label, own in sorted(by_class.items()):
        name = catalogue.classes[label]
        if len(own) < needed:
            todo = (
                "add images to it, or take its folder out"
                if catalogue.subset is None
                else f"dataset.subset={catalogue.subset} is too small: take a larger one, or null for all images"
            )
            raise DataError(
                f"class {name} has {pluralise(len(own), 'distinct image')}, "
                f"wanted at least {needed} (one to train, one to "
                f"test); {todo}"
            )
        if len(own) < len(shares):
            notes.append(f"class {name} has too few distinct images to validate as well: {len(own)}")
        for side, chosen in flatten_units(
            split_units(shuffle_units(own, list_ids(catalogue), str(seed)), shares)
        ).items():
            sides[side] += chosen
    return sides, notes


def split_patients(catalogue: Catalogue, seed: int) -> tuple[SubsetIndices, list[str]]:
    groups = [record.group for record in catalogue.records]
    if not any(groups):
        raise DataError(
            f"split=patient: {catalogue.name} has no patients in its file names; "
            "name them with dataset.options.group_pattern (dataset=folder), or type split=stratified"
        )
    notes = find_mixed_labels(catalogue, range(len(groups)))
    alone = groups.count(None)
    if alone:
        notes.append(f"{alone} images have no patient in their names: each counts as a patient of its own")
    keys = [[("bytes", record.sha256), ("group", record.group or f"|{record.id}")] for record in catalogue.records]
    units = group_by_shared_keys(keys)
    held = Counter(label for unit in units for label in {int(catalogue.labels[index]) for index in unit})
    for label, number in sorted(held.items()):
        name = catalogue.classes[label]
        if number < 2:
            raise DataError(
                f"split=patient: class {name} has only one patient or group, wanted at least 2; type split=stratified"
            )
        if number < 3:
            notes.append(f"class {name} has only {number} groups: it trains and tests but does not validate")
    sides = flatten_units(
        stratified_group_split(units, catalogue.labels.tolist(), list_ids(catalogue), seed, SUBSET_SHARES)
    )
    return sides, notes + check_balance(catalogue, sides, held)


def check_balance(catalogue: Catalogue, sides: SubsetIndices, held: Counter[int]) -> list[str]:
    """Notes on classes that miss a side, or are far off their share. Raises `DataError` if one does not test."""
    notes = []
    totals = Counter(catalogue.labels.tolist())
    for label, total in sorted(totals.items()):
        counts = {side: sum(int(catalogue.labels[index]) == label for index in sides[side]) for side in SUBSETS}
        name = catalogue.classes[label]
        if not counts["train"] or not counts["test"]:
            raise DataError(
                f"split=patient: the patients of class {name} cannot be divided without taking another class from a "
                "side, wanted at least 2 groups of its own; type split=stratified"
            )
        if not counts["val"] and held[label] >= 3:
            notes.append(f"class {name} does not validate: its groups are tied to other classes'")
        elif max(abs(10 * counts[side] - SUBSET_SHARES[side] * total) for side in SUBSETS) > total:
            shown = " / ".join(f"{100 * counts[side] / total:.0f}" for side in SUBSETS)
            notes.append(
                f"class {name} is divided {shown} % (train / validate / test): its groups are few or of unlike size"
            )
    return notes


def split_by_folders(catalogue: Catalogue, seed: int) -> tuple[SubsetIndices, list[str]]:
    sides: SubsetIndices = {side: [] for side in SUBSETS}
    for index, record in enumerate(catalogue.records):
        if record.side is None:
            raise DataError(
                f"split=official: {record.id} is in no train, val or test folder; wanted {catalogue.name} as it was "
                "published, divided; type split=stratified"
            )
        sides[record.side].append(index)
    for side in ("train", "test"):
        if not sides[side]:
            raise DataError(f"split=official: {catalogue.name} has no {side} folder; type split=stratified")
    notes: list[str] = []
    if 100 * len(sides["val"]) < MIN_VALIDATION_PERCENT * len(sides["train"]):
        if sides["val"]:
            notes.append(
                f"the val folder has only {len(sides['val'])} images: they train, and 10% of training validates"
            )
        pool = sorted(sides["train"] + sides["val"])
        divided, more = stratify_subset(catalogue, seed, pool, TRAINING_SHARES, needed=1)
        sides["train"], sides["val"] = divided["train"], divided["val"]
        notes += more
    else:
        notes += find_mixed_labels(catalogue, range(len(catalogue.records)))
    return sides, notes + list_shared_bytes_notes(catalogue, sides)


def list_shared_bytes_notes(catalogue: Catalogue, sides: SubsetIndices) -> list[str]:
    hashes = {side: {catalogue.records[index].sha256 for index in indices} for side, indices in sides.items()}
    notes = []
    for side, other in (("test", "train"), ("test", "val"), ("val", "train")):
        shared = sum(catalogue.records[index].sha256 in hashes[other] for index in sides[side])
        if shared:
            notes.append(f"{shared} {side} images are byte for byte in {other} as well, since the set comes divided so")
    return notes


def list_ids(catalogue: Catalogue) -> list[str]:
    return [record.id for record in catalogue.records]


def flatten_units(hands: dict[str, list[Unit]]) -> SubsetIndices:
    return {side: [index for unit in hand for index in unit] for side, hand in hands.items()}


def group_identical_images(catalogue: Catalogue, indices: Sequence[int]) -> tuple[list[Unit], list[str]]:
    """The images at `indices` as units of the same bytes, and a note if some of those have different labels."""
    units = group_by_shared_keys([(catalogue.records[index].sha256,) for index in indices])
    return [tuple(indices[place] for place in unit) for unit in units], find_mixed_labels(catalogue, indices)


def find_mixed_labels(catalogue: Catalogue, indices: Sequence[int]) -> list[str]:
    labels: dict[str, set[str]] = defaultdict(set)
    for index in indices:
        labels[catalogue.records[index].sha256].add(catalogue.records[index].label)
    mixed = [sha256 for sha256, names in labels.items() if len(names) > 1]
    if not mixed:
        return []
    example = next(record.id for record in catalogue.records if record.sha256 == mixed[0])
    return [f"{len(mixed)} images are in two classes with the same bytes, for one {example}: one label must be wrong"]
