"""Which image trains, which validates, which tests. A split is a file with a digest."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.data.deal import SIDES
from lowres_ssl.data.division import Sides, follow_folders, split_patients, split_randomly, stratify
from lowres_ssl.data.records import Catalogue
from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.sealed import unsealed, write_sealed

KINDS = {"random": split_randomly, "stratified": stratify, "patient": split_patients, "official": follow_folders}
VERSION = 2
UNSEALED_VERSION = 1  # the same without a checksum of kind, seed and notes


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
    `official` for a folder that comes divided, else `stratified`. Files of the same bytes stay together, except under
    `official`, where a note says how many do not.

    Raises `ConfigError` for an unknown kind, `DataError` for a class or a set too small for it.
    """
    if kind == "auto":
        kind = "official" if catalogue.official_default else "stratified"
    if kind not in KINDS:
        raise ConfigError(f"split={kind}: wanted one of auto, {', '.join(KINDS)}")
    sides, notes = KINDS[kind](catalogue, seed)
    trained = {int(catalogue.labels[index]) for index in sides["train"]}
    for label, name in enumerate(catalogue.classes):
        if label not in trained:
            raise DataError(f"split={kind}: class {name} has no training image; type split=stratified, or add images")
    tested = {int(catalogue.labels[index]) for index in sides["test"]}
    for label, name in enumerate(catalogue.classes):
        if label not in tested:
            notes.append(f"class {name} has no test image")
    return assemble(catalogue, kind, seed, sides, notes)


def assemble(catalogue: Catalogue, kind: str, seed: int, sides: Sides, notes: Iterable[str]) -> Split:
    train, validation, test = (np.array(sorted(sides[side]), dtype=np.int64) for side in SIDES)
    digest = digest_of({side: [catalogue.records[index].id for index in sides[side]] for side in SIDES})
    return Split(kind, seed, train, validation, test, digest, tuple(notes))


def digest_of(ids: dict[str, list[str]]) -> str:
    return hashlib.sha256(json.dumps([sorted(ids[side]) for side in SIDES]).encode()).hexdigest()


def save_split(split: Split, catalogue: Catalogue, path: Path) -> None:
    """Write the ids of each side as JSON, whole or not at all. Raises `OSError`."""
    ids = {
        side: [catalogue.records[index].id for index in indices]
        for side, indices in zip(SIDES, (split.train, split.validation, split.test), strict=True)
    }
    content = {"version": VERSION, "kind": split.kind, "seed": split.seed, "digest": split.digest, "notes": split.notes}
    write_sealed(path, content | ids)


def load_split(path: Path, catalogue: Catalogue) -> Split:
    """The split in `path`. Raises `DataError` if the file is damaged, or not a split of just these images."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] == VERSION:
            content = unsealed(content)
        version, kind, seed, digest = (content[key] for key in ("version", "kind", "seed", "digest"))
        notes = [str(note) for note in content["notes"]]
        ids = {side: [str(id) for id in content[side]] for side in SIDES}
    except OSError as error:
        raise DataError(
            f"{path}: the split cannot be read ({error.strerror}); type the pretrain command again: it makes it anew"
        ) from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(
            f"{path}: not a split, or a damaged one; type the pretrain command again: it writes it anew"
        ) from error
    if version not in (UNSEALED_VERSION, VERSION):
        raise DataError(
            f"{path}: split version {version}, wanted {VERSION}; type the pretrain command again: it writes it anew"
        )
    if digest != digest_of(ids):
        raise DataError(
            f"{path}: its digest does not fit its ids, someone edited it; type the pretrain command again: "
            "it writes it anew"
        )
    place = {record.id: index for index, record in enumerate(catalogue.records)}
    listed = [id for side in SIDES for id in ids[side]]
    if sorted(listed) != sorted(place):
        odd = sorted(set(listed) ^ set(place)) or [id for id in place if listed.count(id) > 1]
        raise DataError(
            f"{path}: a split of other images: got {len(listed)}, wanted the {len(place)} of {catalogue.name} "
            f"(the first that differs is {odd[0]}); remove it, then type the pretrain command again"
        )
    return assemble(catalogue, str(kind), int(seed), {side: [place[id] for id in ids[side]] for side in SIDES}, notes)
