"""Crop and resize: the CPU's way, the matrices' way and torchvision agree; boxes keep to the stored square."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from lowres_ssl.augment.crop import crop_by_matrices, crop_one_by_one, pack_crop_axes, scale_boxes_to_store


def by_matrices(images: torch.Tensor, boxes: np.ndarray, flips: np.ndarray, size: int) -> torch.Tensor:
    return crop_by_matrices(images, torch.from_numpy(pack_crop_axes(boxes, flips, size).astype(np.float32)), size)


WAYS = {"one_by_one": crop_one_by_one, "matrices": by_matrices}
STORED = 70
BOXES = np.array(
    [[0, 0, 70, 70], [3, 5, 64, 60], [10, 30, 33, 40], [69, 0, 1, 70], [0, 69, 70, 1], [34, 35, 1, 1], [20, 10, 32, 31]]
)
UNFLIPPED = np.zeros((len(BOXES), 2), dtype=bool)


def pictures(channels: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randint(0, 256, (len(BOXES), channels, STORED, STORED), generator=generator, dtype=torch.uint8)
    noise[1, :, ::2] = 255  # stripes: the worst case for a resampler
    return noise


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("size", [16, 32, 33, 96])  # shrinking, about the same, and enlarging
def test_both_ways_are_torchvisions(way, channels, size):
    images = pictures(channels)
    ours = way(images, BOXES, UNFLIPPED, size)
    theirs = torch.stack(
        [
            tv.resized_crop(image, *box, [size, size], antialias=True)
            for image, box in zip(images, BOXES.tolist(), strict=True)
        ]
    )
    assert ours.dtype == torch.float32
    assert ours.shape == (len(BOXES), channels, size, size)
    torch.testing.assert_close(ours, theirs.float() / 255, rtol=0, atol=1.001 / 255)
    assert (ours - theirs.float() / 255).abs().mean() < 0.4 / 255


@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("size", [20, 50])
def test_matrices_are_torchvisions_without_its_rounding(channels, size):
    images = pictures(channels)
    ours = by_matrices(images, BOXES, UNFLIPPED, size)
    theirs = [
        tv.resized_crop(image.double() / 255, *box, [size, size], antialias=True)
        for image, box in zip(images, BOXES.tolist(), strict=True)
    ]
    torch.testing.assert_close(ours.double(), torch.stack(theirs), rtol=0, atol=0.001 / 255)


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("flipped", [False, True])
def test_nothing_outside_the_box_shows(way, flipped):
    images = torch.full((1, 1, STORED, STORED), 255, dtype=torch.uint8)
    images[:, :, 20:40, 30:50] = 0
    assert way(images, np.array([[20, 30, 20, 20]]), np.full((1, 2), flipped), 13).abs().max() == 0


def test_boxes_in_store_scale_with_the_original_and_keep_a_pixel():
    sizes = np.array([[100, 200], [1000, 500], [1000, 1000], [50, 50]])
    boxes = np.array([[10, 20, 50, 100], [0, 0, 1000, 500], [999, 998, 1, 2], [25, 0, 25, 50]])
    expected = [[10, 10, 50, 50], [0, 0, 100, 100], [99, 99, 1, 1], [50, 0, 50, 100]]
    np.testing.assert_array_equal(scale_boxes_to_store(boxes, sizes, 100), expected)
