"""Divide a set in one of five ways: each turns a catalogue and a seed into the images of each subset, and notes."""

from collections import Counter, defaultdict
from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from lowres_ssl.console import pluralise
from lowres_ssl.data.catalogue import Catalogue, format_excluded_classes
from lowres_ssl.data.catalogue_subset import format_classes
from lowres_ssl.data.partition import (
    SUBSETS,
    Unit,
    group_by_shared_keys,
    shuffle_units,
    split_units,
    stratified_group_split,
)
from lowres_ssl.errors import DataError

# In tenths, as in the paper. A class with too few images or groups is missing from the subsets named last.
SUBSET_SHARES = {"train": 7, "test": 2, "val": 1}
TRAINING_SHARES = {"train": 9, "val": 1}
MIN_CHOOSING_IMAGES = 30  # of fewer, chance moves an accuracy by more than 18 points (95%)
MIN_VALIDATION_PERCENT = 1  # an official val folder below this share of train cannot choose anything

SubsetIndices = dict[str, list[int]]  # subset -> indices into `catalogue.records`


class UndividedPatientsError(DataError):
    """Classes whose patients cannot be divided. `without`: the override that leaves them out, if the others can be."""

    def __init__(self, why: str, without: str = "") -> None:
        other = (
            f"{without}, or split=stratified, where one patient may train and test" if without else "split=stratified"
        )
        super().__init__(f"split=patient: {why}; type {other}")
        self.without = without


def split_randomly(catalogue: Catalogue, seed: int) -> tuple[SubsetIndices, list[str]]:
    everything = range(len(catalogue.records))
    units = group_identical_images(catalogue, everything)
    return split_identical_together(catalogue, units, seed, SUBSET_SHARES), find_mixed_labels(catalogue, everything)


def split_stratified(catalogue: Catalogue, seed: int) -> tuple[SubsetIndices, list[str]]:
    return stratify_subset(catalogue, seed, range(len(catalogue.records)), SUBSET_SHARES, needed=2)


def stratify_subset(
    catalogue: Catalogue, seed: int, indices: Sequence[int], shares: dict[str, int], needed: int
) -> tuple[SubsetIndices, list[str]]:
    """Divide the images at `indices` class by class. A class needs at least `needed` images of different bytes."""
    notes = find_mixed_labels(catalogue, indices)
    by_class: dict[int, list[Unit]] = defaultdict(list)
    for unit in group_identical_images(catalogue, indices):
        by_class[int(catalogue.labels[unit[0]])].append(unit)
    sizes = {catalogue.classes[label]: len(own) for label, own in sorted(by_class.items())}
    if small := {name: size for name, size in sizes.items() if size < needed}:
        raise DataError(
            f"too few distinct images of {format_classes(small)}, wanted at least {needed} (to train and to test); "
            f"dataset.min_class_images={needed} leaves such classes out"
        )
    if small := {name: size for name, size in sizes.items() if size < len(shares)}:
        notes.append(f"too few distinct images to validate as well of {format_classes(small)}")
    subsets: SubsetIndices = {name: [] for name in SUBSETS}
    for _, own in sorted(by_class.items()):
        for name, chosen in split_identical_together(catalogue, own, seed, shares).items():
            subsets[name] += chosen
    return subsets, notes


def split_patients(catalogue: Catalogue, seed: int) -> tuple[SubsetIndices, list[str]]:
    groups = [record.group for record in catalogue.records]
    if not any(groups):
        raise DataError(
            f"split=patient: {catalogue.name} has no patients in its file names; "
            "name them with dataset.options.group_pattern (dataset=folder), or type split=stratified"
        )
    notes = find_mixed_labels(catalogue, range(len(groups)))
    if alone := groups.count(None):
        notes.append(f"{alone} images have no patient in their names: each counts as a patient of its own")
    labels = catalogue.labels.tolist()
    units, subsets = split_groups(catalogue, seed, range(len(groups)), SUBSET_SHARES)
    group_counts = Counter(label for unit in units for label in {labels[index] for index in unit})
    counts = {
        class_name: {name: sum(labels[index] == label for index in subsets[name]) for name in SUBSETS}
        for label, class_name in enumerate(catalogue.classes)
    }
    sizes = {name: group_counts[label] for label, name in enumerate(catalogue.classes)}
    if single := {name: number for name, number in sizes.items() if number < 2}:
        raise UndividedPatientsError(
            f"only one patient or group of {format_classes(single)}, wanted at least 2",
            find_dividing_exclusion(catalogue, seed, single),
        )
    if tied := {name: sizes[name] for name, own in counts.items() if not (own["train"] and own["test"])}:
        raise UndividedPatientsError(
            f"the patients of {format_classes(tied)} cannot be divided without taking another class from a subset, "
            "wanted at least 2 groups of its own",
            find_dividing_exclusion(catalogue, seed, tied),
        )
    few = {name: number for name, number in sizes.items() if number < 3}
    tied = {name: sizes[name] for name, own in counts.items() if not own["val"] and name not in few}
    if few:
        notes.append(f"only 2 groups of {format_classes(few)}: no image validates")
    if tied:
        notes.append(f"no image validates of {format_classes(tied)}: the groups are tied to other classes'")
    uneven = [
        f"class {name} is divided {' / '.join(f'{100 * each / total:.0f}' for each in own.values())} %"
        for (name, own), total in zip(counts.items(), np.bincount(labels), strict=True)
        if name not in few | tied
        and max(abs(10 * own[subset] - share * total) for subset, share in SUBSET_SHARES.items()) > total
    ]
    if uneven:
        more = f", and {len(uneven) - 1} more classes alike" if len(uneven) > 1 else ""
        notes.append(f"{uneven[0]} (train / validate / test){more}: the groups are few or of unlike size")
    return subsets, notes


def find_dividing_exclusion(catalogue: Catalogue, seed: int, classes: Collection[str]) -> str:
    """Find the override that leaves these classes out; empty if fewer than two are left, or patients of the others
    cannot be divided either."""
    rest = replace(catalogue, records=tuple(each for each in catalogue.records if each.label not in classes))
    if len(rest.classes) < 2:
        return ""
    try:
        split_patients(rest, seed)
    except DataError:
        return ""
    return format_excluded_classes(classes)


def suggest_patient_split(catalogue: Catalogue, seed: int) -> str:
    """Suggest what to type, "; split=patient keeps each in one subset", if need be without some classes; empty where
    no such split can be made."""
    typed = "split=patient"
    try:
        split_patients(catalogue, seed)
    except UndividedPatientsError as error:
        if not error.without:
            return ""
        typed += f" {error.without}"
    return f"; {typed} keeps each in one subset"


def split_groups(
    catalogue: Catalogue, seed: int, indices: Sequence[int], shares: dict[str, int]
) -> tuple[list[Unit], SubsetIndices]:
    """Divide the images at `indices` by their groups, and return these units: an image without a group is its own, and
    files of the same bytes stay together."""
    records = catalogue.records
    units = group_by_shared_keys(
        {
            index: (("bytes", records[index].sha256), ("group", records[index].group or f"|{records[index].id}"))
            for index in indices
        }
    )
    ids = [record.id for record in records]
    return units, flatten_units(stratified_group_split(units, catalogue.labels.tolist(), ids, seed, shares))


def split_by_test_folder(catalogue: Catalogue, seed: int) -> tuple[SubsetIndices, list[str]]:
    return split_by_folders(catalogue, seed, keep_validation=False)


def split_by_folders(
    catalogue: Catalogue, seed: int, *, keep_validation: bool = True
) -> tuple[SubsetIndices, list[str]]:
    subsets: SubsetIndices = {name: [] for name in SUBSETS}
    for index, record in enumerate(catalogue.records):
        if record.subset is None:
            raise DataError(
                f"split=official: {record.id} is in no train, val or test folder; wanted {catalogue.name} as it was "
                "published, divided; type split=stratified"
            )
        subsets[record.subset].append(index)
    for name in ("train", "test"):
        if not subsets[name]:
            raise DataError(f"split=official: {catalogue.name} has no {name} folder; type split=stratified")
    notes: list[str] = []
    is_tiny = 100 * len(subsets["val"]) < MIN_VALIDATION_PERCENT * len(subsets["train"])
    if is_tiny or not keep_validation:
        if is_tiny and subsets["val"]:
            notes.append(
                f"the val folder has only {len(subsets['val'])} images: they train, and 10% of training validates"
            )
        pool = sorted(subsets["train"] + subsets["val"])
        if any(catalogue.records[index].group for index in pool) and not catalogue.groups_may_restart:
            _, divided = split_groups(catalogue, seed, pool, TRAINING_SHARES)
            more = find_mixed_labels(catalogue, pool)
        else:
            divided, more = stratify_subset(catalogue, seed, pool, TRAINING_SHARES, needed=1)
        subsets["train"], subsets["val"] = divided["train"], divided["val"]
        notes += more
    else:
        notes += find_mixed_labels(catalogue, range(len(catalogue.records)))
    hashes = {name: {catalogue.records[index].sha256 for index in own} for name, own in subsets.items()}
    for name, other in (("test", "train"), ("test", "val"), ("val", "train")):
        shared = sum(catalogue.records[index].sha256 in hashes[other] for index in subsets[name])
        if shared:
            notes.append(f"{shared} {name} images are byte for byte in {other} as well, as the set is published")
    groups = {name: [catalogue.records[index].group for index in own] for name, own in subsets.items()}
    trained = {group for group in groups["train"] if group}
    if shared := sum(group in trained for group in groups["val"]):
        notes.append(
            f"{shared} of {len(groups['val'])} validation images share a patient, slide or source image with training"
            f"{suggest_patient_split(catalogue, seed)}"
        )
    return subsets, notes


def describe_small_validation(kind: str, train: int, validation: int) -> list[str]:
    """Warn of a validation subset too small to choose by, with what to type; empty if it suffices, or there is none."""
    if not 0 < validation < MIN_CHOOSING_IMAGES:
        return []
    tenth = (train + validation) // 10
    mend = "add images, or choose yourself: type one batch_size=N, select_encoder=last and probe=[knn]"
    if kind == "official" and tenth > validation:
        mend = f"type split=official_test to validate with 10% of the others, {tenth} images"
    return [
        f"only {pluralise(validation, 'image')} to validate with: batch size, epoch and settings of a probe would be "
        f"chosen{format_choice_noise(validation)}; {mend}"
    ]


def format_choice_noise(validation: int) -> str:
    """Format how far chance moves an accuracy on so many images (95%)."""
    return f" by an accuracy that chance moves by {98 / validation**0.5:.0f} points"


def split_identical_together(
    catalogue: Catalogue, units: Sequence[Unit], seed: int, shares: dict[str, int]
) -> SubsetIndices:
    ids = [record.id for record in catalogue.records]
    return flatten_units(split_units(shuffle_units(units, ids, str(seed)), shares))


def flatten_units(assigned: dict[str, list[Unit]]) -> SubsetIndices:
    return {name: [index for unit in units for index in unit] for name, units in assigned.items()}


def group_identical_images(catalogue: Catalogue, indices: Sequence[int]) -> list[Unit]:
    """Group the images at `indices` by their bytes."""
    return group_by_shared_keys({index: (catalogue.records[index].sha256,) for index in indices})


def find_mixed_labels(catalogue: Catalogue, indices: Sequence[int]) -> list[str]:
    """Return a note if some of the images at `indices` have the same bytes and different labels."""
    labels: dict[str, set[str]] = defaultdict(set)
    for index in indices:
        labels[catalogue.records[index].sha256].add(catalogue.records[index].label)
    mixed = [sha256 for sha256, names in labels.items() if len(names) > 1]
    if not mixed:
        return []
    example = next(record.id for record in catalogue.records if record.sha256 == mixed[0])
    return [f"{len(mixed)} images are in two classes with the same bytes, for one {example}: one label must be wrong"]
