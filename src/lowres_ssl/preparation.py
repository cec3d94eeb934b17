"""Config -> images: indexed, divided, decoded, with everything checked that is known before the long work."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.config import DatasetConfig, Experiment
from lowres_ssl.data.fetch import fetch, is_there
from lowres_ssl.data.index import build_catalogue
from lowres_ssl.data.records import Catalogue
from lowres_ssl.data.sources import build_source
from lowres_ssl.data.splits import Split, make_split
from lowres_ssl.data.store import ImageStore, open_store, storage_size_for
from lowres_ssl.data.subset import stratified_subset
from lowres_ssl.errors import DataError

Divide = Callable[[Catalogue], Split]


@dataclass(frozen=True)
class Material:
    """The images of an experiment: what is known of them, which side they are on, their bytes."""

    catalogue: Catalogue
    split: Split
    store: ImageStore

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
    if not Path(dataset.root).exists():
        raise DataError(
            f"{dataset.root}: no such folder, wanted the images of {dataset.title}. {how_to_get(dataset)} "
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


def prepare(config: Experiment, divide: Divide) -> Material:
    """The images of `config`, decoded. `divide` raises if they will not do; it is asked before the decoding."""
    store_dir = Path(config.store_dir)
    catalogue = catalogue_of(config.dataset, store_dir)
    split = divide(catalogue)
    store, readable = open_store(
        catalogue,
        colour=config.images.colour,
        storage_size=config.dataset.storage_size or storage_size_for(catalogue, config.image_size),
        store_dir=store_dir,
        skip_unreadable=config.dataset.skip_unreadable,
    )
    if readable is not catalogue:  # some images turned out to be unreadable and were left out
        split = divide(readable)
    return Material(readable, split, store)


def split_of(config: Experiment, catalogue: Catalogue) -> Split:
    """The split that `config` asks for."""
    return make_split(catalogue, kind=config.split.name, seed=config.split_seed)
