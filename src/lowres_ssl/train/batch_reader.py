"""Read batches of stored images: from the host, or from a copy in a GPU's memory where a step leaves room for it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.console import format_bytes
from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.device import copy_array_to_device
from lowres_ssl.errors import ConfigError, TrainingError, is_out_of_memory

# Of what the largest step so far has left free: an allocator cannot use the last of it.
USABLE_MEMORY_SHARE = 0.9
COPY_BLOCK_BYTES = 64 * 2**20  # bytes of host memory through which a store is copied to a GPU

ReadBatch = Callable[[NDArray[np.int64]], Tensor]


@dataclass(frozen=True)
class GpuMemory:
    """A GPU's memory in bytes: `free` to all, `reserved` by this process, of that `allocated` to tensors, and `peak`,
    the most that was allocated since the training began."""

    free: int
    reserved: int
    allocated: int
    peak: int

    def room(self, growth: float = 1.0) -> float:
        """Compute the bytes left beside a step that takes `growth` times as much as the largest so far."""
        return self.free + self.reserved - self.allocated - growth * (self.peak - self.allocated)


class BatchReader:
    """Rows of a store, int64 [B], to their images, uint8 [B, C, R, R] on the device.

    `place`: "host" leaves the store memory-mapped; a batch for a GPU passes through pinned memory, so that its copy
    waits for nothing. "device" copies the whole store to the GPU now; raises `ConfigError` where it does not fit.
    "auto" begins on the host and lets `copy_if_room` decide. On a CPU all three read the memory-mapped store.
    """

    def __init__(self, store: ImageStore, device: torch.device, place: str) -> None:
        self.store, self.device = store, device
        self.resident: Tensor | None = None
        self.undecided = place == "auto" and device.type != "cpu"
        if self.undecided:
            reset_peak_memory(device)
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
        if self.store.images.nbytes <= USABLE_MEMORY_SHARE * read_gpu_memory(self.device).room(growth):
            try:
                self.resident = copy_to_device(self.store.images, self.device)
            except torch.OutOfMemoryError:  # another process has just taken it
                self.resident = None

    def make_resident_copy(self) -> Tensor:
        needed, room = self.store.images.nbytes, read_gpu_memory(self.device).room(growth=0)
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


def read_gpu_memory(device: torch.device) -> GpuMemory:
    return GpuMemory(
        free=torch.cuda.mem_get_info(device)[0],
        reserved=torch.cuda.memory_reserved(device),
        allocated=torch.cuda.memory_allocated(device),
        peak=torch.cuda.max_memory_allocated(device),
    )


def reset_peak_memory(device: torch.device) -> None:
    """Forget the peak of what ran before, such as the job before this one in a sweep."""
    torch.cuda.reset_peak_memory_stats(device)
