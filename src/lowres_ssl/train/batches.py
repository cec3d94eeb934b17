"""Make the batches of an epoch, the next ones in a thread while a GPU trains on the last."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from lowres_ssl.augment.sampling import FULL_VIEW, ViewKind, hash_image_ids
from lowres_ssl.device import MEMORY_FORMATS, copy_array_to_device
from lowres_ssl.seeding import derive_seed
from lowres_ssl.train.batch_reader import BatchReader
from lowres_ssl.train.state import TrainingData, TrainingOptions
from lowres_ssl.train.world import World

Item = TypeVar("Item")
TrainingBatch = tuple[tuple[Tensor, ...], Tensor | None]


def prefetch(iterable: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """Yield the items of `iterable` in their order, up to `depth` (at least 1) of them made ahead in a thread.

    An exception in the iterable is raised here, after the items before it. When the consumer stops early (the generator
    is closed), the item in hand is waited for.
    """
    source, end = iter(iterable), object()
    with ThreadPoolExecutor(1, thread_name_prefix="prefetch") as pool:
        ahead = deque(pool.submit(next, source, end) for _ in range(max(depth, 1)))
        try:
            while (item := ahead.popleft().result()) is not end:
                ahead.append(pool.submit(next, source, end))
                yield item  # type: ignore[misc]  # `end` is no item
        finally:
            pool.shutdown(cancel_futures=True)


def iter_training_batches(
    data: TrainingData,
    read: BatchReader,
    kinds: Sequence[ViewKind],
    *,
    epoch: int,
    first_step: int,
    options: TrainingOptions,
    processes: World,
    layout: str,
) -> Iterator[TrainingBatch]:
    """Yield the views of these `kinds` of each batch of this epoch, from `first_step` on: [B, 3, S, S] float32 each, in
    this memory `layout`, and their labels, int64 [B], if there are any; all on the reader's device.

    The order of the rows derives from (seed, epoch). Of each batch it is this process's share alone.
    """
    generator = torch.Generator().manual_seed(derive_seed(options.seed, "order", epoch))
    order = data.rows[torch.randperm(len(data.rows), generator=generator).numpy()]
    keys, size = hash_image_ids(data.store.ids), options.batch_size
    labels = None if data.labels is None else torch.from_numpy(data.labels).to(read.device)
    groups, number = [], 0
    for kind, alike in groupby(kinds):
        numbers = range(number, number + len(list(alike)))
        groups.append((data.views[epoch] if kind == FULL_VIEW else data.views[epoch].of_kind(kind), numbers))
        number = numbers.stop

    def produce() -> Iterator[TrainingBatch]:
        for step in range(first_step, options.steps_per_epoch(len(order))):
            rows = processes.shard(order[step * size : (step + 1) * size])
            images, sizes = read(rows), data.store.sizes[rows].astype(np.int64)
            views = tuple(
                view.contiguous(memory_format=MEMORY_FORMATS[layout])
                for augmentation, numbers in groups
                for view in augmentation.make(images, sizes, keys[rows], epoch=epoch, views=numbers)
            )
            yield views, None if labels is None else labels.index_select(0, copy_array_to_device(rows, labels.device))

    # On a CPU a second thread takes the cores from the step, and was measured to be slower.
    return prefetch(produce()) if read.device.type == "cuda" else produce()
