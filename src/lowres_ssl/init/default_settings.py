"""Choose settings that fit a new data set: image size, batch size, neighbours, epochs, the time of a benchmark."""

import math
from dataclasses import dataclass
from statistics import median_low

import numpy as np

from lowres_ssl.config.overrides import format_budget
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.splits import Split
from lowres_ssl.train.state import count_views

PAPER_NEIGHBOURS = 200
MIN_VIEWS = 20_000  # what the shortest trainings of docs/recipe_study.md had
MIN_EPOCHS, GPU_EPOCHS = 20, 100
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

    @property
    def epoch_views(self) -> int:
        """Count the views of an epoch, whose incomplete last batch is dropped; one image alone fills no batch."""
        return count_views(self.train_images, self.batch_size, keep_last_batch=False) or 2


def choose_default_settings(catalogue: Catalogue, split: Split, *, gpu: bool) -> DefaultSettings:
    """Choose the settings for these images and this split; `k` is 0 without labels."""
    images = catalogue.records or catalogue.unlabelled
    train_images = len(split.train) if catalogue.records else len(images)
    smallest = int(np.bincount(catalogue.labels[split.train], minlength=len(catalogue.classes) or 1).min())
    return DefaultSettings(
        image_size=choose_image_size(median_low(min(each.height, each.width) for each in images), gpu=gpu),
        batch_size=choose_batch_size(train_images),
        k=choose_neighbours(smallest),
        train_images=train_images,
        smallest_class=smallest,
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


def choose_epochs(views: int, *, gpu: bool) -> int:
    """Choose the epochs of a first try, each of so many views: `MIN_VIEWS` at least."""
    return max(GPU_EPOCHS if gpu else MIN_EPOCHS, math.ceil(MIN_VIEWS / views))


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
