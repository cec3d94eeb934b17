"""Settings that fit a set by its numbers alone: neighbours, batch size, image size, time. None of them is tuned."""

import math
from dataclasses import dataclass

import numpy as np

from lowres_ssl.config.duration import format_budget
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.splits import Split

PAPER_NEIGHBOURS = 200
MAX_BATCH_SIZE = 64  # what the recipes' learning rates belong to
PAPER_SIZE, CPU_SIZE, MIN_SIZE = 224, 64, 24
HALF_HOUR_SECONDS, HOUR_SECONDS = 1800, 3600  # seconds
IMAGES_IN_HALF_AN_HOUR = 1500


@dataclass(frozen=True)
class DefaultSettings:
    """What to type for a set, and the numbers it is chosen by: training images in all, and of the smallest class."""

    image_size: int
    batch_size: int
    k: int
    train_images: int
    smallest_class: int


def choose_default_settings(catalogue: Catalogue, split: Split, *, gpu: bool) -> DefaultSettings:
    """Those that fit these images, divided like this."""
    train = np.bincount(catalogue.labels[split.train], minlength=len(catalogue.classes))
    shorter = sorted(min(record.height, record.width) for record in catalogue.records)
    return DefaultSettings(
        image_size=choose_image_size(shorter[(len(shorter) - 1) // 2], gpu=gpu),
        batch_size=choose_batch_size(len(split.train)),
        k=choose_neighbours(int(train.min())),
        train_images=len(split.train),
        smallest_class=int(train.min()),
    )


def choose_neighbours(smallest_class: int) -> int:
    """k for KNN, from the training images of the smallest class (at least 1).

    A fifth of them, so that the neighbours of an image can all be of its class; at least 5 where there are so many, and
    at most the paper's 200.
    """
    return min(smallest_class, max(5, smallest_class // 5), PAPER_NEIGHBOURS)


def choose_batch_size(images: int) -> int:
    """Choose the images of a step from those of an epoch (at least 2): the recipes' 64, or the largest power of two
    below it that the images fill.

    Not lowered for more steps an epoch: the recipes' rates are for 64 images, and with fewer of them in a batch there
    is less to compare each image with. docs/own_data.md has the trial.
    """
    size = MAX_BATCH_SIZE
    while size > 2 and images < size:
        size //= 2
    return size


def choose_image_size(shorter_side: int, *, gpu: bool) -> int:
    """The side in pixels to train at, from the median shorter side of the images: the paper's 224 on a GPU, 64 for a
    first try on a CPU; not above the images, in steps of 8 and at least 24."""
    wanted = PAPER_SIZE if gpu else CPU_SIZE
    return max(MIN_SIZE, min(wanted, shorter_side // 8 * 8))


def suggest_budget(images: int) -> str:
    """The time to compare all methods in, as it is typed: half an hour up to 1,500 images of the set, then in
    proportion, in whole hours."""
    if images <= IMAGES_IN_HALF_AN_HOUR:
        return format_budget(HALF_HOUR_SECONDS)
    return format_budget(HOUR_SECONDS * math.ceil(HALF_HOUR_SECONDS * images / IMAGES_IN_HALF_AN_HOUR / HOUR_SECONDS))
