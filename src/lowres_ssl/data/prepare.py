"""Prepare an experiment's images: list, divide and decode them, and check before decoding what can be checked."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.config.experiment_schema import DatasetConfig, ExperimentConfig
from lowres_ssl.data.catalogue import Catalogue, build_catalogue, take_stratified_subset
from lowres_ssl.data.datasets import build_source
from lowres_ssl.data.download import describe_source, fetch_dataset, is_folder_filled
from lowres_ssl.data.image_store import (
    ImageStore,
    choose_storage_size,
    drop_undecodable,
    get_original_size,
    get_store_folder,
    open_image_store,
)
from lowres_ssl.data.splits import Split, compute_leakage, make_split
from lowres_ssl.errors import DataError

SplitFunction = Callable[[Catalogue], Split]


@dataclass(frozen=True)
class DataSummary:
    """Describe an experiment's images before they are decoded. `store_shape`: [N, C, R, R] of the store."""

    catalogue: Catalogue
    split: Split
    store_shape: tuple[int, ...]


@dataclass(frozen=True)
class PreparedData:
    """Hold the images of an experiment: their records, their split and their bytes."""

    catalogue: Catalogue
    split: Split
    store: ImageStore

    @property
    def outline(self) -> DataSummary:
        return DataSummary(self.catalogue, self.split, self.store.images.shape)

    @property
    def leakage_warnings(self) -> list[str]:
        """What may flatter scores on these images."""
        return compute_leakage(self.catalogue, self.split).list_warnings()

    def pretraining_rows(self, pretrain_on: str) -> NDArray[np.int64]:
        """List the store's rows to pre-train on: the training images and the unlabelled ones, or all images."""
        labelled = len(self.catalogue.records)
        chosen = self.split.train if pretrain_on == "training" else np.arange(labelled)
        return np.concatenate([chosen, np.arange(labelled, len(self.store.ids))])


def load_catalogue(dataset: DatasetConfig, store_dir: Path) -> Catalogue:
    """List the set's images as records. Raises `DataError` or `ConfigError`."""
    source = build_source(dataset.source, dataset.options)
    source.prepare(Path(dataset.root))
    if dataset.archive and not is_folder_filled(Path(dataset.root)):
        fetch_dataset(dataset)
    if not Path(dataset.root).exists():
        raise DataError(
            f"{dataset.root}: no such folder, wanted the images of {dataset.title}. {describe_source(dataset)} "
            "Elsewhere: dataset.root=FOLDER"
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
    return catalogue if dataset.subset is None else take_stratified_subset(catalogue, dataset.subset)


def summarise_data(config: ExperimentConfig, divide: SplitFunction) -> tuple[DataSummary, int]:
    """Prepare without decoding; return as well the bytes that the decoded images would take, 0 if they exist."""
    catalogue = load_catalogue(config.dataset, Path(config.store_dir))
    size = get_storage_size(config.dataset, catalogue, config.image_size)
    folder = get_store_folder(
        catalogue, colour=config.images.colour, storage_size=size, store_dir=Path(config.store_dir)
    )
    if config.dataset.skip_unreadable:
        catalogue = drop_undecodable(catalogue, folder)
    images = len(catalogue.records) + len(catalogue.unlabelled)
    shape = (images, 3 if config.images.colour else 1, size, size)
    return DataSummary(catalogue, divide(catalogue), shape), 0 if folder.exists() else math.prod(shape)


def prepare_data(config: ExperimentConfig, divide: SplitFunction, *, as_in_a_run: bool = False) -> PreparedData:
    """Decode the images of `config`. `divide` is called before the decoding, and raises for images that do not fit.

    `as_in_a_run`: `divide` takes the images of a run and no others. Where unreadable ones are skipped, these are known
    only after the decoding, so it is called then.
    """
    store_dir = Path(config.store_dir)
    catalogue = load_catalogue(config.dataset, store_dir)
    split = None if as_in_a_run and config.dataset.skip_unreadable else divide(catalogue)
    store, readable = open_image_store(
        catalogue,
        colour=config.images.colour,
        storage_size=get_storage_size(config.dataset, catalogue, config.image_size),
        store_dir=store_dir,
        skip_unreadable=config.dataset.skip_unreadable,
    )
    if split is None or readable is not catalogue:  # some images were unreadable and skipped
        split = divide(readable)
    return PreparedData(readable, split, store)


def get_storage_size(dataset: DatasetConfig, catalogue: Catalogue, image_size: int) -> int:
    """Get the side in pixels of the square that each image is stored as."""
    if dataset.storage_size is None:
        return choose_storage_size(catalogue, image_size)
    if isinstance(dataset.storage_size, int):
        return dataset.storage_size
    return get_original_size(catalogue, image_size)  # "original", the only word that `read_config` accepts


def make_configured_split(config: ExperimentConfig, catalogue: Catalogue) -> Split:
    """Make the configured split."""
    return make_split(catalogue, kind=config.split.name, seed=config.split_seed)
