"""Linear maps along the two axes of images, as batched matrix products."""

import torch
from torch import Tensor


def along_both_axes(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Compute `rows @ image @ columns.T` for each image and channel: [n, C, S, S] `channels_last`.

    images: [B, C, R, R] float, contiguous; rows, columns: [n, S, R], n being a multiple of B, whose images have as many
    maps side by side. Both products take and give memory as it lies, so that nothing is copied in between.
    """
    count, channels, side, _ = images.shape
    maps, size, _ = rows.shape
    pixels = images.reshape(count, channels * side, side)  # channel, row | column
    narrow = torch.bmm(columns.view(count, -1, side), pixels.mT)  # [B, (n / B) S, C R]: column | channel, row
    views = torch.bmm(rows, narrow.view(maps, size * channels, side).mT)  # [n, S, S C]: row | column, channel
    return views.view(maps, size, size, channels).permute(0, 3, 1, 2)
