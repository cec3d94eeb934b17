"""Compute the steps of a view on [B, C, S, S] float images in 0..1, C being 3 (red, green, blue) or 1 (grey).

They compute what `torchvision.transforms.v2.functional` computes on float images, with each image's own numbers, and
leave their input unchanged; stains are not in torchvision. A blur is computed in two ways with one result: as sums of
shifted images, only as many as each image's kernel is wide, which is the faster on a CPU; or as a matrix product along
each axis, whose shapes do not depend on the widths.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from lowres_ssl.augment.crop import multiply_both_axes
from lowres_ssl.augment.sampling import CONTROL_POINTS, FloatArray

LUMA_WEIGHTS = (0.2989, 0.587, 0.114)  # ITU-R 601-2, with the digits of torchvision's rgb_to_grayscale
PADDING_CHOICES = ("zeros", "reflection")
# Red, green and blue of the optical density of haematoxylin, eosin and DAB: Ruifrok and Johnston, 2001.
STAIN_COLOURS = ((0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78))
# Beyond 3.5 sigma lie 0.05% of a Gaussian: an eighth of one level of 255 at the most.
KERNEL_WIDTHS = 3.5


def transpose(images: Tensor) -> Tensor:
    """Swap rows and columns."""
    return images.mT


def rotate(images: Tensor, direction: Tensor, padding: str) -> Tensor:
    """Rotate each image about its centre by its own angle, bilinear, size unchanged.

    direction: [B, 2], the cosine and the sine of the angle, which is counter-clockwise; padding: what fills the
    corners, "zeros" (black) or "reflection" (the image mirrored at its edge).
    """
    cosine, sine = direction.unbind(1)  # [B] each
    zero = torch.zeros_like(cosine)
    # Maps a position in the view to its position in the image, y pointing down.
    inverse = torch.stack([cosine, -sine, zero, sine, cosine, zero], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(inverse, list(images.shape), align_corners=False)  # [B, S, S, 2]
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def deform(images: Tensor, displacements: Tensor, curves: Tensor, centres: Tensor) -> Tensor:
    """Deform each image by a smooth field of displacements of its own, bilinear, mirrored at the edge.

    Simard, Steinkraus and Platt, Best Practices for Convolutional Neural Networks, ICDAR 2003; but where they smooth
    a random field of every pixel, this one is interpolated from a few control points, as smooth at any size. Each pixel
    of the result is taken from its own place plus the displacement there. displacements: [B, 2, 4, 4], right and down,
    in half sides; curves, centres: `compute_deformation_basis(S)` on the images' device.
    """
    each = curves.expand(len(images), -1, -1)
    field = multiply_both_axes(displacements, each, each).permute(0, 2, 3, 1)  # [B, S, S, 2]
    return F.grid_sample(images, centres + field, mode="bilinear", padding_mode="reflection", align_corners=False)


def compute_deformation_basis(size: int) -> tuple[Tensor, Tensor]:
    """Compute what `deform` needs of a view of `size` pixels a side, in the coordinates of `grid_sample`.

    The weights of 4 control points in each pixel along an axis, [S, 4]: bicubic interpolation, the first and the last
    point being the centres of the first and the last pixel. The centres of the pixels, (x, y), -1 to 1: [S, S, 2].
    """
    points = torch.eye(CONTROL_POINTS)[:, None, :, None]  # [4, 1, 4, 1]
    curves = F.interpolate(points, size=(size, 1), mode="bicubic", align_corners=True)[:, 0, :, 0].T.contiguous()
    centre = (2 * torch.arange(size) + 1) / size - 1
    return curves, torch.stack([centre.expand(size, size), centre[:, None].expand(size, size)], dim=2)


def deform_images(images: Tensor, displacements: Tensor) -> Tensor:
    """Compute `deform` where nobody keeps the basis."""
    return deform(images, displacements, *compute_deformation_basis(images.shape[2]))


def jitter_stains(images: Tensor, numbers: Tensor) -> Tensor:
    """Change how much of each stain is in each pixel of colour images; numbers: [B, 3, 4] of `compute_stain_numbers`.

    Tellez et al., Whole-Slide Mitosis Detection, 2018 (arXiv 1808.07380): the optical density of a pixel is unmixed
    into haematoxylin, eosin and DAB (Ruifrok and Johnston, Quantification of Histochemical Staining, 2001), each
    concentration c becomes factor * c + shift, and the three are mixed again. All of it is linear in the density, so it
    is one product. Deviations: their shift is in the units of scikit-image's stains of 2018, ours in optical density;
    what is darker than a level of 255 is unmixed as that level and then scaled, so that black stays black.
    """
    pixels = images.flatten(2)  # [B, 3, S S]
    change = torch.baddbmm(numbers[:, :, 3:], numbers[:, :, :3], pixels.clamp(min=1 / 255).log_())
    return change.exp_().mul_(pixels).clamp_(max=1).view(images.shape)


def compute_stain_numbers(factors: FloatArray, shifts: FloatArray) -> FloatArray:
    """Compute what `jitter_stains` takes: [B, 3, 4], how the logarithm of a colour (red, green, blue) changes: a matrix
    by which it is multiplied, and after it what is added.

    factors, shifts: [B, 3], of the concentrations of haematoxylin, eosin and DAB, in optical density (base 10).
    """
    stains = np.array(STAIN_COLOURS)
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)  # [3, 3], a stain a row
    matrix = stains.T @ ((factors - 1)[:, :, None] * np.linalg.inv(stains.T))
    return np.concatenate([matrix, -np.log(10) * (shifts @ stains)[:, :, None]], axis=2)


def apply_gamma(images: Tensor, exponent: Tensor) -> Tensor:
    """Raise the values in 0..1 to a power; exponent: [B, 1]."""
    return images.pow(exponent[:, :, None, None])


def mix(images: Tensor, matrix: Tensor) -> Tensor:
    """Mix the channels of each image by a matrix of its own, [B, C, C]."""
    return product(matrix, images.flatten(2)).view(images.shape)


def product(matrices: Tensor, others: Tensor) -> Tensor:
    """Multiply [B, m, C] by [B, C, n]; one channel without `bmm`: on a GPU, PyTorch 2.14 compiles a kernel for it,
    which fails on a machine without a C compiler."""
    return matrices * others if matrices.shape[2] == 1 else torch.bmm(matrices, others)


def blend(images: Tensor, numbers: Tensor) -> Tensor:
    """Mix the channels, add something of the image's mean colour, and clamp to 0..1.

    Three of the jitter's operations in one, so that a batch needs no sorting by operation. numbers: [B, C + 1, C] from
    `compute_blend_numbers`.
    """
    mean = images.mean(dim=(2, 3))[:, :, None]  # [B, C, 1]
    shift = product(numbers[:, -1:], mean)[:, :, :, None]  # [B, 1, 1, 1]
    return mix(images, numbers[:, :-1]).add_(shift).clamp_(0, 1)


def compute_blend_numbers(
    factor: FloatArray, mean_weight: FloatArray, luma_weight: FloatArray, channels: int
) -> FloatArray:
    """Compute what `blend` takes for factor * image + mean_weight * its mean luma + luma_weight * each pixel's luma.

    Brightness has both weights 0 (a blend with black), contrast a mean_weight of 1 - factor, saturation a luma_weight
    of 1 - factor. Each is [...]; the result [..., C + 1, C] holds the matrix that mixes the channels, and under it the
    weights of their means. A grey image is its own luma.
    """
    luma = np.array([LUMA_WEIGHTS if channels == 3 else (1.0,)])  # [1, C]
    matrix = factor[..., None, None] * np.eye(channels) + luma_weight[..., None, None] * luma
    return np.concatenate([matrix, mean_weight[..., None, None] * luma], axis=-2)


def compute_hue_offsets(shift: FloatArray) -> FloatArray:
    """Compute what `turn_hue` adds to a pixel's hue for each primary, red, green and blue: [B, 3], all positive.

    shift: [B], by how many turns the hue is turned, -0.5 to 0.5; from red to green is a third. Half a turn is added,
    and whole turns to keep the sum positive: how far its fraction is from a half is then the shorter way round.
    """
    return np.asarray(shift[:, None] + 2.5 - np.array([0.0, 1 / 3, 2 / 3]))


def turn_hue(images: Tensor, offsets: Tensor) -> Tensor:
    """Turn the hue of HSV, of colour images; offsets: [B, 3] from `compute_hue_offsets`.

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
    """Replace values of at least `threshold` (of 255) by their negative."""
    # Half a level lower, so that a value counts as the level that it would be stored as.
    return torch.where(images >= (threshold - 0.5) / 255, 1 - images, images)


def compute_kernel_size(image_size: int, fraction: float) -> int:
    """Compute the odd number nearest to fraction * image_size, at least 3."""
    return max(3, 2 * int(fraction * image_size / 2) + 1)


def compute_kernels(sigma: FloatArray, size: int) -> FloatArray:
    """Compute half of each Gaussian kernel: [B, T], the weights at the distances 0 to T - 1 from the centre.

    sigma: [B] standard deviations, in pixels; size: the full kernel's odd width, in pixels. T is size // 2 + 2: the
    last weight is 0, that of everything further away. Weights too small to show are 0 as well.
    """
    radius = np.minimum(size // 2, np.ceil(KERNEL_WIDTHS * sigma))[:, None]  # [B, 1]
    distances = np.arange(size // 2 + 2)  # [T]
    weights = np.exp(-0.5 * (distances / sigma[:, None]) ** 2) * (distances <= radius)
    return np.asarray(weights / (weights[:, :1] + 2 * weights[:, 1:].sum(axis=1, keepdims=True)))


def blur_by_shifts(images: Tensor, weights: Tensor) -> Tensor:
    """Compute `torchvision.transforms.v2.functional.gaussian_blur` image by image: [B, C, S, S] float.

    images: [B, C, S, S] float; weights: [B, T] of `compute_kernels`, whose full width is less than 2 S. The edge
    is mirrored without being repeated.
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
    """Compute the distance of output pixel i from input pixel j, and from its mirror images: [3, S, S] int64.

    taps: how many weights a kernel has, T. T - 1 marks what is too far for it, and no mirror image.
    """
    place = torch.arange(size)
    direct = (place[:, None] - place).abs()
    before, after = place[:, None] + place, 2 * (size - 1) - place[:, None] - place
    before[:, :1] = after[:, -1:] = taps  # the edge itself is not repeated
    return torch.stack([direct, before, after]).clamp(max=taps - 1)


def blur_by_matrices(images: Tensor, weights: Tensor, distances: Tensor) -> Tensor:
    """Compute `blur_by_shifts` as matrix products for all images at once: [B, C, S, S] `channels_last`.

    distances: `compute_mirrored_distances(S, T)` on the images' device.
    """
    kernel = weights[:, distances].sum(dim=1)  # [B, S, S]
    return multiply_both_axes(images, kernel, kernel)
