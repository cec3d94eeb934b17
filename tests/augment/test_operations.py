"""Each operation against its namesake in torchvision, or against NumPy and SciPy where it has none, image by image,
on identical input with the same parameters.

Ours work on floats. So each is compared twice: with torchvision on floats, nearly exactly, and with torchvision on
uint8, which rounds or cuts off, within 2 of 255.
"""

import dataclasses
from collections.abc import Callable
from itertools import product

import numpy as np
import pytest
import torch
from by_torchvision import deform_one, stain_one
from torch import Tensor
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from lowres_ssl.augment import operations
from lowres_ssl.augment.crop import multiply_both_axes
from lowres_ssl.augment.operations import blur_by_matrices, blur_by_shifts, compute_kernels, compute_mirrored_distances
from lowres_ssl.augment.pipeline import apply_by_mask, apply_to_rows
from lowres_ssl.augment.sampling import AugmentationParameters

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


def floats(numbers: np.ndarray) -> Tensor:
    return torch.from_numpy(numbers.astype(np.float32))


@pytest.mark.parametrize(
    ("means", "lumas", "theirs", "channels"),
    [
        (0, 0, tv.adjust_brightness, 3),
        (0, 0, tv.adjust_brightness, 1),
        (1, 0, tv.adjust_contrast, 3),
        (1, 0, tv.adjust_contrast, 1),
        (0, 1, tv.adjust_saturation, 3),
    ],
)
def test_brightness_contrast_and_saturation(means, lumas, theirs, channels):
    images, factor = pictures(channels), some(0, 2.5)
    numbers = operations.compute_blend_numbers(factor, means * (1 - factor), lumas * (1 - factor), channels)
    ours = operations.blend(images.float() / 255, floats(numbers))
    check(ours, images, lambda image, row: theirs(image, factor[row]))
    assert ours.min() == 0
    assert ours.max() == 1


@pytest.mark.parametrize("shifts", [some(-0.5, 0.5), some(-0.1, 0.1), some(0, 0), some(1 / 3, 1 / 3)])
def test_hue(shifts):
    images = pictures()
    ours = operations.turn_hue(images.float() / 255, floats(operations.compute_hue_offsets(shifts)))
    check(ours, images, lambda image, row: tv.adjust_hue(image, shifts[row]))


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("threshold", [0, 1, 64, 128, 255])
def test_solarise(channels, threshold):
    images = pictures(channels)
    ours = operations.solarise(images.float() / 255, threshold)
    theirs = torch.stack([tv.solarize(image, threshold) for image in images])
    torch.testing.assert_close(ours, theirs.float() / 255, rtol=0, atol=1e-6)


def by_matrices(images: Tensor, weights: Tensor) -> Tensor:
    return blur_by_matrices(images, weights, compute_mirrored_distances(images.shape[2], weights.shape[1]))


BLURS = {"shifts": blur_by_shifts, "matrices": by_matrices}


def blurred(way: str, images: Tensor, sigma: np.ndarray, size: int) -> Tensor:
    return BLURS[way](images, floats(compute_kernels(sigma, size)))


@pytest.mark.parametrize("way", BLURS)
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize(("size", "low", "high"), [(3, 0.1, 2.0), (7, 0.1, 2.0), (23, 0.1, 2.0), (33, 3.0, 12.0)])
def test_blur(way, channels, size, low, high):
    images = pictures(channels)
    sigma = some(low, high)[np.random.default_rng(0).permutation(BATCH)]
    ours = blurred(way, images.float() / 255, sigma, size)
    # What is left out of the kernel's tails is worth less than half a level.
    check(ours, images, lambda image, row: tv.gaussian_blur(image, [size, size], [sigma[row]] * 2), exact=0.5 / 255)


def test_flips_and_quarter_turns_come_to_flips_and_one_transposition():
    image = pictures()[3]
    for vertical, horizontal, quarters in product((False, True), (False, True), range(4)):
        expected = tv.vertical_flip(image) if vertical else image
        expected = tv.horizontal_flip(expected) if horizontal else expected
        expected = tv.rotate(expected, 90 * quarters)
        (flips,) = AugmentationParameters.flips(drawn(vertical, horizontal, quarters))
        flipped = image.flip([1 + axis for axis in (0, 1) if flips[axis]])
        ours = operations.transpose(flipped[None])[0] if quarters % 2 else flipped
        assert torch.equal(ours, expected), (vertical, horizontal, quarters)


def drawn(vertical: bool, horizontal: bool, quarters: int) -> AugmentationParameters:
    fields = dict.fromkeys((field.name for field in dataclasses.fields(AugmentationParameters)), np.zeros(1))
    flips = {"vertical_flip": np.array([vertical]), "horizontal_flip": np.array([horizontal])}
    return AugmentationParameters(**fields | flips | {"quarter_turns": np.array([quarters])})


def direction(angle: np.ndarray) -> Tensor:
    radians = np.deg2rad(angle)
    return floats(np.stack([np.cos(radians), np.sin(radians)], axis=1))


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("side", [33, 64])
def test_rotation_by_any_angle(channels, side):
    images, angle = pictures(channels, side), some(-180, 170)
    ours = operations.rotate(images.float() / 255, direction(angle), "zeros")
    bilinear = InterpolationMode.BILINEAR
    check(ours, images, lambda image, row: tv.rotate(image, angle[row], interpolation=bilinear), exact=1e-4)


def test_rotation_with_reflection_is_that_of_the_mirrored_image():
    side = 32
    images, angle = pictures(3, side), some(-180, 170)
    unit = images.float() / 255

    def mirrored(image: Tensor, row: int) -> Tensor:
        wide = tv.pad(image, [side // 2] * 4, padding_mode="symmetric")
        return tv.center_crop(tv.rotate(wide, angle[row], interpolation=InterpolationMode.BILINEAR), [side, side])

    check(operations.rotate(unit, direction(angle), "reflection"), images, mirrored, exact=1e-4)


def displacements(strength: float, count: int = BATCH) -> np.ndarray:
    """[B, 2, 4, 4], as shares of the side, the first and the second as far as can be."""
    drawn = np.random.default_rng(0).uniform(-strength, strength, (count, 2, 4, 4))
    drawn[0], drawn[1] = strength, -strength
    return drawn


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("side", [33, 64])
@pytest.mark.parametrize("strength", [0.0, 0.05, 0.2])
def test_elastic_deformation(channels, side, strength):
    images, moved = pictures(channels, side).float() / 255, displacements(strength)
    ours = operations.deform_images(images, floats(2 * moved))
    expected = torch.stack([deform_one(*each) for each in zip(images, moved, strict=True)])
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-4)


def test_elastic_deformation_of_the_default_strength_folds_nothing():
    """The way from a pixel to the next one keeps its direction, and a square its orientation."""
    curves, centres = operations.compute_deformation_basis(32)
    each = curves.expand(2000, -1, -1)
    moved = multiply_both_axes(floats(2 * displacements(0.05, 2000)), each, each).permute(0, 2, 3, 1) + centres
    right, down = moved.diff(dim=2)[:, :-1], moved.diff(dim=1)[:, :, :-1]
    area = right[..., 0] * down[..., 1] - right[..., 1] * down[..., 0]
    assert right[..., 0].min() > 0
    assert down[..., 1].min() > 0
    assert area.min() > 0


def test_stains():
    images, random = pictures().float() / 255, np.random.default_rng(0)
    factors, shifts = random.uniform(0.5, 1.5, (BATCH, 3)), random.uniform(-0.3, 0.3, (BATCH, 3))
    ours = operations.jitter_stains(images, floats(operations.compute_stain_numbers(factors, shifts)))
    expected = torch.stack([stain_one(*each) for each in zip(images, factors, shifts, strict=True)])
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
    assert ours.max() == 1


def test_stains_that_nothing_is_done_to_leave_every_bit_and_black_stays_black():
    images = pictures().float() / 255
    nothing = operations.compute_stain_numbers(np.ones((BATCH, 3)), np.zeros((BATCH, 3)))
    assert torch.equal(operations.jitter_stains(images, floats(nothing)), images)
    much = operations.compute_stain_numbers(np.full((BATCH, 3), 0.5), np.full((BATCH, 3), -0.5))
    assert (operations.jitter_stains(images * 0, floats(much)) == 0).all()


def test_a_stain_alone_is_as_dense_as_its_factor_says():
    """Haematoxylin of density 0.4, doubled, on its own and under eosin."""
    colours = np.array(operations.STAIN_COLOURS)
    colours /= np.linalg.norm(colours, axis=1, keepdims=True)
    numbers = floats(operations.compute_stain_numbers(np.array([[2.0, 1.0, 1.0]]), np.zeros((1, 3))))
    for eosin in (0.0, 0.3):
        before, after = (10 ** -(amount * colours[0] + eosin * colours[1]) for amount in (0.4, 0.8))
        ours = operations.jitter_stains(floats(before)[None, :, None, None], numbers)
        np.testing.assert_allclose(ours[0, :, 0, 0], after, atol=1e-6)


@pytest.mark.parametrize("channels", [3, 1])
def test_gamma(channels):
    images, exponent = pictures(channels), some(0.5, 2)
    ours = operations.apply_gamma(images.float() / 255, floats(exponent[:, None]))
    check(ours, images, lambda image, row: tv.adjust_gamma(image, exponent[row]))


@pytest.mark.parametrize("way", [apply_to_rows, apply_by_mask])
def test_only_the_chosen_images_change_and_each_by_its_own_numbers(way):
    images = torch.rand(5, 3, 4, 4)
    before, chosen = images.clone(), torch.tensor([True, False, False, True, False])
    pairs = torch.arange(10.0).view(5, 2)
    changed = way(images, chosen, lambda rows, value: rows * 0 + value.sum(dim=1)[:, None, None, None], pairs)
    assert (changed[0] == 0 + 1).all()
    assert (changed[3] == 6 + 7).all()
    assert torch.equal(changed[[1, 2, 4]], before[[1, 2, 4]])
