"""What is known of each image, and of the set: the plain data that everything after the sources works on."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Record:
    """One image.

    `id` is its path below the root (POSIX), `label` its class ("" if it has none), `group` its patient, slide or source
    image, `side` "train", "val" or "test" in a set that comes divided. `height` and `width` are the original's in
    pixels, upright. `sha256` is that of the file's bytes. `path` is where it lies, which is no part of what it is.
    """

    id: str
    label: str
    group: str | None
    side: str | None
    height: int
    width: int
    sha256: str
    path: Path = field(default=Path(), compare=False)


@dataclass(frozen=True)
class Catalogue:
    """A set of images.

    `records` have labels, `unlabelled` ones serve pre-training only; both are sorted by id. `notes` are lines for the
    user. `official_default`: `split=auto` takes the set's own folders. `groups_may_restart`: the same group on two
    official sides need not be the same patient. `grey_range`: the stored values that become black and white in grey
    images of more than 8 bits, where the set says so. `subset`: so many were asked for, of a larger set.
    """

    name: str
    root: Path
    records: tuple[Record, ...]
    notes: tuple[str, ...]
    unlabelled: tuple[Record, ...] = ()
    official_default: bool = False
    groups_may_restart: bool = False
    grey_range: tuple[float, float] | None = None
    subset: int | None = None

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, sorted."""
        return tuple(sorted({record.label for record in self.records}))

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """int64 [N]: the place in `classes` of each record's label."""
        place = {name: index for index, name in enumerate(self.classes)}
        return np.array([place[record.label] for record in self.records], dtype=np.int64)

    @cached_property
    def digest(self) -> str:
        """Hex SHA-256 of ids, labels, groups and bytes, of the unlabelled images, too, and of the grey range."""
        content: list[list[object]] = [
            [each.id, each.label, each.group, each.sha256] for each in self.records + self.unlabelled
        ]
        if self.grey_range is not None:
            content.append(["grey_range", *self.grey_range])
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def counts(self) -> dict[str, int]:
        """The number of images of each class."""
        return dict(sorted(Counter(record.label for record in self.records).items()))
