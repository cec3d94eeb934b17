"""Divide a catalogue into training, validation and test images, and choose which of them keep their labels."""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.catalogue_subset import FEWEST_TO_DIVIDE, find_small_classes, format_classes
from lowres_ssl.data.partition import SUBSETS
from lowres_ssl.data.pseudonyms import Pseudonyms, find_pseudonyms
from lowres_ssl.data.split_strategies import (
    SubsetIndices,
    describe_small_validation,
    split_by_folders,
    split_by_test_folder,
    split_patients,
    split_randomly,
    split_stratified,
    suggest_patient_split,
)
from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.io.checksummed_json import read_record, write_record
from lowres_ssl.seeding import derive_seed
from lowres_ssl.stats.intervals import MIN_RELIABLE_GROUPS, compute_kish_size

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class LabelSubset:
    """Name the `number`-th draw of a `fraction` (above 0, at most 1) of the labels."""

    fraction: float
    number: int

    @property
    def is_full(self) -> bool:
        return self.fraction == 1

    def covers(self, other: "LabelSubset") -> bool:
        """Whether this subset has all labels of `other`."""
        return self.is_full or (self.number == other.number and self.fraction >= other.fraction)


ALL_LABELS = LabelSubset(1.0, 0)


def list_label_subsets(fractions: Sequence[float], times: int) -> list[LabelSubset]:
    """List each fraction so many times, the whole once."""
    return [LabelSubset(each, number) for each in fractions for number in range(times if each < 1 else 1)]


def select_labelled(labels: Rows, train: Rows, validation: Rows, draw: LabelSubset) -> tuple[Rows, Rows]:
    """Select positions (int64, ascending) in `train` and in `validation` (rows of `labels`) whose labels are used.

    Stratified: of each class the fraction, rounded to the nearest image; at least one training image. Validation
    shrinks alike and may lose a class: a choice made with 1% of the labels has to use that 1%. A larger fraction of the
    same draw has all the labels of a smaller one.
    """

    def choose(own_labels: Rows, name: str, least: int) -> Rows:
        if draw.is_full or not len(own_labels):
            return np.arange(len(own_labels))
        # One order for all fractions.
        order = np.random.default_rng(derive_seed(draw.number, "label draw", name)).permutation(len(own_labels))
        by_class = [order[own_labels[order] == label] for label in np.unique(own_labels)]
        return np.sort(np.concatenate([own[: max(least, round(draw.fraction * len(own)))] for own in by_class]))

    return choose(labels[train], "train", 1), choose(labels[validation], "validation", 0)


SPLIT_STRATEGIES = {
    "random": split_randomly,
    "stratified": split_stratified,
    "patient": split_patients,
    "official": split_by_folders,
    "official_test": split_by_test_folder,
}
NO_SPLIT = "none"  # of a set without labels
RERUN_PRETRAIN_HINT = "to have it written anew type the pretrain command again"


@dataclass(frozen=True)
class Split:
    """Hold indices into `catalogue.records` (int64, ascending, each record once); `kind` is never "auto".

    `digest` is the hex SHA-256 of which id is in which subset, and of nothing else. `notes` are lines for the user.
    """

    kind: str
    seed: int
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    digest: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class SplitRecord:
    """Hold a split as `split.json` has it: the image ids of each subset, or with `hashed` their pseudonyms."""

    VERSION: ClassVar[int] = 3

    kind: str
    seed: int
    digest: str
    notes: tuple[str, ...]
    hashed: bool
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]


def make_split(catalogue: Catalogue, *, kind: str, seed: int) -> Split:
    """Divide the labelled images: 70% train, 10% validate, 20% test.

    `random` ignores the labels, `stratified` keeps the shares in each class, `patient` keeps each group in one subset,
    `official` takes the set's own folders (10% of train validates if there is no val folder, or a tiny one),
    `official_test` the test folder alone, so that 10% of the others validate. `auto` is
    `official` for a folder or table that is divided, else `patient` where groups are known, else `stratified`. Files of
    the same bytes stay together, except under `official`, where a note counts those that do not. A set without labels
    has empty subsets.

    Raises `ConfigError` for an unknown kind, `DataError` for a class or a set too small for it.
    """
    if not catalogue.records:
        return build_split(catalogue, NO_SPLIT, seed, {name: [] for name in SUBSETS}, [])
    if kind == "auto":
        kind = get_default_split_kind(catalogue)
    if kind not in SPLIT_STRATEGIES:
        raise ConfigError(f"split={kind}: wanted one of auto, {', '.join(SPLIT_STRATEGIES)}")
    subsets, notes = SPLIT_STRATEGIES[kind](catalogue, seed)
    trained, tested = ({int(catalogue.labels[index]) for index in subsets[name]} for name in ("train", "test"))
    counts = catalogue.counts()
    if lacking := {name: counts[name] for label, name in enumerate(catalogue.classes) if label not in trained}:
        small = lacking.keys() & find_small_classes(catalogue, FEWEST_TO_DIVIDE).keys()
        hint = (
            f"dataset.min_class_images={FEWEST_TO_DIVIDE} leaves such classes out" if small else "type split=stratified"
        )
        raise DataError(f"split={kind}: no training image of {format_classes(lacking)}; {hint}")
    if untested := {name: counts[name] for label, name in enumerate(catalogue.classes) if label not in tested}:
        notes.append(f"no test image of {format_classes(untested)}")
    notes += describe_small_validation(kind, len(subsets["train"]), len(subsets["val"]))
    notes += describe_few_groups(count_groups(catalogue, subsets["test"]))
    return build_split(catalogue, kind, seed, subsets, notes)


def count_groups(catalogue: Catalogue, rows: Iterable[int]) -> Rows:
    """Count the images of each group (patient, slide, source image) among `rows`: int64 [G]; empty where none is
    known in the set. An image without one is a group of its own, as in the intervals."""
    if not any(record.group for record in catalogue.records):
        return np.zeros(0, dtype=np.int64)
    records = [catalogue.records[index] for index in rows]
    return np.unique([record.group or f"image {record.id}" for record in records], return_counts=True)[1]


def describe_few_groups(sizes: Rows) -> list[str]:
    """Warn of a test subset whose groups, of these sizes, are too few for its intervals; empty if they suffice."""
    if not len(sizes) or (effective := compute_kish_size(sizes)) >= MIN_RELIABLE_GROUPS:
        return []
    uneven = f", unequal in size, as much as {effective:.0f} equal ones" if len(sizes) - effective >= 1 else ""
    return [
        f"the test images are of {len(sizes)} groups (patients, slides or source images){uneven}: fewer than "
        f"{MIN_RELIABLE_GROUPS} measure little, and tables mark their intervals"
    ]


def get_default_split_kind(catalogue: Catalogue) -> str:
    """Choose what `split=auto` means for a set."""
    if catalogue.official_default:
        return "official"
    return "patient" if any(record.group for record in catalogue.records) else "stratified"


def build_split(catalogue: Catalogue, kind: str, seed: int, subsets: SubsetIndices, notes: Iterable[str]) -> Split:
    train, validation, test = (np.array(sorted(subsets[name]), dtype=np.int64) for name in SUBSETS)
    ids = [sorted(catalogue.records[index].id for index in subsets[name]) for name in SUBSETS]
    digest = hashlib.sha256(json.dumps(ids).encode()).hexdigest()
    return Split(kind, seed, train, validation, test, digest, tuple(notes))


def save_split(split: Split, catalogue: Catalogue, path: Path, pseudonyms: Pseudonyms | None = None) -> None:
    """Write the ids of each subset as JSON; with `pseudonyms`, their hashes. Raises `OSError`."""
    names, notes = [record.id for record in catalogue.records], split.notes
    if pseudonyms is not None:
        for id in sorted(names, key=len, reverse=True):  # "a.png" is the end of "aa.png"
            notes = tuple(note.replace(id, pseudonyms.image(id)) for note in notes)
        names = list(map(pseudonyms.image, names))
    train, val, test = (tuple(names[row] for row in rows) for rows in (split.train, split.validation, split.test))
    hashed = pseudonyms is not None
    write_record(path, SplitRecord(split.kind, split.seed, split.digest, notes, hashed, train, val, test))


def load_split(path: Path, catalogue: Catalogue, store_dir: Path, again: str = RERUN_PRETRAIN_HINT) -> Split:
    """Load the split in `path`. `store_dir`: where the key may be that its names are hashed with; `again`: how to write
    the file again, for the messages.

    Raises `CheckpointError` for a file of another version or a damaged one, `DataError` if it is missing or not of just
    these images.
    """
    content = read_record(path, SplitRecord, again)
    if content is None:
        raise DataError(f"{path}: no such file, wanted the run's split; {again}")
    names = list_split_names(path, content, catalogue, store_dir, again)
    listed = content.train + content.val + content.test
    if sorted(listed) != sorted(names):
        raise DataError(
            f"{path}: a split of other images: got {len(listed)}, wanted the {len(names)} of {catalogue.name}; {again}"
        )
    rows = {name: row for row, name in enumerate(names)}
    subsets = {name: [rows[each] for each in getattr(content, name)] for name in SUBSETS}
    return build_split(catalogue, content.kind, content.seed, subsets, content.notes)


def count_seen_test_images(path: Path, split: Split, catalogue: Catalogue, store_dir: Path) -> int:
    """Count the test images of `split` that are training images in the split of another run of the same set, in
    `path`. `store_dir`: as in `load_split`. Raises as that does for names that are hashed with a missing key."""
    content = read_record(path, SplitRecord, RERUN_PRETRAIN_HINT)
    if content is None:
        return 0
    names = list_split_names(path, content, catalogue, store_dir, RERUN_PRETRAIN_HINT)
    if content.hashed and not {*names} & {*content.train, *content.val, *content.test}:
        raise DataError(
            f"{path}: none of its images is in {catalogue.name}, whose key may be another than its image names are "
            f"hashed with, so whether test images were seen is unknown; {RERUN_PRETRAIN_HINT}"
        )
    return len({names[row] for row in split.test} & set(content.train))


def list_split_names(path: Path, content: SplitRecord, catalogue: Catalogue, store_dir: Path, again: str) -> list[str]:
    """List the images of the catalogue as the split in `path` names them, which may be by hash."""
    names = [record.id for record in catalogue.records]
    if not content.hashed:
        return names
    pseudonyms = find_pseudonyms(catalogue.root, store_dir)
    if pseudonyms is None:
        raise DataError(
            f"{path}: its image names are hashed with a key that is not in {catalogue.root}, nor in {store_dir}; "
            f"name the folder with it by dataset.root=FOLDER, or {again}"
        )
    return list(map(pseudonyms.image, names))


@dataclass(frozen=True)
class Leakage:
    """Count test images that the training set knows, by group or byte for byte. `possible`: the same group in both need
    not be the same patient. `mend`: what to type against a shared group, if there is anything."""

    test_images: int
    share_group: int
    exact_duplicate: int
    groups_known: bool
    possible: bool
    mend: str

    @property
    def leaks(self) -> bool:
        return bool(self.share_group or self.exact_duplicate)

    def format_sentence(self) -> str:
        """Summarise the counts in one line."""
        if not self.groups_known:
            patients = "patients are not known"
        else:
            share = f" ({100 * self.share_group / self.test_images:.0f}%)" if self.share_group else ""
            patients = (
                f"{self.share_group} of {self.test_images} test images{share} "
                "share a patient, slide or source image with training"
            )
            if self.possible and self.share_group:
                patients += " (possible, not certain: the numbering may restart in the test folder)"
        return f"leakage: {patients}; {self.exact_duplicate} have an exact duplicate there"

    def list_warnings(self) -> list[str]:
        """Warn beside scores that leakage may flatter, with what to type against it; empty without leakage."""
        return [f"{self.format_sentence()}{self.mend}"] if self.leaks else []


def compute_leakage(catalogue: Catalogue, split: Split) -> Leakage:
    """Count test images that share a group (patient, slide, source image) or all bytes with a training image."""
    train = [catalogue.records[index] for index in split.train]
    test = [catalogue.records[index] for index in split.test]
    groups = {record.group for record in train} - {None}
    bytes_seen = {record.sha256 for record in train}
    share_group = sum(record.group in groups for record in test)
    return Leakage(
        test_images=len(test),
        share_group=share_group,
        exact_duplicate=sum(record.sha256 in bytes_seen for record in test),
        groups_known=any(record.group for record in catalogue.records),
        possible=catalogue.groups_may_restart and split.kind in ("official", "official_test"),
        mend=suggest_patient_split(catalogue, split.seed) if share_group and split.kind != "patient" else "",
    )
