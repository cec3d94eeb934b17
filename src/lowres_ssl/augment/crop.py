"""Cut a box out of each stored image and resample it, antialiased and flipped or not, to the view's size.

Two ways with one result: on a CPU the boxes are cut one by one, since their sizes differ and torch has a fast uint8
kernel; elsewhere the whole batch goes through two batched matrix products, whose shapes do not depend on the boxes.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

AXIS_NUMBERS = 5  # numbers of an axis in `pack_crop_axes`


def multiply_both_axes(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Compute `rows @ image @ columns.T` for each image and channel: [n, C, S, S] `channels_last`.

    images: [B, C, R, R] float, contiguous; rows, columns: [n, S, R], n being a multiple of B, whose images have as many
    maps side by side. Both products take and give memory in its order, so that nothing is copied in between.
    """
    count, channels, side, _ = images.shape
    maps, size, _ = rows.shape
    pixels = images.reshape(count, channels * side, side)  # channel, row | column
    narrow = torch.bmm(columns.view(count, -1, side), pixels.mT)  # [B, (n / B) S, C R]: column | channel, row
    views = torch.bmm(rows, narrow.view(maps, size * channels, side).mT)  # [n, S, S C]: row | column, channel
    return views.view(maps, size, size, channels).permute(0, 3, 1, 2)


def scale_boxes_to_store(boxes: NDArray[np.int64], sizes: NDArray[np.int64], storage_size: int) -> NDArray[np.int64]:
    """Convert boxes from pixels of the originals to whole pixels of the square that each original was resized to.

    boxes: [B, 4] (top, left, height, width); sizes: [B, 2] (height, width) of the originals. A box keeps at least 1 px.
    """
    scale = storage_size / sizes  # [B, 2]
    start = np.rint(boxes[:, :2] * scale).astype(np.int64)
    end = np.rint((boxes[:, :2] + boxes[:, 2:]) * scale).astype(np.int64)
    start = np.minimum(start, storage_size - 1)
    return np.concatenate([start, np.maximum(end - start, 1)], axis=1)


def crop_one_by_one(images: Tensor, boxes: NDArray[np.int64], flips: NDArray[np.bool_], size: int) -> Tensor:
    """Resample each image's box with a triangle filter to size x size: [B, C, size, size] float32 in 0..1.

    images: [B, C, R, R] uint8 on a CPU; boxes: [B, 4] (top, left, height, width) in pixels of `images`; flips: [B, 2],
    whether top and bottom change places, and left and right. The same as
    `torchvision.transforms.v2.functional.resized_crop(..., antialias=True)`, by the kernel that it uses.
    """
    views = torch.empty(len(images), images.shape[1], size, size, dtype=torch.uint8)
    for row, (top, left, height, width) in enumerate(boxes.tolist()):
        box = images[row : row + 1, :, top : top + height, left : left + width]
        # Almost twice as fast on three channels where the store lies pixel by pixel (`channels_last`).
        view = F.interpolate(box, size=(size, size), mode="bilinear", antialias=True)[0]
        turned = [dimension for dimension in (1, 2) if flips[row, dimension - 1]]
        views[row] = view.flip(turned) if turned else view
    return views.to(torch.float32).div_(255)


def pack_crop_axes(boxes: NDArray[np.int64], flips: NDArray[np.bool_], size: int) -> NDArray[np.float64]:
    """Compute what `crop_by_matrices` takes of each box: [B, 2 * AXIS_NUMBERS], the vertical axis first.

    Of each axis: the box's first and last pixel; the width of a pixel in units of the triangle filter's, at most 1; and
    in those units, where the view's first pixel has its centre, pixel i having its own at i, and how far it is to the
    next one. A flip is another order of the view's pixels: from the end of the box, backwards.
    """
    start, length = boxes[:, :2], boxes[:, 2:]  # [B, 2] each
    scale = length / size
    unit = 1 / np.maximum(scale, 1)
    first = np.where(flips, start + length - scale / 2, start + scale / 2) - 0.5
    step = np.where(flips, -scale, scale)
    numbers = np.stack([start, start + length - 1, unit, first * unit, step * unit], axis=2)  # [B, 2, AXIS_NUMBERS]
    return numbers.reshape(-1, 2 * AXIS_NUMBERS)


def crop_by_matrices(images: Tensor, axes: Tensor, size: int) -> Tensor:
    """Compute `crop_one_by_one` for the whole batch at once, within 1 of 255: [n, C, size, size] `channels_last`.

    images: [B, C, R, R] uint8; axes: [n, 2 * AXIS_NUMBERS] float32 on their device, n being a multiple of B: an image's
    views are side by side.
    """
    by_axis = axes.unflatten(1, (2, AXIS_NUMBERS)).transpose(0, 1).contiguous()  # [2, n, AXIS_NUMBERS]
    rows, columns = build_resampling_matrices(by_axis, images.shape[2], size)
    # A sum of weights can exceed 1 by the last bit, and later steps need 0..1.
    return multiply_both_axes(images / 255, rows, columns).clamp_(0, 1)


def build_resampling_matrices(axes: Tensor, storage_size: int, size: int) -> Tensor:
    """Build weights [2, n, size, storage_size] that resample the pixels of each axis' box to `size` pixels.

    axes: [2, n, AXIS_NUMBERS]. A triangle filter as wide as an output pixel, never narrower than an input pixel;
    nothing outside the box counts.
    """
    start, end, unit, first, step = axes.split(1, dim=2)  # [2, n, 1] each
    places = torch.arange(max(storage_size, size), device=axes.device, dtype=axes.dtype)
    pixels, targets = places[:storage_size], places[:size]
    outside = pixels.clamp(start, end) != pixels  # [2, n, R]
    centres = (pixels * unit).masked_fill_(outside, torch.inf)  # [2, n, R]
    wanted = torch.addcmul(first, step, targets)  # [2, n, S]
    distances = (centres[:, :, None] - wanted[..., None]).abs_()  # [2, n, S, R]
    weights = torch.rsub(distances, 1).clamp_(min=0)
    return weights.div_(weights.sum(dim=3, keepdim=True))
