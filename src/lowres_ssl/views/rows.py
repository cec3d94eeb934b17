"""Doing something to some images of a batch and not to the others, without work on the others."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def change_rows(
    images: Tensor, chosen: NDArray[np.bool_], operation: Callable[..., Tensor], *values: NDArray[np.float64]
) -> Tensor:
    """`operation` on the images where `chosen` ([B] bool) is true; may overwrite `images` [B, C, S, S].

    The operation gets the chosen images, b of them, and of each array in `values` ([B]) their entries as a tensor
    [b, 1, 1, 1] of the images' dtype and device, and returns as many images of the same shape. It may overwrite what it
    gets.
    """
    rows = np.flatnonzero(chosen)
    if len(rows) == 0:
        return images
    columns = [column(value[rows], images) for value in values]
    if len(rows) == len(images):
        return operation(images, *columns)
    index = to_device(rows, images.device)
    return images.index_copy_(0, index, operation(images.index_select(0, index), *columns))


def column(values: NDArray[np.float64], images: Tensor) -> Tensor:
    """One number an image, [B], as a tensor [B, 1, 1, 1] that broadcasts over the images."""
    return to_device(values, images.device, images.dtype)[:, None, None, None]


def to_device(array: NDArray[Any], device: torch.device, dtype: torch.dtype | None = None) -> Tensor:
    """A small array as a tensor on the device, without waiting for what the device is doing."""
    return torch.as_tensor(array, dtype=dtype).to(device, non_blocking=True)
