"""Read stored images, from the host or from a copy on a GPU where a step leaves room, and make an epoch's batches."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.augment.sampling import FULL_VIEW, ViewKind, draw_uniforms, hash_image_ids
from lowres_ssl.console import format_bytes, log_info
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.data.splits import Split
from lowres_ssl.device import MEMORY_FORMATS, copy_array_to_device
from lowres_ssl.errors import ConfigError, TrainingError, is_out_of_memory
from lowres_ssl.seeding import derive_seed
from lowres_ssl.train.state import TrainingData, TrainingOptions
from lowres_ssl.train.world import World

# Of what the largest step so far has left free: an allocator cannot use the last of it.
USABLE_MEMORY_SHARE = 0.9
COPY_BLOCK_BYTES = 64 * 2**20  # bytes of host memory through which a store is copied to a GPU


class BatchReader:
    """Read rows of a store, int64 [B]: their images, uint8 [B, C, R, R] on the device.

    `place`: "host" leaves the store memory-mapped; a batch for a GPU passes through pinned memory, so that its copy
    waits for nothing. "device" copies the whole store to the GPU now; raises `ConfigError` where it does not fit.
    "auto" begins on the host and lets `copy_if_room` decide. On a CPU all three read the memory-mapped store.
    """

    def __init__(self, store: ImageStore, device: torch.device, place: str) -> None:
        self.store, self.device = store, device
        self.resident: Tensor | None = None
        self.undecided = place == "auto" and device.type != "cpu"
        if self.undecided:
            torch.cuda.reset_peak_memory_stats(device)  # of what ran before, such as the job before in a sweep
        if place == "device" and device.type != "cpu":
            self.resident = self.make_resident_copy()

    def __call__(self, rows: NDArray[np.int64]) -> Tensor:
        if self.resident is not None:
            return self.resident.index_select(0, copy_array_to_device(rows, self.device))
        images = torch.from_numpy(self.store.images[rows])
        return images.pin_memory().to(self.device, non_blocking=True) if self.device.type == "cuda" else images

    def copy_if_room(self, growth: float = 1.0) -> None:
        """Copy an "auto" store to the GPU if a training step leaves room, once; for the end of an epoch.

        By then the peak of a step is known, with activations, gradients, optimiser and whatever a compiler keeps.
        `growth`: how many times as much memory the largest step to come needs, where later epochs have larger images.
        """
        if not self.undecided:
            return
        self.undecided = False
        if self.store.images.nbytes <= USABLE_MEMORY_SHARE * measure_free_memory(self.device, growth):
            try:
                self.resident = copy_to_device(self.store.images, self.device)
            except torch.OutOfMemoryError:  # another process has just taken it
                self.resident = None

    def make_resident_copy(self) -> Tensor:
        needed, room = self.store.images.nbytes, measure_free_memory(self.device, growth=0)
        if needed > room:
            raise ConfigError(
                f"store=device: the decoded images take {format_bytes(needed)}, wanted at most the "
                f"{format_bytes(int(room))} that are free on the GPU beside the model; type store=host, or a smaller "
                "dataset.storage_size"
            )
        return copy_to_device(self.store.images, self.device)

    @contextmanager
    def explain_out_of_memory(self, batch_size: int) -> Iterator[None]:
        """Raise `TrainingError` for a block that runs out of memory where the images are what can leave the GPU."""
        try:
            yield
        except RuntimeError as error:
            if self.resident is None or not is_out_of_memory(error):
                raise
            size = format_bytes(self.resident.nbytes)
            raise TrainingError(
                f"out of memory on the GPU, of which the decoded images take {size}; type store=host; where that is "
                f"not enough, batch_size={max(2, batch_size // 2)} or a smaller image_size as well"
            ) from error


def copy_to_device(images: NDArray[np.uint8], device: torch.device) -> Tensor:
    """Copy the images [N, C, R, R] through `COPY_BLOCK_BYTES` of the host's memory, or one image."""
    resident = torch.empty(images.shape, dtype=torch.uint8, device=device)
    rows = max(1, COPY_BLOCK_BYTES // images[0].nbytes)
    for start in range(0, len(images), rows):
        resident[start : start + rows] = torch.from_numpy(np.array(images[start : start + rows]))
    return resident


def measure_free_memory(device: torch.device, growth: float = 1.0) -> float:
    """Measure the bytes that a GPU has left beside a step that takes `growth` times as much as the largest so far.

    What PyTorch has reserved and holds no tensor is free as well; a step takes what the peak of the training had
    beside the tensors that stay.
    """
    allocated, peak = torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device)
    unused = torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device) - allocated
    return unused - growth * (peak - allocated)


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


def check_patients(catalogue: Catalogue, split: Split) -> None:
    """Raise `ConfigError` where `positives=patient` finds no two training images of a patient."""
    groups = catalogue.groups[split.train] if catalogue.records else catalogue.groups
    _, counts = np.unique(groups[groups >= 0], return_counts=True)
    if not len(counts):
        raise ConfigError(
            "positives=patient: the patients of this set are not known; name them with dataset.options.group_pattern, "
            "or type positives=image"
        )
    if counts.max() < 2:
        raise ConfigError("positives=patient: no patient has two training images; type positives=image")
    paired = int(counts[counts > 1].sum())
    log_info(f"positives=patient: {paired:,} of {len(groups):,} training images have another one of their patient")


def choose_partners(
    rows: NDArray[np.int64], groups: NDArray[np.int64], keys: NDArray[np.uint64], *, seed: int, epoch: int
) -> NDArray[np.int64]:
    """Choose another image of the same group for each of `rows`, at random in each epoch; itself where it is the only
    one, or its group is -1.

    As MICLe (Azizi et al., Big Self-Supervised Models Advance Medical Image Classification, 2021, arXiv 2101.05224).
    `rows`: int64 [n], the training images; `groups`: int64 [N]; `keys`: uint64 [N], see `hash_image_ids`. Returns int64
    [N], of which only `rows` are set.
    """
    partners = np.arange(len(groups))
    rows = np.sort(rows)
    ordered = rows[np.argsort(groups[rows], kind="stable")]
    ordered = ordered[groups[ordered] >= 0]
    _, starts, counts = np.unique(groups[ordered], return_index=True, return_counts=True)
    start, count = np.repeat(starts, counts), np.repeat(counts, counts)
    drawn = draw_uniforms(seed=seed, epoch=epoch, view=0, keys=keys[ordered], count=1)[0]
    steps = np.where(count > 1, 1 + (drawn * (count - 1)).astype(np.int64), 0)
    partners[ordered] = ordered[start + (np.arange(len(ordered)) - start + steps) % count]
    return partners


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

    partners = None
    if data.groups is not None:  # each view is then made of other images
        partners = choose_partners(
            data.rows, data.groups, keys, seed=derive_seed(options.seed, "positives"), epoch=epoch
        )
        groups = [(augmentation, range(number, number + 1)) for augmentation, numbers in groups for number in numbers]

    def produce() -> Iterator[TrainingBatch]:
        for step in range(first_step, options.steps_per_epoch(len(order))):
            rows = processes.shard(order[step * size : (step + 1) * size])
            views: list[Tensor] = []
            for augmentation, numbers in groups:
                shown = rows if partners is None or numbers.start == 0 else partners[rows]
                if not views or partners is not None:
                    images, sizes = read(shown), data.store.sizes[shown].astype(np.int64)
                made = augmentation(images, sizes, keys[rows], epoch=epoch, views=numbers)
                views += [view.contiguous(memory_format=MEMORY_FORMATS[layout]) for view in made]
            yield (
                tuple(views),
                None if labels is None else labels.index_select(0, copy_array_to_device(rows, labels.device)),
            )

    # On a CPU a second thread takes the cores from the step, and was measured to be slower.
    return prefetch(produce()) if read.device.type == "cuda" else produce()
