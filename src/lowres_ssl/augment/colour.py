"""Colour operations on [B, C, S, S] float images in 0..1, C being 3 (red, green, blue) or 1 (grey).

They compute what `torchvision.transforms.v2.functional` computes on float images, with each image's own numbers, and
leave the images they are given as they are.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LUMA_WEIGHTS = (0.2989, 0.587, 0.114)  # ITU-R 601-2, with the digits of torchvision's rgb_to_grayscale


def mix(images: Tensor, matrix: Tensor) -> Tensor:
    """Mix the channels of each image by a matrix of its own, [B, C, C]."""
    return product(matrix, images.flatten(2)).view(images.shape)


def product(matrices: Tensor, others: Tensor) -> Tensor:
    """[B, m, C] times [B, C, n]. Of one channel by hand: on a GPU, PyTorch 2.14 compiles a kernel for that `bmm`, which
    fails on a machine without a C compiler."""
    return matrices * others if matrices.shape[2] == 1 else torch.bmm(matrices, others)


def blend(images: Tensor, numbers: Tensor) -> Tensor:
    """Mix the channels, add something of the image's mean colour, and clamp to 0..1.

    Three of the jitter's operations in one, so that a batch needs no sorting by operation. numbers: [B, C + 1, C] from
    `blend_numbers`.
    """
    mean = images.mean(dim=(2, 3))[:, :, None]  # [B, C, 1]
    shift = product(numbers[:, -1:], mean)[:, :, :, None]  # [B, 1, 1, 1]
    return mix(images, numbers[:, :-1]).add_(shift).clamp_(0, 1)


def compute_blend_numbers(
    factor: NDArray[np.float64], mean_weight: NDArray[np.float64], luma_weight: NDArray[np.float64], channels: int
) -> NDArray[np.float64]:
    """Compute what `blend` takes for factor * image + mean_weight * its mean luma + luma_weight * each pixel's luma.

    Brightness has both weights 0 (a blend with black), contrast a mean_weight of 1 - factor, saturation a luma_weight
    of 1 - factor. Each is [...]; the result [..., C + 1, C] holds the matrix that mixes the channels, and under it the
    weights of their means. A grey image is its own luma.
    """
    luma = np.array([LUMA_WEIGHTS if channels == 3 else (1.0,)])  # [1, C]
    matrix = factor[..., None, None] * np.eye(channels) + luma_weight[..., None, None] * luma
    numbers: NDArray[np.float64] = np.concatenate([matrix, mean_weight[..., None, None] * luma], axis=-2)
    return numbers


def compute_hue_offsets(shift: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute what `turn_hue` adds to a pixel's hue for each primary, red, green and blue: [B, 3], all positive.

    shift: [B], by how many turns the hue is turned, -0.5 to 0.5; from red to green is a third. Half a turn is added,
    and whole turns to keep the sum positive: how far its fraction is from a half is then the shorter way round.
    """
    offsets: NDArray[np.float64] = shift[:, None] + 2.5 - np.array([0.0, 1 / 3, 2 / 3])
    return offsets


def turn_hue(images: Tensor, offsets: Tensor) -> Tensor:
    """Turn the hue of HSV, of colour images; offsets: [B, 3] from `hue_offsets`.

    HSV without its six cases. Let lowest and chroma be a pixel's smallest value and its range. How far its hue lies
    from red, in sixths of a turn, is 1 + (green + blue - red - lowest) / chroma whichever channel is the largest, and
    it lies on green's side where green >= blue. Back again, a channel is lowest + chroma * clamp(2 - d, 0, 1), d being
    how far the hue lies from that channel's primary.
    """
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    lowest = images.amin(dim=1, keepdim=True)
    chroma = images.amax(dim=1, keepdim=True).sub_(lowest)
    distance = (green + blue).sub_(red).sub_(lowest).div_(chroma.clamp(min=1e-7)).add_(1)
    hue = distance.copysign_(green - blue)  # [B, 1, S, S], -3 to 3 sixths of a turn
    turned = torch.add(offsets[:, :, None, None], hue, alpha=1 / 6)  # [B, 3, S, S], in turns
    away = turned.frac_().sub_(0.5).abs_()  # from each primary, 0 to 0.5
    return away.mul_(-6).add_(2).clamp_(0, 1).mul_(chroma).add_(lowest)


def solarise(images: Tensor, threshold: int) -> Tensor:
    """Values of at least `threshold` (of 255) turned into their negative."""
    # Half a level lower, so that a value counts as the level that it would be stored as.
    return torch.where(images >= (threshold - 0.5) / 255, 1 - images, images)
