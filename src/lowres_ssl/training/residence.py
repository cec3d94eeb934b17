"""Where the stored images are while they are used: in the device's memory if they fit, else read batch by batch."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.data.store import ImageStore
from lowres_ssl.errors import ConfigError
from lowres_ssl.views.rows import to_device

# Of the memory that is free: the rest is for the model and its activations.
SHARE_OF_FREE_MEMORY = 0.5

Take = Callable[[NDArray[np.int64]], Tensor]


def reader(store: ImageStore, device: torch.device, place: str) -> Take:
    """A function from rows [B] to their images, uint8 [B, C, R, R] on the device.

    `place`: "device" copies the whole store there now, and a batch is then gathered on the device; "host" leaves it
    memory-mapped, and a batch for a GPU passes through pinned memory, so that its copy waits for nothing; "auto" takes
    the device where half of its free memory holds the store, and on a CPU the host. Raises `ConfigError` if "device"
    was asked for and there is no room.
    """
    has_room = fits(store, device)
    if place == "device" or (place == "auto" and device.type == "cuda" and has_room):
        if place == "device" and not has_room:
            raise ConfigError(
                f"store=device: the images take {store.images.nbytes / 1e9:.1f} GB, more than half of the device's "
                "free memory; try store=host, or a smaller dataset.storage_size"
            )
        resident = torch.from_numpy(np.array(store.images)).to(device)
        return lambda rows: resident.index_select(0, to_device(rows, device))
    if device.type == "cuda":
        return lambda rows: torch.from_numpy(store.images[rows]).pin_memory().to(device, non_blocking=True)
    return lambda rows: torch.from_numpy(store.images[rows])


def fits(store: ImageStore, device: torch.device) -> bool:
    """Whether the store takes no more than its share of the device's free memory; a CPU's is not asked."""
    if device.type != "cuda":
        return True
    reusable = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # of an earlier run of a sweep
    free: int = torch.cuda.mem_get_info(device)[0] + reusable
    return store.images.nbytes <= SHARE_OF_FREE_MEMORY * free
