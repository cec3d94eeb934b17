"""A few training images of each class, and the views that pre-training makes of them: to be looked at."""

import numpy as np
import torch
from numpy.typing import NDArray

from lowres_ssl.config import PretrainConfig
from lowres_ssl.planning.augmentation import view_makers
from lowres_ssl.planning.preparation import Material
from lowres_ssl.views.maker import evaluation_view, image_keys

Pictures = NDArray[np.float32]


def examples(material: Material, per_class: int) -> NDArray[np.int64]:
    """Rows of the store [C, per_class]: training images of each class, evenly through them. -1: too few."""
    labels = material.catalogue.labels[material.split.train]
    rows = np.full((len(material.catalogue.classes), per_class), -1, dtype=np.int64)
    for place in range(len(rows)):
        mine = material.split.train[labels == place]
        chosen = np.unique(np.linspace(0, len(mine) - 1, min(per_class, len(mine))).round().astype(np.int64))
        rows[place, : len(chosen)] = mine[chosen]
    return rows


def pictures(config: PretrainConfig, material: Material, rows: NDArray[np.int64]) -> Pictures:
    """Each row's whole image and the two views of it in the last epoch: float32 [C, per_class, 3, S, S, 3] in 0..1.

    They are made as in pre-training, so they are the very views that the method was given. NaN where the row is -1.
    """
    store, there = material.store, rows >= 0
    chosen = rows[there]
    images, sizes = torch.from_numpy(store.images[chosen]), store.sizes[chosen].astype(np.int64)
    keys = image_keys([store.ids[row] for row in chosen])
    mean, std, epoch = config.images.mean, config.images.std, config.epochs - 1
    maker = view_makers(config)[epoch]
    views = [
        evaluation_view(images, image_size=config.image_size, mean=mean, std=std),
        *(maker(images, sizes, keys, epoch=epoch, view=number) for number in (0, 1)),
    ]
    made = torch.stack(views, dim=1)  # [n, 3, 3, S, S]
    colour = images.shape[1] == 3  # a grey image takes the first of mean and std
    scale, shift = (torch.tensor(each if colour else each[:1])[:, None, None] for each in (std, mean))
    shown = np.full((*rows.shape, *made.shape[1:]), np.nan, dtype=np.float32)
    shown[there] = (made * scale + shift).clamp(0, 1).numpy()
    return np.moveaxis(shown, 3, -1)
