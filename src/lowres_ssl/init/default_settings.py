"""Choose settings by a set's numbers alone: neighbours, batch size, image size, time. None of them is tuned."""

import math
from dataclasses import dataclass

import numpy as np

from lowres_ssl.config.duration import format_budget
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.splits import Split

PAPER_NEIGHBOURS = 200
MAX_BATCH_SIZE = 64  # what the recipes' learning rates belong to
PAPER_SIZE, CPU_SIZE, MIN_SIZE = 224, 64, 24
HALF_HOUR_SECONDS, HOUR_SECONDS = 1800, 3600
IMAGES_IN_HALF_AN_HOUR = 1500


@dataclass(frozen=True)
class DefaultSettings:
    """Hold the settings, and the numbers of training images that they depend on: all, and of the smallest class."""

    image_size: int
    batch_size: int
    k: int
    train_images: int
    smallest_class: int


def choose_default_settings(catalogue: Catalogue, split: Split, *, gpu: bool) -> DefaultSettings:
    """Choose the settings for these images and this split."""
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
    """Choose k for KNN: a fifth of the smallest class's training images (at least 1), so that an image's neighbours can
    all be of its class; at least 5 where there are so many, and at most the paper's 200."""
    return min(smallest_class, max(5, smallest_class // 5), PAPER_NEIGHBOURS)


def choose_batch_size(images: int) -> int:
    """Choose the batch size for the images of an epoch (at least 2): the recipes' 64, or the largest power of two that
    the images fill.

    Not lowered for more steps an epoch: the recipes' rates are for 64 images, and smaller batches have fewer images to
    compare each image with. docs/own_data.md has the trial.
    """
    return max(2, 1 << min(images, MAX_BATCH_SIZE).bit_length() - 1)


def choose_image_size(shorter_side: int, *, gpu: bool) -> int:
    """Choose the side in pixels to train at, from the median shorter side of the images: the paper's 224 on a GPU, 64
    for a first try on a CPU; not above the images, in steps of 8 and at least 24."""
    return max(MIN_SIZE, min(PAPER_SIZE if gpu else CPU_SIZE, shorter_side // 8 * 8))


def suggest_budget(images: int) -> str:
    """Suggest the time to compare all methods in, as it is typed: half an hour up to 1,500 images of the set, then in
    proportion, in whole hours."""
    if images <= IMAGES_IN_HALF_AN_HOUR:
        return format_budget(HALF_HOUR_SECONDS)
    return format_budget(HOUR_SECONDS * math.ceil(HALF_HOUR_SECONDS * images / IMAGES_IN_HALF_AN_HOUR / HOUR_SECONDS))
