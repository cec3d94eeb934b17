"""Build the configured views: a size for each epoch, an augmentation for each size, and example views for figures."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from lowres_ssl.augment.augmentation import Augmentation, make_evaluation_view
from lowres_ssl.augment.sampling import hash_image_ids
from lowres_ssl.config.check import get_min_image_size, require
from lowres_ssl.config.experiment_schema import PretrainConfig, to_plain
from lowres_ssl.data.prepare import PreparedData


def build_size_schedule(stages: Sequence[Sequence[float]], *, epochs: int, image_size: int, smallest: int) -> list[int]:
    """Compute the views' size in each epoch, in pixels.

    stages: pairs (share of the epochs, share of `image_size`), in their order; the shares of the epochs add up to 1.
    The last stage ends at `image_size` itself, so that the encoder is left as that size needs it. A stage too short for
    an epoch has none, but the last has one at least. Cao and Wu, Rethinking Self-Supervised Learning: Small is
    Beautiful, 2021, arXiv 2103.13559. Raises `ConfigError` for what is no schedule.
    """

    def check(ok: bool, wanted: str) -> None:
        example = f"{wanted}, such as [[0.75,0.5],[0.25,1.0]]"
        require(ok, "image_size_schedule", [list(stage) for stage in stages], example)

    is_pairs = len(stages) > 0 and all(len(stage) == 2 for stage in stages)
    check(is_pairs, "pairs of a share of the epochs and a share of image_size")
    check(all(share > 0 and 0 < scale <= 1 for share, scale in stages), "shares above 0, and of image_size at most 1")
    total = math.fsum(share for share, _ in stages)
    check(math.isclose(total, 1.0, abs_tol=1e-6), "shares of the epochs that add up to 1")
    check(stages[-1][1] == 1.0, "a last stage of the whole image_size")
    sizes = [round(scale * image_size) for _, scale in stages]
    check(min(sizes) >= smallest, f"at least {smallest} pixels, got {min(sizes)} of image_size={image_size}")

    by_epoch: list[int] = []
    done = 0.0
    for (share, _), size in zip(stages, sizes, strict=True):
        done += share
        by_epoch += [size] * (round(done * epochs) - len(by_epoch))
    return [*by_epoch[: epochs - 1], image_size]


def build_views(config: PretrainConfig) -> list[Augmentation]:
    """Build the augmentation of each epoch, one a size, in the order of the schedule."""
    sizes = build_size_schedule(
        config.image_size_schedule,
        epochs=config.epochs,
        image_size=config.image_size,
        smallest=get_min_image_size(config.backbone),
    )
    images, settings = config.images, to_plain(config.views)
    makers = {
        size: Augmentation(image_size=size, mean=images.mean, std=images.std, seed=config.seed, **settings)
        for size in set(sizes)
    }
    return [makers[size] for size in sizes]


ExampleImages = NDArray[np.float32]


def choose_example_rows(material: PreparedData, per_class: int) -> NDArray[np.int64]:
    """Choose rows of the store [C, per_class]: training images of each class, evenly spread; -1 for too few. Without
    labels C is 1."""
    train, classes = material.training_rows, material.catalogue.classes
    labels = material.catalogue.labels[train] if classes else np.zeros(len(train), dtype=np.int64)
    rows = np.full((max(1, len(classes)), per_class), -1, dtype=np.int64)
    for place in range(len(rows)):
        mine = train[labels == place]
        chosen = np.unique(np.linspace(0, len(mine) - 1, min(per_class, len(mine))).round().astype(np.int64))
        rows[place, : len(chosen)] = mine[chosen]
    return rows


def make_example_views(config: PretrainConfig, material: PreparedData, rows: NDArray[np.int64]) -> ExampleImages:
    """Make each row's whole image and its two views in the last epoch: float32 [C, per_class, 3, S, S, 3] in 0..1.

    These are the views that the method was trained on. NaN where the row is -1.
    """
    store, there = material.store, rows >= 0
    chosen = rows[there]
    images, sizes = torch.from_numpy(store.images[chosen]), store.sizes[chosen].astype(np.int64)
    keys = hash_image_ids([store.ids[row] for row in chosen])
    mean, std, epoch = config.images.mean, config.images.std, config.epochs - 1
    maker = build_views(config)[epoch]
    views = [
        make_evaluation_view(images, image_size=config.image_size, mean=mean, std=std),
        *maker(images, sizes, keys, epoch=epoch, views=(0, 1)),
    ]
    made = torch.stack(views, dim=1)  # [n, 3, 3, S, S]
    colour = images.shape[1] == 3  # a grey image takes the first of mean and std
    scale, shift = (torch.tensor(each if colour else each[:1])[:, None, None] for each in (std, mean))
    shown = np.full((*rows.shape, *made.shape[1:]), np.nan, dtype=np.float32)
    shown[there] = (made * scale + shift).clamp(0, 1).numpy()
    return np.moveaxis(shown, 3, -1)
