"""`lowres-ssl data`: which sets are there and which are not; one of them fetched, verified, divided, prepared."""

from collections import Counter
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from lowres_ssl.config import DataConfig, DatasetConfig, read_config
from lowres_ssl.data.fetch import is_there
from lowres_ssl.data.leakage import leakage
from lowres_ssl.data.records import Catalogue
from lowres_ssl.data.sources import images_below
from lowres_ssl.data.splits import Split, make_split
from lowres_ssl.data.store import open_store, store_folder
from lowres_ssl.errors import ConfigError, in_one_line
from lowres_ssl.own_data.known_sets import known_sets
from lowres_ssl.planning.preparation import catalogue_of, get, how_to_get, storage_size_of
from lowres_ssl.terminal import columns, say, size_of, warn


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, DataConfig)
    if config.dataset is None:
        if config.fetch or config.prepare:
            raise ConfigError("which set? type dataset=breast, colorectal, pneumonia, folder, csv or phantom")
        list_sets(config.data_dir)
    else:
        show_set(config, config.dataset)


def list_sets(data_dir: str) -> None:
    """Each set that has a config: its title, whether it is there, and how to get it."""
    sets, problems = known_sets(data_dir)
    rows, missing = [], []
    for choice, dataset in sets:
        if is_there(Path(dataset.root)):
            state = f"{sum(1 for _ in images_below(Path(dataset.root))):,} images"
        else:
            state = "not there"
            missing.append(f"{choice}: {how_to_get(dataset)}")
        rows.append([choice, dataset.title, state, dataset.root])
    print(columns(["data set", "", "images", "place"], rows))
    print("\nMore of one that is there: lowres-ssl data dataset=NAME. How to get the others:\n")
    print("\n".join(missing))
    for problem in problems:
        warn(problem)


def show_set(config: DataConfig, dataset: DatasetConfig) -> None:
    if config.fetch:
        if is_there(Path(dataset.root)):
            say(f"{dataset.root} is there already; remove it to have it fetched again")
        get(dataset)
    store_dir = Path(config.store_dir)
    catalogue = catalogue_of(dataset, store_dir)
    assert config.images is not None, "every data set says what kind of images it has"
    size = storage_size_of(dataset, catalogue, config.image_size)
    folder = store_folder(catalogue, colour=config.images.colour, storage_size=size, store_dir=store_dir)
    if config.prepare:
        _, catalogue = open_store(
            catalogue,
            colour=config.images.colour,
            storage_size=size,
            store_dir=store_dir,
            skip_unreadable=dataset.skip_unreadable,
        )
    split = make_split(catalogue, kind=config.split.name, seed=config.split_seed)
    print(f"{dataset.title}, {in_one_line(str(catalogue.root))}\n")
    print(class_table(catalogue, split, dataset))
    print()
    print(facts(catalogue, split, folder))
    for note in dict.fromkeys([*catalogue.notes, *split.notes]):
        warn(note)


def class_table(catalogue: Catalogue, split: Split, dataset: DatasetConfig) -> str:
    """Images of each class, those published and those on each side."""
    counts = catalogue.counts()
    sides = [Counter(catalogue.labels[rows].tolist()) for rows in (split.train, split.validation, split.test)]
    published = dataset.expected
    heads = ["class", "images", *(["published"] if published else []), "train", "validate", "test"]

    def line(name: str, images: int, wanted: int | None, own: list[int]) -> list[str]:
        return [name, *map(str, [images, *([wanted or 0] if published else []), *own])]

    rows = [
        line(name, counts[name], published.get(name), [side[place] for side in sides])
        for place, name in enumerate(catalogue.classes)
    ]
    rows.append(line("all", len(catalogue.records), sum(published.values()), [side.total() for side in sides]))
    return columns(heads, [[in_one_line(cell) for cell in row] for row in rows], right=range(1, len(heads)))


def facts(catalogue: Catalogue, split: Split, folder: Path) -> str:
    heights, widths = np.array([(record.height, record.width) for record in catalogue.records]).T
    groups = {record.group for record in catalogue.records} - {None}
    prepared = (
        f"{folder} ({size_of(folder)})"
        if folder.is_dir()
        else "not yet; prepare=true decodes every image now, and finds those that cannot be read"
    )
    rows = [
        ["pixels", f"{widths.min()} x {heights.min()} to {widths.max()} x {heights.max()}"],
        ["groups", f"{len(groups):,} patients, slides or source images" if groups else "not known"],
        ["split", f"{split.kind}, split_seed {split.seed}, digest {split.digest[:8]}"],
        ["leakage", leakage(catalogue, split).sentence().removeprefix("leakage: ")],
        ["prepared", prepared],
    ]
    if catalogue.unlabelled:
        rows.insert(1, ["unlabelled", f"{len(catalogue.unlabelled):,} images, for pre-training alone"])
    return columns(None, rows)
