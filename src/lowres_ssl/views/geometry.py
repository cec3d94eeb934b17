"""Flips and rotations of square images, [B, C, S, S] float."""

import torch
import torch.nn.functional as F
from torch import Tensor

PADDINGS = ("zeros", "reflection")


def flip_horizontally(images: Tensor) -> Tensor:
    """Left and right change places."""
    return images.flip(3)


def flip_vertically(images: Tensor) -> Tensor:
    """Top and bottom change places."""
    return images.flip(2)


def turn(images: Tensor, quarters: int) -> Tensor:
    """Exact rotation by `quarters` times 90 degrees, counter-clockwise."""
    return torch.rot90(images, quarters, dims=(2, 3))


def rotate(images: Tensor, angle: Tensor, padding: str) -> Tensor:
    """Each image about its centre by its own angle, bilinear, size kept.

    angle: [B, 1, 1, 1], degrees counter-clockwise; padding: what comes in at the corners, "zeros" (black) or
    "reflection" (the image mirrored at its edge).
    """
    radians = torch.deg2rad(angle.flatten())  # [B]
    cosine, sine, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    # Maps a place in the view to the place in the image that it is taken from, y pointing down.
    inverse = torch.stack([cosine, -sine, zero, sine, cosine, zero], dim=1).view(-1, 2, 3)
    grid = F.affine_grid(inverse, list(images.shape), align_corners=False)  # [B, S, S, 2]
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)
