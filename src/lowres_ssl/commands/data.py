"""Run `lowres-ssl data`: list the data sets; fetch, verify, divide and prepare one of them."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from lowres_ssl.config.check import list_datasets, read_config
from lowres_ssl.config.command_schemas import DataConfig
from lowres_ssl.config.experiment_schema import DatasetConfig
from lowres_ssl.console import format_path_size, format_table, log_info, log_warning
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.download import describe_source, fetch_dataset, is_folder_filled
from lowres_ssl.data.image_folder import scan_folder
from lowres_ssl.data.image_store import get_store_folder, open_image_store
from lowres_ssl.data.prepare import drop_known_unreadable, get_storage_size, load_catalogue
from lowres_ssl.data.splits import Split, compute_leakage, count_groups, make_split
from lowres_ssl.errors import ConfigError, escape_line


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, DataConfig)
    if config.dataset is None:
        if config.fetch or config.prepare:
            raise ConfigError("which set? `lowres-ssl data` lists them; type dataset=NAME")
        print_datasets(config.data_dir)
    else:
        print_dataset(config, config.dataset)


def print_datasets(data_dir: str) -> None:
    """Print each set that has a config: its title, whether it exists, and how to get it."""
    sets, problems = list_datasets(data_dir)
    rows, missing = [], []
    for choice, dataset in sets:
        if is_folder_filled(Path(dataset.root)):
            state = f"{len(scan_folder(Path(dataset.root)).images):,} images"
        else:
            state = "not there"
            missing.append(f"{choice}: {describe_source(dataset, choice)}")
        rows.append([choice, dataset.title, state, dataset.root])
    print(format_table(["data set", "", "images", "place"], rows))
    print("\nMore of one that is there: lowres-ssl data dataset=NAME. How to get the others:\n")
    print("\n".join(missing))
    for problem in problems:
        log_warning(problem)


def print_dataset(config: DataConfig, dataset: DatasetConfig) -> None:
    """Fetch and prepare the set where that is asked for; print its classes, split and state."""
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
    else:
        catalogue = drop_known_unreadable(dataset, catalogue, folder)
    split = make_split(catalogue, kind=config.split.name, seed=config.split_seed)
    print(f"{dataset.title}, {escape_line(str(catalogue.root))}\n")
    if catalogue.records:
        columns: dict[str, Mapping[str, int]] = {"images": catalogue.counts()}
        if dataset.expected:
            columns["published"] = dataset.expected
        for name, rows in (("train", split.train), ("validate", split.validation), ("test", split.test)):
            columns[name] = Counter(catalogue.records[row].label for row in rows)
        print(f"{format_class_table(catalogue, columns)}\n")
    print(format_dataset_facts(catalogue, split, folder))
    for note in dict.fromkeys([*catalogue.notes, *split.notes]):
        log_warning(note)


def format_class_table(catalogue: Catalogue, columns: Mapping[str, Mapping[str, int]]) -> str:
    """Format numbers of images by class, a row a class and one for all. `columns`: by head, then by class."""
    rows = [[escape_line(name), *(f"{each.get(name, 0):,}" for each in columns.values())] for name in catalogue.classes]
    rows.append(["all", *(f"{sum(each.values()):,}" for each in columns.values())])
    return format_table(["class", *columns], rows, right=range(1, 1 + len(columns)))


def format_dataset_facts(catalogue: Catalogue, split: Split, folder: Path) -> str:
    heights, widths = np.array([(each.height, each.width) for each in catalogue.records or catalogue.unlabelled]).T
    groups = {record.group for record in catalogue.records} - {None}
    shares = [len(count_groups(catalogue, own)) for own in (split.train, split.validation, split.test)]
    divided = "{:,} train, {:,} validate, {:,} test".format(*shares)
    prepared = (
        f"{folder} ({format_path_size(folder)})"
        if folder.is_dir()
        else "not yet; prepare=true decodes every image now, and finds those that cannot be read"
    )
    split_facts = [
        ["groups", f"{len(groups):,} patients, slides or source images: {divided}" if groups else "not known"],
        ["split", f"{split.kind}, split_seed {split.seed}, digest {split.digest[:8]}"],
        ["leakage", compute_leakage(catalogue, split).format_sentence().removeprefix("leakage: ")],
    ]
    rows = [
        ["pixels", f"{widths.min()} x {heights.min()} to {widths.max()} x {heights.max()}"],
        *(split_facts if catalogue.records else []),
        ["prepared", prepared],
    ]
    if catalogue.unlabelled:
        rows.insert(1, ["unlabelled", f"{len(catalogue.unlabelled):,} images, for pre-training alone"])
    return format_table(None, rows)
