"""Config -> images: indexed, divided, decoded, with everything checked that is known before the long work."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.config import DatasetConfig, Experiment
from lowres_ssl.data.fetch import fetch, is_there
from lowres_ssl.data.index import build_catalogue
from lowres_ssl.data.records import Catalogue
from lowres_ssl.data.sources import build_source, folders_in
from lowres_ssl.data.splits import Split, make_split
from lowres_ssl.data.store import (
    ImageStore,
    as_decoded,
    open_store,
    original_size_for,
    storage_size_for,
    store_folder,
)
from lowres_ssl.data.subset import stratified_subset
from lowres_ssl.errors import DataError, did_you_mean

Divide = Callable[[Catalogue], Split]


@dataclass(frozen=True)
class Outline:
    """What is known of an experiment's images before one is decoded. `store_shape`: [N, C, R, R] of the store."""

    catalogue: Catalogue
    split: Split
    store_shape: tuple[int, ...]


@dataclass(frozen=True)
class Material:
    """The images of an experiment: what is known of them, which side they are on, their bytes."""

    catalogue: Catalogue
    split: Split
    store: ImageStore

    @property
    def outline(self) -> Outline:
        return Outline(self.catalogue, self.split, self.store.images.shape)

    def pretraining_rows(self, pretrain_on: str) -> NDArray[np.int64]:
        """Rows of the store to pre-train on: the training images and the unlabelled ones, or all there are."""
        labelled = len(self.catalogue.records)
        chosen = self.split.train if pretrain_on == "training" else np.arange(labelled)
        return np.concatenate([chosen, np.arange(labelled, len(self.store.ids))])


def catalogue_of(dataset: DatasetConfig, store_dir: Path) -> Catalogue:
    """The set's images as records. Raises `DataError` or `ConfigError`."""
    source = build_source(dataset.source, dataset.options)
    source.prepare(Path(dataset.root))
    if dataset.archive and not is_there(Path(dataset.root)):
        get(dataset)
    if not (root := Path(dataset.root)).exists():
        beside = [each.name for each in folders_in(root.parent)] if root.parent.is_dir() else []
        raise DataError(
            f"{dataset.root}: no such folder, wanted the images of {dataset.title}. {how_to_get(dataset)} "
            f"Elsewhere: dataset.root=FOLDER{did_you_mean(root.name, beside, f'dataset.root={root.parent}/{{}}')}"
        )
    catalogue = build_catalogue(
        name=dataset.name,
        root=Path(dataset.root),
        source=source,
        expected=dataset.expected,
        unlabelled=Path(dataset.unlabelled) if dataset.unlabelled else None,
        skip_unreadable=dataset.skip_unreadable,
        cache_dir=store_dir,
        grey_range=None if dataset.grey_range is None else (dataset.grey_range[0], dataset.grey_range[1]),
    )
    return catalogue if dataset.subset is None else stratified_subset(catalogue, dataset.subset)


def get(dataset: DatasetConfig) -> None:
    """Download the set, or unpack `dataset.archive`, into `dataset.root`, unless it is there. Raises `DataError`."""
    build_source(dataset.source, dataset.options).prepare(Path(dataset.root))
    if dataset.archive is None and dataset.url is None and not is_there(Path(dataset.root)):
        raise DataError(f"{dataset.title} cannot be downloaded by a program. {how_to_get(dataset)}")
    fetch(
        name=dataset.name,
        url=dataset.url,
        sha256=dataset.sha256,
        archive=Path(dataset.archive) if dataset.archive else None,
        root=Path(dataset.root),
        instructions=dataset.instructions,
    )


def how_to_get(dataset: DatasetConfig) -> str:
    """One or two sentences on where a set comes from, with the command."""
    if dataset.url:
        return f"Type: lowres-ssl data dataset={dataset.name} fetch=true. By hand: {dataset.instructions}."
    sentence = f"{dataset.instructions.rstrip('.')}."
    if not dataset.expected:  # a set that nobody published
        return sentence
    return f"{sentence} Then: lowres-ssl data dataset={dataset.name} fetch=true dataset.archive=PATH"


def foresee(config: Experiment, divide: Divide) -> tuple[Outline, int]:
    """As `prepare`, without decoding; and the bytes that the decoded images would take, 0 if they are there."""
    catalogue = catalogue_of(config.dataset, Path(config.store_dir))
    size = storage_size_of(config.dataset, catalogue, config.image_size)
    folder = store_folder(catalogue, colour=config.images.colour, storage_size=size, store_dir=Path(config.store_dir))
    if config.dataset.skip_unreadable:
        catalogue = as_decoded(catalogue, folder)
    images = len(catalogue.records) + len(catalogue.unlabelled)
    shape = (images, 3 if config.images.colour else 1, size, size)
    return Outline(catalogue, divide(catalogue), shape), 0 if folder.exists() else math.prod(shape)


def prepare(config: Experiment, divide: Divide, *, as_in_a_run: bool = False) -> Material:
    """The images of `config`, decoded. `divide` raises if they will not do; it is asked before the decoding.

    `as_in_a_run`: it takes the images of a run and no others. Where unreadable ones are left out, only decoding tells
    which are left, so that it is asked after it.
    """
    store_dir = Path(config.store_dir)
    catalogue = catalogue_of(config.dataset, store_dir)
    split = None if as_in_a_run and config.dataset.skip_unreadable else divide(catalogue)
    store, readable = open_store(
        catalogue,
        colour=config.images.colour,
        storage_size=storage_size_of(config.dataset, catalogue, config.image_size),
        store_dir=store_dir,
        skip_unreadable=config.dataset.skip_unreadable,
    )
    if split is None or readable is not catalogue:  # some images turned out to be unreadable and were left out
        split = divide(readable)
    return Material(readable, split, store)


def storage_size_of(dataset: DatasetConfig, catalogue: Catalogue, image_size: int) -> int:
    """The side in pixels of the square that each image is stored as."""
    if dataset.storage_size is None:
        return storage_size_for(catalogue, image_size)
    if isinstance(dataset.storage_size, int):
        return dataset.storage_size
    return original_size_for(catalogue, image_size)  # the one word that `read_config` lets pass


def split_of(config: Experiment, catalogue: Catalogue) -> Split:
    """The split that `config` asks for."""
    return make_split(catalogue, kind=config.split.name, seed=config.split_seed)
