"""List the images that `embed` and `predict` are given: folders, files, patterns, arrays, Pillow's images."""

import glob
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowres_ssl.config.experiment_schema import ExperimentConfig
from lowres_ssl.console import log_warning
from lowres_ssl.data.datasets import build_source
from lowres_ssl.data.decode import ImageFiles, scale_to_uint8
from lowres_ssl.data.image_folder import list_image_files, make_portable, scan_folder
from lowres_ssl.data.pseudonyms import find_pseudonyms
from lowres_ssl.data.splits import SplitRecord
from lowres_ssl.errors import CheckpointError, ConfigError, DataError
from lowres_ssl.io.checksummed_json import read_record

GivenImage: TypeAlias = str | Path | Image.Image | NDArray[Any]
ARRAYS = "uint8, uint16 or floats from 0 to 1, as [H, W], [H, W, 3], [n, H, W] or [n, H, W, 3]"


@dataclass(frozen=True)
class GivenImages:
    """Hold what was given. `files`: each image with its id, in the order given, those of a folder sorted. `sources`:
    the absolute paths and patterns that were given, none if any image is in memory."""

    files: ImageFiles
    sources: list[str]


ImageInput: TypeAlias = GivenImage | Sequence[GivenImage] | GivenImages


def list_given_images(images: ImageInput, exclude: Sequence[str] = ()) -> GivenImages:
    """List a folder's images, at any depth; a file; the files of a pattern such as "scans/*.png"; an array or image of
    Pillow; or several of these. `exclude`: patterns of names in folders to leave out, such as `*_mask*`.

    The id of a file is its path below the folder that all are in, that of an image in memory its place. Raises
    `DataError` for what is not there, `ConfigError` for an array of another shape or kind.
    """
    if isinstance(images, GivenImages):
        return images
    given = [images] if isinstance(images, str | Path | Image.Image) or hasattr(images, "__array__") else list(images)
    if not given:
        raise ConfigError("images: got an empty list, wanted images")
    found: list[Path | Image.Image] = []
    sources, folders = [], []
    for each in given:
        if isinstance(each, str | Path):
            files = list_named_files(Path(each), exclude)
            found += files
            is_folder = Path(each).is_dir()
            sources.append(str(Path(each).resolve() if is_folder else resolve_parent(Path(each))))
            folders += [Path(each).resolve()] if is_folder else [file.parent for file in files]
        else:
            found += [each] if isinstance(each, Image.Image) else list_array_images(np.asarray(each))
    above = os.path.commonpath(folders) if folders else ""
    ids = [
        make_portable(Path(os.path.relpath(image, above)).as_posix()) if isinstance(image, Path) else str(place)
        for place, image in enumerate(found)
    ]
    return GivenImages(list(zip(found, ids, strict=True)), sources if len(sources) == len(given) else [])


def list_named_files(given: Path, exclude: Sequence[str]) -> list[Path]:
    """List the absolute paths of the images of a folder, of a file, or of the files of a pattern. Raises `DataError`
    where there is none."""
    if given.is_dir():
        return [file for file, _ in list_image_files(given.resolve(), exclude=exclude)]
    # Not from an absolute path on: the folder that one stands in may have brackets in its name, which are no pattern.
    found = [given] if given.is_file() else [Path(each) for each in sorted(glob.glob(str(given), recursive=True))]  # noqa: PTH207
    if not (files := [resolve_parent(file) for file in found if file.is_file()]):
        what = f"{resolve_parent(given)}: no such file or folder"
        raise DataError(f"{what}; type images=FOLDER, a file, or several: images=[a,b]")
    return files


def resolve_parent(path: Path) -> Path:
    """Make a path absolute, without links in its folders; a file that is a link keeps its name."""
    return path.parent.resolve() / path.name


def list_array_images(values: NDArray[Any]) -> list[Image.Image]:
    """List the images of an array: the last of its dimensions is the three colours, if it has that length."""
    is_colour = values.ndim > 2 and values.shape[-1] == 3
    stack = values if values.ndim - is_colour == 3 else values[None]
    known = values.dtype in (np.uint8, np.uint16) or np.issubdtype(values.dtype, np.floating)
    if stack.ndim - is_colour != 3 or not known or not stack.size:
        raise ConfigError(f"images: got an array {list(values.shape)} of {values.dtype}, wanted {ARRAYS}")
    if np.issubdtype(values.dtype, np.floating):
        stack = stack.astype(np.float32)
    if is_colour and stack.dtype != np.uint8:
        stack = np.stack([scale_to_uint8(each, None) for each in stack])
    return [Image.fromarray(np.ascontiguousarray(each)) for each in stack]


def find_known_subsets(files: ImageFiles, split: Path, config: ExperimentConfig) -> dict[str, str]:
    """Find the subset (train, validation, test) of each of the files that is an image of a run's own set, by the id in
    `files`. `split` and `config` are the run's.

    Empty where nothing is known: the set's folder has moved, the split cannot be read, or its names are hashed and the
    key is not there.
    """
    root = Path(config.dataset.root)
    given = {path: id for path, id in files if isinstance(path, Path) and path.is_relative_to(root.resolve())}
    if not given or not root.is_dir():
        return {}
    try:
        stored = read_record(split, SplitRecord, "")
        folder = scan_folder(root)
        source = build_source(config.dataset.source, config.dataset.options, config.dataset.exclude)
        listings, top = source.list_included(folder), folder.exclude(source.exclude).enter().top
        names = find_pseudonyms(top, Path(config.store_dir)) if stored and stored.hashed else None
    except (CheckpointError, ConfigError, DataError):
        return {}
    if stored is None or (stored.hashed and names is None):
        return {}
    subsets = {
        name: subset
        for subset, own in (("train", stored.train), ("validation", stored.val), ("test", stored.test))
        for name in own
    }
    own_names = ((each.path, names.image(each.id) if names else each.id) for each in listings if each.path in given)
    return {given[path]: subsets[name] for path, name in own_names if name in subsets}


def warn_of_known_images(subsets: Mapping[str, str], images: int) -> None:
    """Warn of images whose predictions do not show how accurate a run is."""
    counts = Counter(subsets.values())
    parts = []
    if counts["train"]:
        parts.append(f"{counts['train']:,} are training images of this run")
    if counts["validation"]:
        parts.append(f"{counts['validation']:,} chose its settings (validation)")
    if parts:
        log_warning(f"of the {images:,} images {', '.join(parts)}: their predictions do not measure its accuracy")
