"""Colour operations on [B, C, S, S] float images in 0..1, C being 3 (red, green, blue) or 1 (grey).

They compute what `torchvision.transforms.v2.functional` computes on float images, with each image's own factors
([B, 1, 1, 1]). Each may overwrite the images it is given: fresh memory costs more than arithmetic.
"""

import torch
from torch import Tensor

LUMA = (0.2989, 0.587, 0.114)  # ITU-R 601-2, with the digits of torchvision's rgb_to_grayscale


def luma(images: Tensor) -> Tensor:
    """How bright each pixel looks: [B, 1, S, S]. A grey image is its own luma."""
    if images.shape[1] == 1:
        return images
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    return red.mul(LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def blend(images: Tensor, factor: Tensor, mean_weight: Tensor, luma_weight: Tensor) -> Tensor:
    """factor * images + mean_weight * the image's mean luma + luma_weight * each pixel's luma, clamped to 0..1.

    Three of the jitter's operations in one, so that a batch needs no sorting by operation: brightness has both weights
    0 (a blend with black), contrast a mean_weight of 1 - factor, saturation a luma_weight of 1 - factor.
    """
    other = luma(images)  # [B, 1, S, S]
    mean = other.mean(dim=(2, 3), keepdim=True)
    other = other.mul(luma_weight).add_(mean.mul_(mean_weight))
    return images.mul_(factor).add_(other).clamp_(0, 1)


def adjust_hue(images: Tensor, shift: Tensor) -> Tensor:
    """The hue of HSV turned by `shift` turns (-0.5 to 0.5; red to green is a third). Colour images only.

    HSV without its six cases. Let lowest and chroma be a pixel's smallest value and its range. How far its hue lies
    from red, in sixths of a turn, is 1 + (green + blue - red - lowest) / chroma whichever channel is the largest, and
    it lies on green's side where green >= blue. Back again, a channel is lowest + chroma * clamp(2 - d, 0, 1), d being
    how far the hue lies from that channel's primary.
    """
    red, green, blue = images[:, 0:1], images[:, 1:2], images[:, 2:3]
    lowest = images.amin(dim=1, keepdim=True)
    chroma = images.amax(dim=1, keepdim=True).sub_(lowest)
    distance = (green + blue).sub_(red).sub_(lowest).div_(chroma.clamp(min=1e-7)).add_(1).div_(6)  # in turns, 0 to 0.5
    hue = distance.copysign_(green - blue)  # [B, 1, S, S], -0.5 to 0.5
    primaries = torch.tensor([0.0, 1 / 3, 2 / 3], dtype=images.dtype).to(images.device, non_blocking=True)
    # Half a turn is added, and whole turns to keep it positive: how far the fraction is from a half is then the shorter
    # way round.
    offset = torch.add(hue, shift + 2.5 - primaries[:, None, None], out=images)  # [B, 3, S, S]
    away = offset.frac_().sub_(0.5).abs_()  # from each primary, 0 to 0.5 turns
    return away.mul_(-6).add_(2).clamp_(0, 1).mul_(chroma).add_(lowest)


def to_grey(images: Tensor) -> Tensor:
    """Colour images without colour; three equal channels."""
    return images.copy_(luma(images))


def solarise(images: Tensor, threshold: int) -> Tensor:
    """Values of at least `threshold` (of 255) turned into their negative."""
    # Half a level lower, so that a value counts as the level that it would be stored as.
    return torch.where(images >= (threshold - 0.5) / 255, 1 - images, images)
