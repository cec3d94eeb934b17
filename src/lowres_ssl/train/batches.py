"""Producing ahead in a thread. Knows nothing of what is produced."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from queue import Empty, Queue
from typing import Generic, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.augment.augmentation import Augmentation
from lowres_ssl.augment.sampling import hash_image_ids
from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.device import CHANNELS_LAST, MEMORY_FORMATS, copy_array_to_device
from lowres_ssl.seeding import derive_seed
from lowres_ssl.train.batch_reader import ReadBatch
from lowres_ssl.train.world import SINGLE_PROCESS, World

Item = TypeVar("Item")


@dataclass(frozen=True)
class PrefetchedItem(Generic[Item]):
    item: Item


@dataclass(frozen=True)
class PrefetchEnd:
    error: BaseException | None


def prefetch(iterable: Iterable[Item], depth: int = 2) -> Iterator[Item]:
    """The items of `iterable` in their order, up to `depth` (at least 1) of them made ahead by a daemon thread.

    The thread starts with the first item asked for. An exception in the iterable is raised here, after the items before
    it. When the consumer stops early (the generator is closed), the thread ends after the item in hand, and is waited
    for.
    """
    queue: Queue[PrefetchedItem[Item] | PrefetchEnd] = Queue(maxsize=max(depth, 1))
    stopped = threading.Event()

    def produce() -> None:
        # Each put follows a look at `stopped`: so at most one comes after the consumer has emptied the queue, and none
        # waits for ever.
        error: BaseException | None = None
        try:
            for item in iterable:
                if stopped.is_set():
                    return
                queue.put(PrefetchedItem(item))
                if stopped.is_set():
                    return
        except BaseException as caught:  # the consumer's to handle, whatever it is
            error = caught
        if not stopped.is_set():
            queue.put(PrefetchEnd(error))

    thread = threading.Thread(target=produce, name="prefetch", daemon=True)
    thread.start()
    try:
        while isinstance(message := queue.get(), PrefetchedItem):
            yield message.item
        if message.error is not None:
            raise message.error
    finally:
        stopped.set()
        drain(queue)
        thread.join()


def drain(queue: Queue[PrefetchedItem[Item] | PrefetchEnd]) -> None:
    while True:
        try:
            queue.get_nowait()
        except Empty:
            return


TrainingBatch = tuple[Tensor, Tensor, Tensor | None]


def iter_training_batches(
    store: ImageStore,
    take: ReadBatch,
    rows: NDArray[np.int64],
    views: Augmentation,
    *,
    epoch: int,
    steps: range,
    batch_size: int,
    seed: int,
    ahead: bool,
    labels: Tensor | None = None,
    processes: World = SINGLE_PROCESS,
    layout: str = CHANNELS_LAST,
) -> Iterator[TrainingBatch]:
    """The two views of each batch of this epoch in these `steps`, [B, 3, S, S] float32 in this memory `layout`, where
    `take` has the images, and their labels, int64 [B], if `labels` (int64 [N], one a row of the store, where the
    images are) are given, else None.

    The order of `rows` derives from (seed, epoch). `ahead`: made by a thread while the last one trains.
    `processes`: of each batch, this process's share alone.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "order", epoch))
    order = rows[torch.randperm(len(rows), generator=generator).numpy()]
    keys = hash_image_ids(store.ids)

    def produce() -> Iterator[TrainingBatch]:
        for step in steps:
            batch = processes.shard(order[step * batch_size : (step + 1) * batch_size])
            images = take(batch)
            pair = views.pair(images, store.sizes[batch].astype(np.int64), keys[batch], epoch=epoch)
            first, second = (view.contiguous(memory_format=MEMORY_FORMATS[layout]) for view in pair)
            own = None if labels is None else labels.index_select(0, copy_array_to_device(batch, labels.device))
            yield first, second, own

    return prefetch(produce()) if ahead else produce()
