"""Each operation against its namesake in torchvision, image by image, on identical input with the same parameters.

Ours work on floats. So each is compared twice: with torchvision on floats, nearly exactly, and with torchvision on
uint8, which rounds or cuts off, within 2 of 255.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from lowres_ssl.views import colour, geometry
from lowres_ssl.views.blur import gaussian_blur, kernel_size
from lowres_ssl.views.rows import change_rows, column

TWO_LEVELS = 2 / 255 + 1e-6
BATCH = 12


def pictures(channels: int = 3, side: int = 33) -> Tensor:
    """[12, C, S, S] uint8: smooth, noisy, with black, white, grey, and pixels whose channels are pairwise equal."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(BATCH, channels, 5, 5, generator=generator)
    images = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic").mul(320).sub(32)
    images[3] = torch.randint(0, 256, (channels, side, side), generator=generator)
    images[4, :, :8], images[4, :, 8:16] = 0, 255
    images[5] = images[5, :1]
    images[6, 0] = images[6, -1]
    images[7, : channels - 1] = images[7, -1]
    images[8] = images[8].div(64).round().mul(64)
    images[9, 0], images[9, 1:] = 255, 0
    return images.clamp(0, 255).to(torch.uint8)


def check(ours: Tensor, images: Tensor, theirs: Callable[[Tensor, int], Tensor], exact: float = 3e-6) -> None:
    """`theirs(image, row)` on each image alone, as float and as uint8."""
    assert ours.dtype == torch.float32
    assert ours.shape == images.shape
    as_float = torch.stack([theirs(image.float() / 255, row) for row, image in enumerate(images)])
    as_levels = torch.stack([theirs(image, row) for row, image in enumerate(images)])
    torch.testing.assert_close(ours, as_float, rtol=0, atol=exact)
    torch.testing.assert_close(ours, as_levels.float() / 255, rtol=0, atol=TWO_LEVELS)


def some(low: float, high: float) -> np.ndarray:
    """A factor an image: both ends, and between."""
    return np.linspace(low, high, BATCH)


def blended(images: Tensor, factor: np.ndarray, mean_weight: np.ndarray, luma_weight: np.ndarray) -> Tensor:
    unit = images.float() / 255
    return colour.blend(unit, column(factor, unit), column(mean_weight, unit), column(luma_weight, unit))


@pytest.mark.parametrize("channels", [3, 1])
def test_brightness(channels):
    images, factor = pictures(channels), some(0, 2.5)
    ours = blended(images, factor, 0 * factor, 0 * factor)
    check(ours, images, lambda image, row: tv.adjust_brightness(image, factor[row]))
    assert ours.max() == 1


@pytest.mark.parametrize("channels", [3, 1])
def test_contrast(channels):
    images, factor = pictures(channels), some(0, 2.5)
    ours = blended(images, factor, 1 - factor, 0 * factor)
    check(ours, images, lambda image, row: tv.adjust_contrast(image, factor[row]))
    assert ours.min() == 0
    assert ours.max() == 1


def test_saturation():
    images, factor = pictures(), some(0, 2.5)
    ours = blended(images, factor, 0 * factor, 1 - factor)
    check(ours, images, lambda image, row: tv.adjust_saturation(image, factor[row]))
    assert ours.min() == 0
    assert ours.max() == 1


@pytest.mark.parametrize("shifts", [some(-0.5, 0.5), some(-0.1, 0.1), some(0, 0), some(1 / 3, 1 / 3)])
def test_hue(shifts):
    images = pictures()
    unit = images.float() / 255
    check(colour.adjust_hue(unit, column(shifts, unit)), images, lambda image, row: tv.adjust_hue(image, shifts[row]))


def test_hue_of_every_corner_edge_and_face_of_the_colour_cube():
    levels = torch.tensor([0, 1, 2, 127, 128, 254, 255], dtype=torch.uint8)
    cube = torch.cartesian_prod(levels, levels, levels).T.reshape(1, 3, 7, 49)
    for shift in (-0.5, -1 / 3, -1 / 6, -0.1, 0.0, 1e-4, 0.25, 1 / 3, 0.5):
        unit = cube.float() / 255
        ours = colour.adjust_hue(unit.clone(), column(np.array([shift]), unit))
        torch.testing.assert_close(ours, tv.adjust_hue(unit, shift), rtol=0, atol=3e-6)


def test_grey():
    images = pictures()
    ours = colour.to_grey(images.float() / 255)
    check(ours, images, lambda image, row: tv.rgb_to_grayscale(image, num_output_channels=3))


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("threshold", [0, 1, 64, 128, 255])
def test_solarise(channels, threshold):
    images = pictures(channels)
    ours = colour.solarise(images.float() / 255, threshold)
    theirs = torch.stack([tv.solarize(image, threshold) for image in images])
    torch.testing.assert_close(ours, theirs.float() / 255, rtol=0, atol=1e-6)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize(("size", "low", "high"), [(3, 0.1, 2.0), (7, 0.1, 2.0), (23, 0.1, 2.0), (33, 3.0, 12.0)])
def test_blur(channels, size, low, high):
    images = pictures(channels)
    sigma = some(low, high)[np.random.default_rng(0).permutation(BATCH)]
    ours = gaussian_blur(images.float() / 255, sigma, size)
    # What is left out of the kernel's tails is worth less than half a level.
    check(ours, images, lambda image, row: tv.gaussian_blur(image, [size, size], [sigma[row]] * 2), exact=0.5 / 255)


def test_blur_keeps_a_flat_image_and_the_range():
    flat = torch.full((3, 1, 16, 16), 0.7)
    torch.testing.assert_close(gaussian_blur(flat.clone(), np.array([0.1, 1.0, 5.0]), 9), flat)
    blurred = gaussian_blur(pictures().float() / 255, some(0.1, 2), 5)
    assert blurred.min() >= 0
    assert blurred.max() <= 1 + 1e-6


@pytest.mark.parametrize(
    ("side", "fraction", "expected"),
    [(224, 0.1, 23), (64, 0.1, 7), (96, 0.1, 9), (32, 0.1, 3), (16, 0.1, 3), (8, 1, 9)],
)
def test_kernel_is_the_nearest_odd_number_and_at_least_3(side, fraction, expected):
    assert kernel_size(side, fraction) == expected


@pytest.mark.parametrize("side", [2, 3, 4, 17])
def test_the_widest_kernel_still_fits_the_image(side):
    images = torch.rand(2, 1, side, side)
    assert gaussian_blur(images, np.array([50.0, 0.5]), kernel_size(side, 1.0)).isfinite().all()


def test_flips():
    images = pictures()
    unit = images.float() / 255
    check(geometry.flip_horizontally(unit), images, lambda image, row: tv.horizontal_flip(image), exact=0)
    check(geometry.flip_vertically(unit), images, lambda image, row: tv.vertical_flip(image), exact=0)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_quarter_turns_are_exact(quarters):
    images = pictures()
    ours = geometry.turn(images.float() / 255, quarters)
    check(ours, images, lambda image, row: tv.rotate(image, 90 * quarters), exact=0)


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("side", [33, 64])
def test_rotation_by_any_angle(channels, side):
    images, angle = pictures(channels, side), some(-180, 170)
    unit = images.float() / 255
    ours = geometry.rotate(unit, column(angle, unit), "zeros")
    bilinear = InterpolationMode.BILINEAR
    check(ours, images, lambda image, row: tv.rotate(image, angle[row], interpolation=bilinear), exact=1e-4)


def test_rotation_with_reflection_is_that_of_the_mirrored_image():
    side = 32
    images, angle = pictures(3, side), some(-180, 170)
    unit = images.float() / 255

    def mirrored(image: Tensor, row: int) -> Tensor:
        wide = tv.pad(image, [side // 2] * 4, padding_mode="symmetric")
        return tv.center_crop(tv.rotate(wide, angle[row], interpolation=InterpolationMode.BILINEAR), [side, side])

    check(geometry.rotate(unit, column(angle, unit), "reflection"), images, mirrored, exact=1e-4)


def test_change_rows_touches_only_the_chosen_images():
    images = torch.rand(5, 3, 4, 4)
    before, chosen, values = images.clone(), np.array([True, False, False, True, False]), np.arange(5.0)
    changed = change_rows(images, chosen, lambda rows, value: rows.mul_(0).add_(value), values)
    assert (changed[0] == 0).all()
    assert (changed[3] == 3).all()
    assert torch.equal(changed[[1, 2, 4]], before[[1, 2, 4]])


@pytest.mark.parametrize(("every", "calls"), [(False, []), (True, [3])])
def test_change_rows_of_none_and_of_all_copies_nothing(every, calls):
    images, seen = torch.rand(3, 1, 2, 2), []

    def operation(rows: Tensor) -> Tensor:
        seen.append(len(rows))
        return rows

    assert change_rows(images, np.full(3, every), operation) is images
    assert seen == calls
