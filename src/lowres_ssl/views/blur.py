"""Gaussian blur with a width of its own for each image."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.views.rows import column, to_device

# Beyond 3.5 sigma lie 0.05% of a Gaussian: an eighth of one level of 255 at the most.
WIDTHS = 3.5


def kernel_size(image_size: int, fraction: float) -> int:
    """The odd number nearest to fraction * image_size, at least 3."""
    return max(3, 2 * int(fraction * image_size / 2) + 1)


def gaussian_blur(images: Tensor, sigma: NDArray[np.float64], size: int) -> Tensor:
    """What `torchvision.transforms.v2.functional.gaussian_blur` computes, image by image: [B, C, S, S] float.

    images: [B, C, S, S] float; sigma: [B] standard deviations, in pixels; size: the full kernel's odd width, in pixels,
    less than 2 * S. The edge is mirrored without being repeated. Weights too small to show are left out.
    """
    radius = np.minimum(size // 2, np.ceil(WIDTHS * sigma)).astype(np.int64)  # [B]
    order = np.argsort(
        -radius, kind="stable"
    )  # the widest first: each further tap then belongs to the first few images
    radius, sigma = radius[order], sigma[order]
    taps = np.arange(radius[0] + 1)[:, None]  # [T, 1], the distance from the centre
    weights = np.exp(-0.5 * (taps / sigma) ** 2) * (taps <= radius)  # [T, B]
    weights /= weights[0] + 2 * weights[1:].sum(axis=0)
    reach = [int((radius >= tap).sum()) for tap in range(len(taps))]  # how many images have this tap

    index = to_device(order, images.device)
    blurred = images.index_select(0, index)
    for dimension in (2, 3):
        blurred = convolve(blurred, [column(row, images) for row in weights], reach, dimension)
    return torch.empty_like(images).index_copy_(0, index, blurred)


def convolve(images: Tensor, weights: list[Tensor], reach: list[int], dimension: int) -> Tensor:
    """A symmetric kernel along one dimension; weights[d] holds the weight at distance d from the centre, [B, 1, 1, 1].

    Sums of shifted images: on a CPU several times faster than a grouped convolution or a matrix product.
    """
    length, radius = images.shape[dimension], len(weights) - 1
    margin = (0, 0, radius, radius) if dimension == 2 else (radius, radius, 0, 0)
    padded = F.pad(images, margin, mode="reflect")
    total = images.mul_(weights[0])
    scratch = torch.empty_like(images)  # fresh memory for each tap would take longer than the arithmetic
    for tap in range(1, radius + 1):
        wide, pair = padded[: reach[tap]], scratch[: reach[tap]]
        torch.add(wide.narrow(dimension, radius - tap, length), wide.narrow(dimension, radius + tap, length), out=pair)
        total[: reach[tap]].addcmul_(pair, weights[tap][: reach[tap]])
    return total
