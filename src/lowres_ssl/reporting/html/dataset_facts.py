"""What is known of a chapter's images beyond the predictions: leakage of the split, licence, their thumbnails."""

import base64
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowres_ssl.config.check import DatasetConfig, from_plain
from lowres_ssl.data.image_store import ImageStore, drop_undecodable, find_image_store
from lowres_ssl.data.prepare import load_catalogue
from lowres_ssl.data.splits import compute_leakage, load_split
from lowres_ssl.errors import UserError
from lowres_ssl.reporting.html import Chapter
from lowres_ssl.runs.cleanup import relocate_path
from lowres_ssl.runs.run import Run


@dataclass(frozen=True)
class DatasetFacts:
    """Facts in words. `leakage`: a sentence, or why it is not known. `known`: whether it is. `store`: of the images."""

    leakage: str
    leaks: bool
    known: bool
    licence: str
    store: str | None
    root: Path


def get_section_run(chapter: Chapter) -> Run:
    """Any run of the chapter: all have the same images and split."""
    return Run(Path(chapter.first.rows["result"].iloc[0]).parent)


def collect_dataset_facts(chapter: Chapter, store_dir: Path) -> DatasetFacts:
    """Looks at the names and headers of the images, where they still are; at no pixel."""
    run = get_section_run(chapter)
    description = run.description()
    dataset = from_plain(DatasetConfig, description.get("config", {}).get("dataset", {}))
    store, licence = description.get("store"), dataset.licence or "not said"
    dataset.root = relocate_path(run, description.get("config", {}), dataset.root or "")
    root, dataset.archive = Path(dataset.root), None  # nothing is unpacked
    if not dataset.root or not root.exists():
        return DatasetFacts("not known here: the images are not where they were", False, False, licence, store, root)
    try:
        catalogue = load_catalogue(dataset, store_dir)
        if store and dataset.skip_unreadable:
            catalogue = drop_undecodable(catalogue, store_dir / store)
        found = compute_leakage(catalogue, load_split(run.split, catalogue, store_dir))
    except UserError:
        return DatasetFacts(
            "not known: the images or the split are not those of the run any more", False, False, licence, store, root
        )
    return DatasetFacts(
        found.format_sentence().removeprefix("leakage: "), found.leaks, found.groups_known, licence, store, root
    )


def count_test_images(chapter: Chapter) -> list[tuple[str, int]]:
    """Test images of each class."""
    tested = chapter.tested
    counts = np.bincount(tested.labels, minlength=len(tested.classes))
    return [(name, int(each)) for name, each in zip(tested.classes, counts, strict=True)]


def count_test_groups(chapter: Chapter) -> int | None:
    """Of the test images: patients, slides or source images; None where they are not known."""
    groups = set(chapter.tested.groups.tolist()) - {-1}
    return len(groups) or None


WEBP_QUALITY = 70  # of WebP: at 96 pixels an X-ray takes about 1.5 kB, a stained tissue 4 kB


class ThumbnailAlbum:
    """`pictures`: WebP in base64, in the order they were asked for. `size`: pixels of the longer side, at most."""

    def __init__(self, store_dir: Path, size: int) -> None:
        self.store_dir, self.size = store_dir, size
        self.pictures: list[str] = []
        self.places: dict[tuple[str, int], int] = {}

    def add(self, store: str | None, ids: Sequence[str], named: Callable[[str], str] = str) -> list[int]:
        """The place in `pictures` of each of these images of the store of that name; -1 where it is not there.

        `named`: what `ids` call an image that the store knows by its name.
        """
        kept = None if store is None else find_image_store(self.store_dir / store)
        if kept is None or store is None:
            return [-1] * len(ids)
        rows = {named(id): row for row, id in enumerate(kept.ids)}
        return [self.place(store, kept, rows.get(id)) for id in ids]

    def place(self, name: str, store: ImageStore, row: int | None) -> int:
        if row is None:
            return -1
        key = (name, row)
        if key not in self.places:
            self.places[key] = len(self.pictures)
            self.pictures.append(encode_webp(store.images[row], self.size))
        return self.places[key]


def encode_webp(pixels: NDArray[np.uint8], size: int) -> str:
    """uint8 [C, R, R], of one channel or three, as a WebP of `size` pixels a side at most, in base64."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)).convert("RGB")
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=WEBP_QUALITY)
    return base64.b64encode(file.getvalue()).decode()
