"""Doing something to some images of a batch and not to the others: by taking them out of it, or by a mask."""

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def apply_to_rows(images: Tensor, chosen: Tensor, operation: Callable[..., Tensor], *numbers: Tensor) -> Tensor:
    """Apply `operation` to the images where `chosen` ([B] bool) is true; the others take no arithmetic.

    The operation gets the chosen images and their rows of each tensor in `numbers` ([B, ...]), and returns as many
    images of the same shape. `images` ([B, C, S, S]) may be overwritten. For a CPU: shapes depend on how many are
    chosen.
    """
    rows = chosen.nonzero()[:, 0]
    if len(rows) == 0:
        return images
    if len(rows) == len(images):
        return operation(images, *numbers).contiguous()
    changed = operation(images.index_select(0, rows), *(each.index_select(0, rows) for each in numbers))
    return images.index_copy_(0, rows, changed)


def apply_by_mask(images: Tensor, chosen: Tensor, operation: Callable[..., Tensor], *numbers: Tensor) -> Tensor:
    """Apply `operation` to all images and keep what it made of the chosen ones: no shape depends on how many they are.

    As `change_rows`, for a GPU or a compiler.
    """
    return torch.where(chosen[:, None, None, None], operation(images, *numbers), images)


def copy_array_to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Copy an array to the device without waiting for what the device is doing: through pinned memory to a GPU."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
