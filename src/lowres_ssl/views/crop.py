"""Cutting a box out of each stored image and resampling it, antialiased, to the view's size.

Two paths with one result: on a CPU the boxes are cut one by one, since their sizes differ and torch has a fast uint8
kernel; elsewhere the whole batch goes through two batched matrix products, whose shapes don't depend on the boxes.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.views.rows import to_device


def boxes_in_store(boxes: NDArray[np.int64], sizes: NDArray[np.int64], storage_size: int) -> NDArray[np.int64]:
    """Boxes in pixels of the originals, as whole pixels of the square that each original was squashed into.

    boxes: [B, 4] (top, left, height, width); sizes: [B, 2] (height, width) of the originals. A box keeps at least 1 px.
    """
    scale = storage_size / sizes  # [B, 2]
    start = np.rint(boxes[:, :2] * scale).astype(np.int64)
    end = np.rint((boxes[:, :2] + boxes[:, 2:]) * scale).astype(np.int64)
    start = np.minimum(start, storage_size - 1)
    return np.concatenate([start, np.maximum(end - start, 1)], axis=1)


def crop_and_resize(images: Tensor, boxes: NDArray[np.int64], size: int) -> Tensor:
    """Each image's box, resampled with a triangle filter to size x size: [B, C, size, size] float32 in 0..1.

    images: [B, C, R, R] uint8; boxes: [B, 4] (top, left, height, width) in pixels of `images`. The same as
    `torchvision.transforms.v2.functional.resized_crop(..., antialias=True)`, within 1 of 255.
    """
    path = crop_one_by_one if images.device.type == "cpu" else crop_by_matrices
    return path(images, boxes, size)


def crop_one_by_one(images: Tensor, boxes: NDArray[np.int64], size: int) -> Tensor:
    """`crop_and_resize` with torch's antialiased uint8 kernel, which exists on CPUs only."""
    views = torch.empty(len(images), images.shape[1], size, size, dtype=torch.uint8)
    for row, (top, left, height, width) in enumerate(boxes.tolist()):
        box = images[row : row + 1, :, top : top + height, left : left + width]
        # Almost twice as fast on three channels where the store lies pixel by pixel (`channels_last`).
        views[row] = F.interpolate(box, size=(size, size), mode="bilinear", antialias=True)[0]
    return views.to(torch.float32).div_(255)


def crop_by_matrices(images: Tensor, boxes: NDArray[np.int64], size: int) -> Tensor:
    """`crop_and_resize` as `rows @ image @ columns.T`, for the whole batch at once; no shape depends on the boxes."""
    corners = to_device(boxes, images.device, torch.float32)  # [B, 4]
    rows = resampling_matrices(corners[:, 0], corners[:, 2], images.shape[2], size)  # [B, S, R]
    columns = resampling_matrices(corners[:, 1], corners[:, 3], images.shape[3], size)
    narrow = torch.matmul(images.to(torch.float32), columns.transpose(1, 2)[:, None])  # [B, C, R, S]
    # A sum of weights can exceed 1 by the last bit, and later steps count on 0..1.
    return torch.matmul(rows[:, None], narrow).div_(255).clamp_(0, 1)


def resampling_matrices(start: Tensor, length: Tensor, storage_size: int, size: int) -> Tensor:
    """Weights [B, size, storage_size] that resample pixels start to start + length ([B] each) to `size` pixels.

    A triangle filter as wide as an output pixel, never narrower than an input pixel; nothing outside the box counts.
    """
    start, length = start[:, None, None], length[:, None, None]  # [B, 1, 1]
    scale = length / size
    targets = torch.arange(size, device=start.device, dtype=start.dtype)[:, None]  # [S, 1]
    pixels = torch.arange(storage_size, device=start.device, dtype=start.dtype)  # [R]
    centres = start + (targets + 0.5) * scale  # [B, S, 1]
    weights = (1 - (pixels + 0.5 - centres).abs() / scale.clamp(min=1)).clamp_(min=0)  # [B, S, R]
    weights = weights * ((pixels >= start) & (pixels < start + length))
    return weights / weights.sum(dim=2, keepdim=True)
