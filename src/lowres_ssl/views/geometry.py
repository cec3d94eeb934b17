"""Turning square images, [B, C, S, S] float; flips are made with the crop."""

import torch
import torch.nn.functional as F
from torch import Tensor

PADDINGS = ("zeros", "reflection")


def transpose(images: Tensor) -> Tensor:
    """Rows become columns."""
    return images.mT


def rotate(images: Tensor, direction: Tensor, padding: str) -> Tensor:
    """Each image about its centre by its own angle, bilinear, size kept.

    direction: [B, 2], the cosine and the sine of the angle, which is counter-clockwise; padding: what comes in at the
    corners, "zeros" (black) or "reflection" (the image mirrored at its edge).
    """
    cosine, sine = direction.unbind(1)  # [B] each
    zero = torch.zeros_like(cosine)
    # Maps a place in the view to the place in the image that it is taken from, y pointing down.
    inverse = torch.stack([cosine, -sine, zero, sine, cosine, zero], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(inverse, list(images.shape), align_corners=False)  # [B, S, S, 2]
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)
