"""Prepare an experiment's images: list, divide and decode them, and check before decoding what can be checked."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median_low

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.config.experiment_schema import DatasetConfig, ExperimentConfig
from lowres_ssl.console import log_warning
from lowres_ssl.data.catalogue import Catalogue, build_catalogue
from lowres_ssl.data.catalogue_subset import drop_records, leave_out_small_classes, take_stratified_subset
from lowres_ssl.data.datasets import build_source
from lowres_ssl.data.download import describe_source, fetch_dataset, is_folder_filled
from lowres_ssl.data.image_folder import scan_folder
from lowres_ssl.data.image_store import ImageStore, get_store_folder, open_image_store, read_store_meta
from lowres_ssl.data.partition import group_by_shared_keys, shuffle_units
from lowres_ssl.data.splits import LabelSubset, Split, compute_leakage, make_split, select_labelled
from lowres_ssl.errors import DataError

# An image is blank where all but 2% of the values of each channel are in a range smaller than this, of 255.
MIN_RANGE = 8
MIN_BLANK_SHARE = 0.05
MAX_LOOKED_AT = 200

SplitFunction = Callable[[Catalogue], Split]
MAX_SIZE_RATIO = 8  # times the training size: an 8% crop then has twice the pixels of its view


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
    def training_rows(self) -> NDArray[np.int64]:
        """The store's rows of the training images; of a set without labels, of all images."""
        return self.split.train if self.catalogue.records else np.arange(len(self.store.ids))

    @property
    def leakage_warnings(self) -> list[str]:
        """What may flatter scores on these images."""
        return compute_leakage(self.catalogue, self.split).list_warnings()


def select_pretraining_images(
    catalogue: Catalogue, split: Split, pretrain_on: str, seen: LabelSubset | None = None
) -> NDArray[np.int64]:
    """Select the images to pre-train on, as int64 [n] ascending, which are also their rows in the store.

    "training": the training images and the unlabelled ones; "half": a random half of these, whole groups together and
    the same for every seed; "all": all images. `seen`: the labels that a supervised method sees, which trains on their
    images alone.
    """
    if seen is not None:
        return split.train[select_labelled(catalogue.labels, split.train, split.validation, seen)[0]]
    labelled, records = len(catalogue.records), catalogue.records + catalogue.unlabelled
    chosen = np.arange(labelled) if pretrain_on == "all" else split.train
    rows: NDArray[np.int64] = np.concatenate([chosen, np.arange(labelled, len(records))])
    if pretrain_on != "half":
        return rows
    groups = catalogue.groups.tolist()
    units = group_by_shared_keys({n: (groups[n] if groups[n] >= 0 else f"image {n}",) for n in rows.tolist()})
    taken: list[int] = []
    for unit in shuffle_units(units, [record.id for record in records], "half"):
        if not taken or abs(2 * (len(taken) + len(unit)) - len(rows)) < abs(2 * len(taken) - len(rows)):
            taken.extend(unit)
    return np.array(sorted(taken), dtype=np.int64)


def load_catalogue(dataset: DatasetConfig, store_dir: Path) -> Catalogue:
    """List the set's images as records. Raises `DataError` or `ConfigError`."""
    source = build_source(dataset.source, dataset.options, dataset.exclude, dataset.exclude_classes)
    root = Path(dataset.root)
    source.prepare(root)
    if dataset.archive and not is_folder_filled(root):
        fetch_dataset(dataset)
    if not root.exists():
        origin = describe_source(dataset)
        elsewhere = "" if "dataset.root=" in origin else " Elsewhere: dataset.root=FOLDER"
        raise DataError(f"{root}: no such folder, wanted the images of {dataset.title}. {origin}{elsewhere}")
    catalogue = build_catalogue(
        name=dataset.name,
        folder=scan_folder(root),
        source=source,
        expected=dataset.expected,
        unlabelled=Path(dataset.unlabelled) if dataset.unlabelled else None,
        skip_unreadable=dataset.skip_unreadable,
        cache_dir=store_dir,
    )
    if dataset.grey_range is not None:
        catalogue = replace(catalogue, grey_range=(dataset.grey_range[0], dataset.grey_range[1]))
    catalogue = leave_out_small_classes(catalogue, dataset.min_class_images)
    if dataset.subset is None:
        return catalogue
    return leave_out_small_classes(take_stratified_subset(catalogue, dataset.subset), dataset.min_class_images)


def drop_known_unreadable(dataset: DatasetConfig, catalogue: Catalogue, folder: Path) -> Catalogue:
    """Drop the images that could not be decoded for the store in `folder`, if they are to be skipped; without the
    store, note that such images still count."""
    if not dataset.skip_unreadable:
        return catalogue
    if meta := read_store_meta(folder):
        return drop_records(catalogue, meta.dropped)
    note = (
        "images that cannot be decoded are still among these numbers; decoding leaves them out: lowres-ssl data "
        "prepare=true, or pretrain"
    )
    return replace(catalogue, notes=(*catalogue.notes, note))


def summarise_data(config: ExperimentConfig, divide: SplitFunction) -> tuple[DataSummary, int]:
    """Prepare without decoding; return as well the bytes that the decoded images would take, 0 if they exist."""
    store_dir, colour = Path(config.store_dir), config.images.colour
    catalogue = load_catalogue(config.dataset, store_dir)
    size = get_storage_size(config.dataset, catalogue, config.image_size)
    folder = get_store_folder(catalogue, colour=colour, storage_size=size, store_dir=store_dir)
    catalogue = drop_known_unreadable(config.dataset, catalogue, folder)
    shape = (len(catalogue.records) + len(catalogue.unlabelled), 3 if colour else 1, size, size)
    return DataSummary(catalogue, divide(catalogue), shape), 0 if folder.exists() else math.prod(shape)


def prepare_data(config: ExperimentConfig, divide: SplitFunction) -> PreparedData:
    """Divide and decode the images of `config`. `divide` raises for images that do not fit: before they are decoded,
    or after that where unreadable ones are skipped, since only then it is known which are left."""
    store_dir = Path(config.store_dir)
    catalogue = load_catalogue(config.dataset, store_dir)
    split = None if config.dataset.skip_unreadable else divide(catalogue)
    store, readable = open_image_store(
        catalogue,
        colour=config.images.colour,
        storage_size=get_storage_size(config.dataset, catalogue, config.image_size),
        store_dir=store_dir,
        skip_unreadable=config.dataset.skip_unreadable,
    )
    for note in describe_blank_images(store):
        log_warning(note)
    return PreparedData(readable, split or divide(readable), store)


def describe_blank_images(store: ImageStore) -> list[str]:
    """Warn of images of one colour, such as empty tiles; of a sample of evenly spread images and pixels."""
    sample = np.unique(np.linspace(0, len(store.images) - 1, MAX_LOOKED_AT).astype(np.int64))
    step = max(1, store.images.shape[-1] // 32)
    low, high = np.percentile(store.images[sample][:, :, ::step, ::step], [1, 99], axis=(2, 3))  # [n, C] each
    blank = int(((high - low).max(axis=1) < MIN_RANGE).sum())
    if blank < MIN_BLANK_SHARE * len(sample):
        return []
    return [
        f"{blank} of {len(sample)} images looked at are of one colour (empty tiles?): a method cannot tell them apart, "
        "and may collapse on them; take them out of the set"
    ]


def get_storage_size(dataset: DatasetConfig, catalogue: Catalogue, image_size: int) -> int:
    """Get the side in pixels of the square that each image is stored as.

    Without `storage_size` twice the training size, at most the median original's shorter side. "original" loses
    nothing: the longest side of all originals, at most eight times the training size.
    """
    records = catalogue.records or catalogue.unlabelled
    if isinstance(dataset.storage_size, int):
        return dataset.storage_size
    if dataset.storage_size is None:
        return max(1, min(2 * image_size, median_low(min(each.height, each.width) for each in records)))
    longest = max(max(each.height, each.width) for each in records)
    return max(1, min(MAX_SIZE_RATIO * image_size, longest))


def make_configured_split(config: ExperimentConfig, catalogue: Catalogue) -> Split:
    """Make the configured split."""
    return make_split(catalogue, kind=config.split.name, seed=config.split_seed)
