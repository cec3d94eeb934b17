"""Write the config of the user's own set: choose its name, format its text, write the file."""

import os
import re
import unicodedata
from importlib.resources import files
from pathlib import Path

import yaml

from lowres_ssl.config.check import get_user_conf
from lowres_ssl.config.overrides import escape_interpolations
from lowres_ssl.console import pluralise
from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.init.inspect_folder import FolderSurvey
from lowres_ssl.io.atomic import write_text

DATASET_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,59}")
# What Hydra would not read as text.
YAML_WORDS = frozenset({"null", "none", "true", "false", "inf", "nan"})
MODALITIES = ("histology", "xray", "any")


def list_packaged_datasets() -> frozenset[str]:
    """List the names of the sets in the package, which cannot be used again."""
    choices = files("lowres_ssl.conf").joinpath("dataset").iterdir()
    return frozenset(choice.name.removesuffix(".yaml") for choice in choices)


def make_dataset_name(folder: str) -> str:
    """Make a name that can be typed as `dataset=NAME` from a folder's: its letters in ASCII, `_` for the rest."""
    plain = unicodedata.normalize("NFKD", folder).encode("ascii", "ignore").decode()
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", plain).strip("_-")[:50] or "images"
    if not name[0].isalpha() or name.lower() in YAML_WORDS:
        name = f"set_{name}"
    return f"my_{name}" if name in list_packaged_datasets() else name


def check_dataset_name(name: str) -> None:
    """Raise `ConfigError` for a name that cannot be typed, or is that of a set in the package."""
    if not DATASET_NAME.fullmatch(name) or name.lower() in YAML_WORDS:
        raise ConfigError(
            f"name={name}: wanted letters of a to z, digits, _ and -, a letter first; "
            f"type name={make_dataset_name(name)}"
        )
    if name in list_packaged_datasets():
        raise ConfigError(
            f"name={name}: lowres-ssl has a set of this name; type name={make_dataset_name(name)}, or another"
        )


def get_dataset_path(name: str) -> Path:
    return get_user_conf() / "dataset" / f"{name}.yaml"


def format_root(folder: Path, data_dir: Path) -> str:
    """Format the folder for the config: relative to `data_dir` or to the current folder if it lies below, else in full,
    so that a project still works when it is moved as a whole."""
    real, inside, here = folder.resolve(), data_dir.resolve(), Path.cwd()
    if real != inside and real.is_relative_to(inside):
        return f"${{data_dir}}/{escape_interpolations(real.relative_to(inside).as_posix())}"
    if real != here and real.is_relative_to(here) and "LOWRES_SSL_CONF" not in os.environ:
        real = real.relative_to(here)
    return str(escape_interpolations(real.as_posix()))


def format_dataset_file(name: str, title: str, found: FolderSurvey, data_dir: Path, modality: str | None) -> str:
    """Format the config of what was found. `modality`: one of `MODALITIES`; None takes the one that was found, or that
    of the published set that reads the folder."""
    images, classes = found.catalogue.records or found.catalogue.unlabelled, len(found.catalogue.classes)
    if modality is None and found.conf in ("folder", "csv"):
        modality = found.look.images
    lines = [
        f"# {pluralise(len(images), 'image')} {f'in {classes} classes' if classes else 'without labels'}.",
        f"# Written by `lowres-ssl init`; yours to change. Type dataset={name}.",
        "defaults:",
        f"  - {found.conf}",
        *([f"  - override /images@_global_.images: {modality}   # histology | xray | any"] if modality else []),
        "  - _self_",
        "",
        f"name: {format_value(name)}",
        f"title: {format_value(escape_interpolations(title))}",
        f"root: {format_value(format_root(found.folder.root, data_dir))}",
    ]
    if (bits := found.look.bits) is not None:
        lines.append(f"grey_range: [0, {2**bits - 1}]   # {bits} of 16 bits are in use")
    if found.exclusions:
        patterns = ", ".join(format_value(escape_interpolations(each.pattern)) for each in found.exclusions)
        files = ", ".join(f"{each.files:,} {each.what}" for each in found.exclusions)
        lines.append(f"exclude: [{patterns}]   # {files}")
    if found.unreadable:
        lines.append(f"skip_unreadable: true   # {pluralise(len(found.unreadable), 'file')} cannot be read")
    if found.lost_classes:
        names = ", ".join(format_value(escape_interpolations(each)) for each in found.lost_classes)
        lines.append(f"exclude_classes: [{names}]   # none of their images can be read")
    if found.min_class_images > 1:
        lines.append(f"min_class_images: {found.min_class_images}   # leaves out classes with fewer distinct images")
    if found.options:
        lines.append("options:")
        lines += [f"  {key}: {format_value(escape_interpolations(value))}" for key, value in found.options.items()]
    return "\n".join(lines) + "\n"


def format_value(value: object) -> str:
    """Format a value in one line of YAML, text always in quotes: unquoted, some of it is a number or a date."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {format_value(own)}' for key, own in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(format_value, value))}]"
    style = '"' if isinstance(value, str) else None
    text = yaml.safe_dump(value, default_style=style, allow_unicode=True, width=10**9)
    return str(text).removesuffix("...\n").strip()


def write_dataset_file(place: Path, text: str, force: bool) -> bool:
    """Write the file; return False if it exists with this text. Raises `ConfigError` if it exists with another,
    `DataError` where it cannot be written."""
    if place.exists() and not force:
        if place.read_bytes() == text.encode():
            return False
        raise ConfigError(f"{place}: exists already with other content; type force=true to replace it, or name=OTHER")
    try:
        write_text(place, text)
    except OSError as error:
        raise DataError(
            f"{place}: cannot be written ({error.strerror}); stand in a folder of yours, or name another one for such "
            "files with LOWRES_SSL_CONF=FOLDER"
        ) from error
    return True
