"""What is known of a chapter's images beyond the predictions: leakage of the split, licence, their thumbnails."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lowres_ssl.config import DatasetConfig, from_plain
from lowres_ssl.data.leakage import leakage
from lowres_ssl.data.splits import load_split
from lowres_ssl.data.store import as_decoded
from lowres_ssl.errors import UserError
from lowres_ssl.planning.preparation import catalogue_of
from lowres_ssl.report import Chapter
from lowres_ssl.results.whereabouts import seen_from_here
from lowres_ssl.runs import Run


@dataclass(frozen=True)
class About:
    """Facts in words. `leakage`: a sentence, or why it is not known. `known`: whether it is. `store`: of the images."""

    leakage: str
    leaks: bool
    known: bool
    licence: str
    store: str | None
    root: Path


def run_of(chapter: Chapter) -> Run:
    """Any run of the chapter: all have the same images and split."""
    return Run(Path(chapter.first.rows["result"].iloc[0]).parent)


def about_images(chapter: Chapter, store_dir: Path) -> About:
    """Looks at the names and headers of the images, where they still are; at no pixel."""
    run = run_of(chapter)
    description = run.description()
    dataset = from_plain(DatasetConfig, description.get("config", {}).get("dataset", {}))
    store, licence = description.get("store"), dataset.licence or "not said"
    dataset.root = seen_from_here(run, description.get("config", {}), dataset.root or "")
    root, dataset.archive = Path(dataset.root), None  # nothing is unpacked
    if not dataset.root or not root.exists():
        return About("not known here: the images are not where they were", False, False, licence, store, root)
    try:
        catalogue = catalogue_of(dataset, store_dir)
        if store and dataset.skip_unreadable:
            catalogue = as_decoded(catalogue, store_dir / store)
        found = leakage(catalogue, load_split(run.split, catalogue, store_dir))
    except UserError:
        return About(
            "not known: the images or the split are not those of the run any more", False, False, licence, store, root
        )
    return About(found.sentence().removeprefix("leakage: "), found.leaks, found.groups_known, licence, store, root)


def class_counts(chapter: Chapter) -> list[tuple[str, int]]:
    """Test images of each class."""
    tested = chapter.tested
    counts = np.bincount(tested.labels, minlength=len(tested.classes))
    return [(name, int(each)) for name, each in zip(tested.classes, counts, strict=True)]


def group_count(chapter: Chapter) -> int | None:
    """Of the test images: patients, slides or source images; None where they are not known."""
    groups = set(chapter.tested.groups.tolist()) - {-1}
    return len(groups) or None
