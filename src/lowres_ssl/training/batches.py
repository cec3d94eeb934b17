"""The batches of an epoch: which images in which order, and their two views, made ahead where that is free."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.data.store import ImageStore
from lowres_ssl.device import CHANNELS_LAST, LAYOUTS
from lowres_ssl.randomness import derive
from lowres_ssl.training.distributed import ALONE, Processes
from lowres_ssl.training.residence import Take
from lowres_ssl.views.maker import ViewMaker, image_keys
from lowres_ssl.views.prefetch import prefetch
from lowres_ssl.views.rows import to_device

Batch = tuple[Tensor, Tensor, Tensor | None]


def make_batches(
    store: ImageStore,
    take: Take,
    rows: NDArray[np.int64],
    views: ViewMaker,
    *,
    epoch: int,
    steps: range,
    batch_size: int,
    seed: int,
    ahead: bool,
    labels: Tensor | None = None,
    processes: Processes = ALONE,
    layout: str = CHANNELS_LAST,
) -> Iterator[Batch]:
    """The two views of each batch of this epoch in these `steps`, [B, 3, S, S] float32 in this memory `layout`, where
    `take` has the images, and their labels, int64 [B], if `labels` (int64 [N], one a row of the store, where the
    images are) are given, else None.

    The order of `rows` derives from (seed, epoch). `ahead`: made by a thread while the last one trains.
    `processes`: of each batch, this process's share alone.
    """
    generator = torch.Generator().manual_seed(derive(seed, "order", epoch))
    order = rows[torch.randperm(len(rows), generator=generator).numpy()]
    keys = image_keys(store.ids)

    def produce() -> Iterator[Batch]:
        for step in steps:
            batch = processes.share(order[step * batch_size : (step + 1) * batch_size])
            images = take(batch)
            pair = views.pair(images, store.sizes[batch].astype(np.int64), keys[batch], epoch=epoch)
            first, second = (view.contiguous(memory_format=LAYOUTS[layout]) for view in pair)
            own = None if labels is None else labels.index_select(0, to_device(batch, labels.device))
            yield first, second, own

    return prefetch(produce()) if ahead else produce()
