"""Sample the parameters of each image's views as plain arrays, from sizes alone, never from pixels.

The distributions are those of torchvision's RandomResizedCrop, ColorJitter and their kin.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

# Constants of splitmix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
GOLDEN_GAMMA = np.uint64(0x9E3779B97F4A7C15)
FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
SECOND_FACTOR = np.uint64(0x94D049BB133111EB)


def hash_image_ids(ids: Sequence[str]) -> NDArray[np.uint64]:
    """Hash each record id to 64 bits (BLAKE2b, little-endian), the same on every platform: [N] uint64."""
    digests = b"".join(hashlib.blake2b(record.encode(), digest_size=8).digest() for record in ids)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def draw_uniforms(*, seed: int, epoch: int, view: int, keys: NDArray[np.uint64], count: int) -> NDArray[np.float64]:
    """Draw `count` independent numbers for each of B images, uniform on [0, 1): [count, B] float64.

    `seed`, `epoch` and `view` are whole numbers from 0 to 2**64 - 1; `keys` is [B] uint64 from `hash_image_ids`.
    """
    state = np.zeros(1, dtype=np.uint64)  # an array, since numpy warns when a scalar wraps around
    for word in (seed, epoch, view):
        state = scramble((state ^ np.uint64(word)) + GOLDEN_GAMMA)
    start = scramble((state ^ keys) + GOLDEN_GAMMA)  # [B]
    counters = np.arange(1, count + 1, dtype=np.uint64)[:, None]  # [count, 1]
    bits = scramble(start + counters * GOLDEN_GAMMA)  # [count, B]
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53  # the upper 53 bits: every float64 multiple of 2**-53


def scramble(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Apply splitmix64's output function: a bijection of 64-bit words; each input bit changes every output bit."""
    words = (words ^ (words >> np.uint64(30))) * FIRST_FACTOR
    words = (words ^ (words >> np.uint64(27))) * SECOND_FACTOR
    return words ^ (words >> np.uint64(31))


FloatArray = NDArray[np.float64]
CROP_ATTEMPTS = 10
STAINS = 3  # haematoxylin, eosin, DAB
CONTROL_POINTS = 4  # of an elastic deformation, a side


class JitterOperation(IntEnum):
    """Name the colour jitter's four operations, as in `AugmentationParameters.order`."""

    BRIGHTNESS = 0
    CONTRAST = 1
    SATURATION = 2
    HUE = 3


JITTER_ORDERS = np.array(list(permutations(JitterOperation)), dtype=np.int64)  # [24, 4]


class DrawRow(IntEnum):
    """Name the rows of `draw_uniforms`. To renumber them is to change every view of every run; new ones come last."""

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
    GAMMA = RATIO + CROP_ATTEMPTS  # from here on: steps that no recipe takes
    EXPONENT = GAMMA + 1
    STAIN = EXPONENT + 1
    STAIN_FACTOR = STAIN + 1  # one row a stain
    STAIN_SHIFT = STAIN_FACTOR + STAINS  # one row a stain
    ELASTIC = STAIN_SHIFT + STAINS
    DISPLACEMENT = ELASTIC + 1  # one row a direction and control point
    COUNT = DISPLACEMENT + 2 * CONTROL_POINTS**2


@dataclass(frozen=True)
class ViewKind:
    """A kind of view: `size` times as many pixels a side as the others, cropped from `crop_scale` of the image's area,
    from and to; None: as configured."""

    size: float = 1.0
    crop_scale: tuple[float, float] | None = None


FULL_VIEW = ViewKind()


@dataclass(frozen=True)
class AugmentationParameters:
    """Hold the parameters of B views, one row a view in each array.

    boxes: [B, 4] int64, the crop as (top, left, height, width) in pixels of the original image
    horizontal_flip, vertical_flip: [B] bool
    quarter_turns: [B] int64, 0 to 3, counter-clockwise
    angle: [B] float64, degrees counter-clockwise
    jitter: [B] bool, and where it is true, in the `order` ([B, 4] int64) of `JitterOperation`s, the factors
    brightness, contrast, saturation (1 changes nothing) and hue (in turns, 0 changes nothing): [B] float64
    grey, blur, solarise: [B] bool; sigma: [B] float64, of the blur, in pixels of the view
    elastic: [B] bool; displacements: [B, 2, 4, 4] float64, right and down, of 4 x 4 control points (row, column) from
    corner to corner of the view, as shares of its side
    stain: [B] bool; stain_factors, stain_shifts: [B, 3] float64, of the concentration of each stain
    gamma: [B] bool; exponent: [B] float64
    """

    boxes: NDArray[np.int64]
    horizontal_flip: NDArray[np.bool_]
    vertical_flip: NDArray[np.bool_]
    quarter_turns: NDArray[np.int64]
    angle: FloatArray
    jitter: NDArray[np.bool_]
    order: NDArray[np.int64]
    brightness: FloatArray
    contrast: FloatArray
    saturation: FloatArray
    hue: FloatArray
    grey: NDArray[np.bool_]
    blur: NDArray[np.bool_]
    sigma: FloatArray
    solarise: NDArray[np.bool_]
    elastic: NDArray[np.bool_]
    displacements: FloatArray
    stain: NDArray[np.bool_]
    stain_factors: FloatArray
    stain_shifts: FloatArray
    gamma: NDArray[np.bool_]
    exponent: FloatArray

    def __len__(self) -> int:
        return len(self.boxes)

    def flips(self) -> NDArray[np.bool_]:
        """Return the flips of top and bottom and of left and right, [B, 2], that equal the flips and the quarter turns,
        if rows and columns are swapped after them where the number of quarter turns is odd."""
        top_and_bottom = self.vertical_flip ^ (self.quarter_turns >= 2)
        left_and_right = self.horizontal_flip ^ ((self.quarter_turns == 1) | (self.quarter_turns == 2))
        return np.stack([top_and_bottom, left_and_right], axis=1)


def sample_crop_boxes(
    draws: FloatArray, sizes: NDArray[np.int64], *, scale: Sequence[float], ratio: Sequence[float]
) -> NDArray[np.int64]:
    """Sample boxes as torchvision's RandomResizedCrop does: [B, 4] (top, left, height, width) in pixels.

    Up to ten times an area (a uniform share of the image's, within `scale`) and an aspect ratio (width over height,
    log-uniform within `ratio`); the first box that fits is placed uniformly; where none fits, the largest central
    box with an allowed ratio.

    draws: [DrawRow.COUNT, B] uniform; sizes: [B, 2] (height, width) of the originals.
    """
    height, width = sizes[:, 0], sizes[:, 1]  # [B]
    areas = height * width * sample_between(draws[DrawRow.AREA : DrawRow.AREA + CROP_ATTEMPTS], *scale)  # [attempts, B]
    ratios = np.exp(sample_between(draws[DrawRow.RATIO : DrawRow.RATIO + CROP_ATTEMPTS], *np.log(ratio)))
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
    top = np.where(none_fits, free_rows // 2, sample_whole_numbers(draws[DrawRow.TOP], free_rows + 1))
    left = np.where(none_fits, free_columns // 2, sample_whole_numbers(draws[DrawRow.LEFT], free_columns + 1))
    return np.stack([top, left, box_height, box_width], axis=1)


def sample_between(draws: FloatArray, low: float, high: float) -> FloatArray:
    """Scale draws to be uniform on [low, high)."""
    return low + (high - low) * draws


def sample_factors(draws: FloatArray, strength: float) -> FloatArray:
    """Sample a jitter factor around 1, as ColorJitter does: uniform on [max(0, 1 - strength), 1 + strength]."""
    return sample_between(draws, max(0.0, 1.0 - strength), 1.0 + strength)


def sample_exponents(draws: FloatArray, strength: float) -> FloatArray:
    """Sample exponents around 1: log-uniform on [1 / (1 + strength), 1 + strength]."""
    return np.exp(sample_between(draws, -np.log1p(strength), np.log1p(strength)))


def sample_displacements(draws: FloatArray, strength: float) -> FloatArray:
    """Arrange draws as displacements of control points: [B, 2, 4, 4], each uniform on [-strength, strength).

    draws: [2 * CONTROL_POINTS**2, B].
    """
    by_point = sample_between(draws, -strength, strength).reshape(2, CONTROL_POINTS, CONTROL_POINTS, -1)
    return np.moveaxis(by_point, 3, 0)


def sample_whole_numbers(draws: FloatArray, count: NDArray[np.int64] | int) -> NDArray[np.int64]:
    """Scale draws to be uniform on the whole numbers 0 to count - 1."""
    return (draws * count).astype(np.int64)
