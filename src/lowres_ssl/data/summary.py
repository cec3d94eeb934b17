"""Print which data sets exist, and one set's classes, split and state."""

from collections import Counter
from pathlib import Path

import numpy as np

from lowres_ssl.config.check import list_datasets
from lowres_ssl.config.command_schemas import DataConfig
from lowres_ssl.config.experiment_schema import DatasetConfig
from lowres_ssl.console import format_path_size, format_table, log_info, log_warning
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.datasets import images_below
from lowres_ssl.data.download import describe_source, fetch_dataset, is_folder_filled
from lowres_ssl.data.image_store import get_store_folder, open_image_store
from lowres_ssl.data.prepare import get_storage_size, load_catalogue
from lowres_ssl.data.splits import Split, compute_leakage, count_groups, make_split
from lowres_ssl.errors import escape_line


def print_datasets(data_dir: str) -> None:
    """Print each set that has a config: its title, whether it exists, and how to get it."""
    sets, problems = list_datasets(data_dir)
    rows, missing = [], []
    for choice, dataset in sets:
        if is_folder_filled(Path(dataset.root)):
            state = f"{sum(1 for _ in images_below(Path(dataset.root))):,} images"
        else:
            state = "not there"
            missing.append(f"{choice}: {describe_source(dataset)}")
        rows.append([choice, dataset.title, state, dataset.root])
    print(format_table(["data set", "", "images", "place"], rows))
    print("\nMore of one that is there: lowres-ssl data dataset=NAME. How to get the others:\n")
    print("\n".join(missing))
    for problem in problems:
        log_warning(problem)


def print_dataset(config: DataConfig, dataset: DatasetConfig) -> None:
    if config.fetch:
        if is_folder_filled(Path(dataset.root)):
            log_info(f"{dataset.root} is there already; remove it to have it fetched again")
        fetch_dataset(dataset)
    store_dir = Path(config.store_dir)
    catalogue = load_catalogue(dataset, store_dir)
    assert config.images is not None, "every data set says what kind of images it has"
    size = get_storage_size(dataset, catalogue, config.image_size)
    folder = get_store_folder(catalogue, colour=config.images.colour, storage_size=size, store_dir=store_dir)
    if config.prepare:
        _, catalogue = open_image_store(
            catalogue,
            colour=config.images.colour,
            storage_size=size,
            store_dir=store_dir,
            skip_unreadable=dataset.skip_unreadable,
        )
    split = make_split(catalogue, kind=config.split.name, seed=config.split_seed)
    print(f"{dataset.title}, {escape_line(str(catalogue.root))}\n")
    print(format_split_table(catalogue, split, dataset))
    print()
    print(format_dataset_facts(catalogue, split, folder))
    for note in dict.fromkeys([*catalogue.notes, *split.notes]):
        log_warning(note)


def format_split_table(catalogue: Catalogue, split: Split, dataset: DatasetConfig) -> str:
    """Format the images of each class: all, those published and those in each subset."""
    counts = catalogue.counts()
    subsets = [Counter(catalogue.labels[rows].tolist()) for rows in (split.train, split.validation, split.test)]
    published = dataset.expected
    heads = ["class", "images", *(["published"] if published else []), "train", "validate", "test"]

    def line(name: str, images: int, wanted: int | None, own: list[int]) -> list[str]:
        return [name, *map(str, [images, *([wanted or 0] if published else []), *own])]

    rows = [
        line(name, counts[name], published.get(name), [each[label] for each in subsets])
        for label, name in enumerate(catalogue.classes)
    ]
    rows.append(line("all", len(catalogue.records), sum(published.values()), [each.total() for each in subsets]))
    groups = [len(count_groups(catalogue, each)) for each in (split.train, split.validation, split.test)]
    if any(groups):
        total = len(count_groups(catalogue, range(len(catalogue.records))))
        published_groups = [""] if published else []
        rows.append(["groups", str(total), *published_groups, *map(str, groups)])
    return format_table(heads, [[escape_line(cell) for cell in row] for row in rows], right=range(1, len(heads)))


def format_dataset_facts(catalogue: Catalogue, split: Split, folder: Path) -> str:
    heights, widths = np.array([(record.height, record.width) for record in catalogue.records]).T
    groups = {record.group for record in catalogue.records} - {None}
    prepared = (
        f"{folder} ({format_path_size(folder)})"
        if folder.is_dir()
        else "not yet; prepare=true decodes every image now, and finds those that cannot be read"
    )
    rows = [
        ["pixels", f"{widths.min()} x {heights.min()} to {widths.max()} x {heights.max()}"],
        ["groups", f"{len(groups):,} patients, slides or source images" if groups else "not known"],
        ["split", f"{split.kind}, split_seed {split.seed}, digest {split.digest[:8]}"],
        ["leakage", compute_leakage(catalogue, split).format_sentence().removeprefix("leakage: ")],
        ["prepared", prepared],
    ]
    if catalogue.unlabelled:
        rows.insert(1, ["unlabelled", f"{len(catalogue.unlabelled):,} images, for pre-training alone"])
    return format_table(None, rows)
