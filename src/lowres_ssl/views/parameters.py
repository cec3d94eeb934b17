"""What is done to each image of a batch, as plain arrays: sampled here, applied elsewhere. Sees sizes, never pixels.

The distributions are those of torchvision's RandomResizedCrop, ColorJitter and their kin.
"""

from dataclasses import dataclass
from enum import IntEnum
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
CROP_ATTEMPTS = 10


class Operation(IntEnum):
    """The colour jitter's four operations, as `ViewParameters.order` names them."""

    BRIGHTNESS = 0
    CONTRAST = 1
    SATURATION = 2
    HUE = 3


ORDERS = np.array(list(permutations(Operation)), dtype=np.int64)  # [24, 4]


class Draw(IntEnum):
    """Which row of `draws.uniforms` decides what. To renumber them is to change every view of every run."""

    TOP = 0
    LEFT = 1
    HORIZONTAL_FLIP = 2
    VERTICAL_FLIP = 3
    QUARTER_TURNS = 4
    ANGLE = 5
    JITTER = 6
    ORDER = 7
    BRIGHTNESS = 8
    CONTRAST = 9
    SATURATION = 10
    HUE = 11
    GREY = 12
    BLUR = 13
    SIGMA = 14
    SOLARISE = 15
    AREA = 16  # one row an attempt
    RATIO = AREA + CROP_ATTEMPTS  # one row an attempt
    COUNT = RATIO + CROP_ATTEMPTS


@dataclass(frozen=True)
class ViewParameters:
    """One row an image, B rows in each array.

    boxes: [B, 4] int64, the crop as (top, left, height, width) in pixels of the original image
    horizontal_flip, vertical_flip: [B] bool
    quarter_turns: [B] int64, 0 to 3, counter-clockwise
    angle: [B] float64, degrees counter-clockwise
    jitter: [B] bool, and where it is true, in the `order` ([B, 4] int64) of `Operation`s, the factors
    brightness, contrast, saturation (1 changes nothing) and hue (in turns, 0 changes nothing): [B] float64
    grey, blur, solarise: [B] bool; sigma: [B] float64, of the blur, in pixels of the view
    """

    boxes: NDArray[np.int64]
    horizontal_flip: NDArray[np.bool_]
    vertical_flip: NDArray[np.bool_]
    quarter_turns: NDArray[np.int64]
    angle: Array
    jitter: NDArray[np.bool_]
    order: NDArray[np.int64]
    brightness: Array
    contrast: Array
    saturation: Array
    hue: Array
    grey: NDArray[np.bool_]
    blur: NDArray[np.bool_]
    sigma: Array
    solarise: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.boxes)

    def flips(self) -> NDArray[np.bool_]:
        """[B, 2]: flips of top and bottom and of left and right that come, with rows becoming columns after them where
        the number of quarter turns is odd, to the flips and the quarter turns."""
        top_and_bottom = self.vertical_flip ^ (self.quarter_turns >= 2)
        left_and_right = self.horizontal_flip ^ ((self.quarter_turns == 1) | (self.quarter_turns == 2))
        return np.stack([top_and_bottom, left_and_right], axis=1)


def sample_boxes(
    draws: Array, sizes: NDArray[np.int64], *, scale: tuple[float, float], ratio: tuple[float, float]
) -> NDArray[np.int64]:
    """Random boxes as torchvision's RandomResizedCrop draws them: [B, 4] (top, left, height, width) in pixels.

    Up to ten times an area (a uniform share of the image's, within `scale`) and an aspect ratio (width over height,
    log-uniform within `ratio`); the first box that fits stands at a uniform place; where none fits, the largest central
    box with an allowed ratio.

    draws: [Draw.COUNT, B] uniform; sizes: [B, 2] (height, width) of the originals.
    """
    height, width = sizes[:, 0], sizes[:, 1]  # [B]
    areas = height * width * between(draws[Draw.AREA : Draw.AREA + CROP_ATTEMPTS], *scale)  # [attempts, B]
    ratios = np.exp(between(draws[Draw.RATIO : Draw.RATIO + CROP_ATTEMPTS], *np.log(ratio)))
    heights = np.rint(np.sqrt(areas / ratios)).astype(np.int64)
    widths = np.rint(np.sqrt(areas * ratios)).astype(np.int64)
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    first, images = fits.argmax(axis=0), np.arange(len(sizes))
    box_height, box_width = heights[first, images], widths[first, images]

    none_fits = ~fits.any(axis=0)
    own_ratio = width / height
    too_narrow, too_wide = own_ratio < ratio[0], own_ratio > ratio[1]
    central_height = np.where(too_narrow, np.rint(width / ratio[0]), height).astype(np.int64)
    central_width = np.where(too_wide, np.rint(height * ratio[1]), width).astype(np.int64)
    box_height = np.where(none_fits, central_height, box_height)
    box_width = np.where(none_fits, central_width, box_width)

    free_rows, free_columns = height - box_height, width - box_width
    top = np.where(none_fits, free_rows // 2, whole(draws[Draw.TOP], free_rows + 1))
    left = np.where(none_fits, free_columns // 2, whole(draws[Draw.LEFT], free_columns + 1))
    return np.stack([top, left, box_height, box_width], axis=1)


def between(draws: Array, low: float, high: float) -> Array:
    """Uniform on [low, high)."""
    return low + (high - low) * draws


def factors(draws: Array, strength: float) -> Array:
    """A jitter factor around 1, as ColorJitter draws it: uniform on [max(0, 1 - strength), 1 + strength]."""
    return between(draws, max(0.0, 1.0 - strength), 1.0 + strength)


def whole(draws: Array, count: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Uniform on the whole numbers 0 to count - 1."""
    return (draws * count).astype(np.int64)
