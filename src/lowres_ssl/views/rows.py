"""Doing something to some images of a batch and not to the others: by taking them out of it, or by a mask."""

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor


def change_rows(images: Tensor, chosen: Tensor, operation: Callable[..., Tensor], *numbers: Tensor) -> Tensor:
    """`operation` on the images where `chosen` ([B] bool) is true, without work on the others; may overwrite `images`
    ([B, C, S, S]). For a CPU: it has to know how many they are.

    The operation gets the chosen images and their rows of each tensor in `numbers` ([B, ...]), and returns as many
    images of the same shape.
    """
    rows = chosen.nonzero()[:, 0]
    if len(rows) == 0:
        return images
    if len(rows) == len(images):
        return operation(images, *numbers).contiguous()
    changed = operation(images.index_select(0, rows), *(each.index_select(0, rows) for each in numbers))
    return images.index_copy_(0, rows, changed)


def change_by_mask(images: Tensor, chosen: Tensor, operation: Callable[..., Tensor], *numbers: Tensor) -> Tensor:
    """The same by `operation` on all images: no shape depends on `chosen`, and nothing waits for it to be known."""
    return torch.where(chosen[:, None, None, None], operation(images, *numbers), images)


def to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """A small array as a tensor on the device, without waiting for what the device is doing."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
