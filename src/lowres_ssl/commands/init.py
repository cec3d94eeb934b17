"""Run `lowres-ssl init`: look at a folder of images, print what is in it, write its config, print a first command."""

from pathlib import Path
from textwrap import indent

from omegaconf import DictConfig

from lowres_ssl.commands.data import format_class_table
from lowres_ssl.config.check import read_config, require
from lowres_ssl.config.command_schemas import InitConfig
from lowres_ssl.console import format_table, log_warning, pluralise
from lowres_ssl.errors import escape_line
from lowres_ssl.init.describe_folder import (
    format_first_commands,
    list_folder_facts,
    list_folder_warnings,
    list_subset_columns,
    make_default_split,
)
from lowres_ssl.init.inspect_folder import inspect_folder
from lowres_ssl.init.typed_input import TypedInput, parse_split_words
from lowres_ssl.init.unpack_arrays import check_image_folder, unpack_arrays
from lowres_ssl.init.write_config import (
    MODALITIES,
    check_dataset_name,
    format_dataset_file,
    get_dataset_path,
    make_dataset_name,
    write_dataset_file,
)


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, InitConfig)
    folder = unpack_arrays(check_image_folder(config.folder), Path(config.data_dir))
    kind = config.input.images
    require(kind is None or kind in MODALITIES, "images", kind, f"one of {', '.join(MODALITIES)}")
    name = config.name or make_dataset_name(folder.resolve().name)
    check_dataset_name(name)
    top = config.input.top
    require(top in (None, "group"), "top", top, "group, or null")
    words = vars(config.input) | {"split_words": parse_split_words(config.input.split_words)}
    typed = TypedInput(name=config.name, **words)
    found = inspect_folder(folder, Path(config.store_dir), typed)
    images = found.catalogue.records + found.catalogue.unlabelled
    print(f"{escape_line(str(folder))}: {pluralise(len(images), 'image')}")
    if found.catalogue.records:
        print()
        print(format_class_table(found.catalogue, list_subset_columns(found.catalogue)))
    split, chosen = make_default_split(found)
    print(f"\n{format_table(None, list_folder_facts(found, split))}\n", flush=True)
    for note in dict.fromkeys([*found.catalogue.notes, *split.notes, *list_folder_warnings(found)]):
        log_warning(note)
    place = get_dataset_path(name)
    text = format_dataset_file(name, escape_line(folder.resolve().name), found, Path(config.data_dir), kind)
    fresh = write_dataset_file(place, text, config.force)
    print(f"{'Written' if fresh else 'There already, just so'}: {place}\n\n{indent(text.strip(), '  ')}\n")
    print(format_first_commands(name, found, split, chosen))
