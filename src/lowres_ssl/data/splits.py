"""Which image trains, which validates, which tests. A split is a file with a digest."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.partition import SUBSETS
from lowres_ssl.data.pseudonyms import Pseudonyms, find_pseudonyms
from lowres_ssl.data.split_strategies import (
    SubsetIndices,
    split_by_folders,
    split_patients,
    split_randomly,
    split_stratified,
)
from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.io.checksummed_json import FORMAT_VERSIONS, read_record, write_checked_json

SPLIT_STRATEGIES = {
    "random": split_randomly,
    "stratified": split_stratified,
    "patient": split_patients,
    "official": split_by_folders,
}
RERUN_PRETRAIN_HINT = "to have it written anew type the pretrain command again"


@dataclass(frozen=True)
class Split:
    """Indices into `catalogue.records` (int64, ascending, together all of them, none twice); `kind` is never "auto".

    `digest` is the hex SHA-256 of which id is on which side, and of nothing else. `notes` are lines for the user.
    """

    kind: str
    seed: int
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]
    digest: str
    notes: tuple[str, ...]


def make_split(catalogue: Catalogue, *, kind: str, seed: int) -> Split:
    """Divide the labelled images: 70% train, 10% validate, 20% test.

    `random` ignores the labels, `stratified` keeps the shares in each class, `patient` keeps each group on one side,
    `official` takes the set's own folders (10% of train validates if there is no val folder, or a tiny one). `auto` is
    `official` for a folder or table that comes divided, else `patient` where groups are known, else `stratified`. Files
    of the same bytes stay together, except under `official`, where a note says how many do not.

    Raises `ConfigError` for an unknown kind, `DataError` for a class or a set too small for it.
    """
    if kind == "auto":
        kind = get_default_split_kind(catalogue)
    if kind not in SPLIT_STRATEGIES:
        raise ConfigError(f"split={kind}: wanted one of auto, {', '.join(SPLIT_STRATEGIES)}")
    sides, notes = SPLIT_STRATEGIES[kind](catalogue, seed)
    trained = {int(catalogue.labels[index]) for index in sides["train"]}
    for label, name in enumerate(catalogue.classes):
        if label not in trained:
            raise DataError(f"split={kind}: class {name} has no training image; type split=stratified, or add images")
    tested = {int(catalogue.labels[index]) for index in sides["test"]}
    for label, name in enumerate(catalogue.classes):
        if label not in tested:
            notes.append(f"class {name} has no test image")
    return build_split(catalogue, kind, seed, sides, notes)


def get_default_split_kind(catalogue: Catalogue) -> str:
    """What `auto` means for a set."""
    if catalogue.official_default:
        return "official"
    return "patient" if any(record.group for record in catalogue.records) else "stratified"


def build_split(catalogue: Catalogue, kind: str, seed: int, sides: SubsetIndices, notes: Iterable[str]) -> Split:
    train, validation, test = (np.array(sorted(sides[side]), dtype=np.int64) for side in SUBSETS)
    digest = digest_ids({side: [catalogue.records[index].id for index in sides[side]] for side in SUBSETS})
    return Split(kind, seed, train, validation, test, digest, tuple(notes))


def digest_ids(ids: dict[str, list[str]]) -> str:
    return hashlib.sha256(json.dumps([sorted(ids[side]) for side in SUBSETS]).encode()).hexdigest()


def save_split(split: Split, catalogue: Catalogue, path: Path, pseudonyms: Pseudonyms | None = None) -> None:
    """Write the ids of each side as JSON, whole or not at all; with `pseudonyms`, their hashes. Raises `OSError`."""
    ids = {
        side: [catalogue.records[index].id for index in indices]
        for side, indices in zip(SUBSETS, (split.train, split.validation, split.test), strict=True)
    }
    notes = list(split.notes)
    if pseudonyms is not None:
        hashed = {record.id: pseudonyms.image(record.id) for record in catalogue.records}
        ids = {side: [hashed[id] for id in own] for side, own in ids.items()}
        notes = [hide_image_name(note, hashed) for note in notes]
    about = {"version": FORMAT_VERSIONS["split"], "kind": split.kind, "seed": split.seed, "digest": split.digest}
    write_checked_json(path, about | {"notes": notes, "hashed": pseudonyms is not None} | ids)


def hide_image_name(note: str, hashed: Mapping[str, str]) -> str:
    """A note that names an image as its example, with the hash in its place."""
    for id in sorted(hashed, key=len, reverse=True):  # "a.png" is the end of "aa.png"
        note = note.replace(id, hashed[id])
    return note


def load_split(path: Path, catalogue: Catalogue, store_dir: Path, again: str = RERUN_PRETRAIN_HINT) -> Split:
    """The split in `path`; `store_dir`: where the key may be that its names are hashed with; `again`: what writes the
    file anew, for the messages.

    Raises `CheckpointError` if it was written by another version or holds what no split does, `DataError` if it is
    missing, was edited, or is not of just these images.
    """
    content = read_record(path, "split", again)
    if content is None:
        raise DataError(f"{path}: no such file, wanted the run's split; {again}")
    ids: dict[str, list[str]] = {side: content[side] for side in SUBSETS}
    names = {record.id: record.id for record in catalogue.records}
    if content.get("hashed", False):
        pseudonyms = find_pseudonyms(catalogue.root, store_dir)
        if pseudonyms is None:
            raise DataError(
                f"{path}: its image names are hashed with a key that is not in {catalogue.root}, nor in {store_dir}; "
                f"name the folder with it by dataset.root=FOLDER, or {again}"
            )
        names = {pseudonyms.image(id): id for id in names}
    listed = [id for side in SUBSETS for id in ids[side]]
    if sorted(listed) != sorted(names):
        odd = sorted(set(listed) ^ set(names)) or [id for id in names if listed.count(id) > 1]
        raise DataError(
            f"{path}: a split of other images: got {len(listed)}, wanted the {len(names)} of {catalogue.name} "
            f"(the first that differs is {odd[0]}); {again}"
        )
    place = {record.id: index for index, record in enumerate(catalogue.records)}
    sides = {side: [place[names[id]] for id in ids[side]] for side in SUBSETS}
    split = build_split(catalogue, content["kind"], content["seed"], sides, content["notes"])
    if content["digest"] != split.digest:
        raise DataError(f"{path}: its digest does not fit its ids, someone edited it; {again}")
    return split
