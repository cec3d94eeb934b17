"""Gaussian blur with a width of its own for each image.

Two ways with one result: as sums of shifted images, only as many as each image's kernel is wide, which is the faster on
a CPU; or as a matrix product along each axis, whose shapes don't depend on the widths.
"""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.augment.crop import multiply_both_axes

# Beyond 3.5 sigma lie 0.05% of a Gaussian: an eighth of one level of 255 at the most.
KERNEL_WIDTHS = 3.5


def compute_kernel_size(image_size: int, fraction: float) -> int:
    """The odd number nearest to fraction * image_size, at least 3."""
    return max(3, 2 * int(fraction * image_size / 2) + 1)


def compute_kernels(sigma: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Compute half of each Gaussian kernel: [B, T], the weights at the distances 0 to T - 1 from the centre.

    sigma: [B] standard deviations, in pixels; size: the full kernel's odd width, in pixels. T is size // 2 + 2: the
    last weight is 0, that of everything further away. Weights too small to show are 0 as well.
    """
    radius = np.minimum(size // 2, np.ceil(KERNEL_WIDTHS * sigma))[:, None]  # [B, 1]
    distances = np.arange(size // 2 + 2)  # [T]
    weights = np.exp(-0.5 * (distances / sigma[:, None]) ** 2) * (distances <= radius)
    halves: NDArray[np.float64] = weights / (weights[:, :1] + 2 * weights[:, 1:].sum(axis=1, keepdims=True))
    return halves


def blur_by_shifts(images: Tensor, weights: Tensor) -> Tensor:
    """What `torchvision.transforms.v2.functional.gaussian_blur` computes, image by image: [B, C, S, S] float.

    images: [B, C, S, S] float; weights: [B, T] of `kernels`, whose full width is less than 2 S. The edge is mirrored
    without being repeated.
    """
    radius = (weights > 0).sum(dim=1) - 1  # [B]
    # The widest first: each further distance then belongs to the first few images.
    order = radius.argsort(descending=True, stable=True)
    radius, weights = radius[order], weights[order]
    reach = [int((radius >= distance).sum()) for distance in range(int(radius[0]) + 1)]  # how many images have it
    blurred = images.index_select(0, order)
    for dimension in (2, 3):
        blurred = convolve(blurred, weights, reach, dimension)
    return torch.empty_like(images).index_copy_(0, order, blurred)


def convolve(images: Tensor, weights: Tensor, reach: list[int], dimension: int) -> Tensor:
    """Convolve along one dimension with symmetric kernels, and overwrite `images`; weights: [B, T].

    Sums of shifted images: on a CPU several times faster than a grouped convolution or a matrix product.
    """
    length, radius = images.shape[dimension], len(reach) - 1
    margin = (0, 0, radius, radius) if dimension == 2 else (radius, radius, 0, 0)
    padded = F.pad(images, margin, mode="reflect")
    by_distance = weights[:, :, None, None, None].unbind(1)  # [B, 1, 1, 1] each
    total = images.mul_(by_distance[0])
    scratch = torch.empty_like(images)  # fresh memory for each shift would take longer than the arithmetic
    for distance in range(1, radius + 1):
        wide, pair = padded[: reach[distance]], scratch[: reach[distance]]
        before = wide.narrow(dimension, radius - distance, length)
        after = wide.narrow(dimension, radius + distance, length)
        total[: reach[distance]].addcmul_(torch.add(before, after, out=pair), by_distance[distance][: reach[distance]])
    return total


def compute_mirrored_distances(size: int, taps: int) -> Tensor:
    """How far output pixel i is from input pixel j, and from its mirror images beyond both edges: [3, S, S] int64.

    taps: how many weights a kernel has, T. T - 1 stands for anything too far for it, and for no mirror image.
    """
    place = torch.arange(size)
    direct = (place[:, None] - place).abs()
    before, after = place[:, None] + place, 2 * (size - 1) - place[:, None] - place
    before[:, :1] = after[:, -1:] = taps  # the edge itself is not repeated
    return torch.stack([direct, before, after]).clamp(max=taps - 1)


def blur_by_matrices(images: Tensor, weights: Tensor, distances: Tensor) -> Tensor:
    """`blur_by_shifts` as matrix products for all images at once: [B, C, S, S] `channels_last`.

    distances: `mirrored_distances(S, T)` on the images' device.
    """
    kernel = weights[:, distances].sum(dim=1)  # [B, S, S]
    return multiply_both_axes(images, kernel, kernel)
