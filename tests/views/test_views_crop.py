"""Crop and resize: the CPU's path, the matrix path and torchvision agree; boxes keep to the stored square."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as tv

from lowres_ssl.views.crop import boxes_in_store, crop_and_resize, crop_by_matrices, crop_one_by_one

PATHS = {"one_by_one": crop_one_by_one, "matrices": crop_by_matrices}
STORED = 70
BOXES = np.array(
    [[0, 0, 70, 70], [3, 5, 64, 60], [10, 30, 33, 40], [69, 0, 1, 70], [0, 69, 70, 1], [34, 35, 1, 1], [20, 10, 32, 31]]
)


def pictures(channels: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    noise = torch.randint(0, 256, (len(BOXES), channels, STORED, STORED), generator=generator, dtype=torch.uint8)
    noise[1, :, ::2] = 255  # stripes: the worst case for a resampler
    return noise


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("channels", [3, 1])
@pytest.mark.parametrize("size", [16, 32, 33, 96])  # shrinking, about the same, and enlarging
def test_both_paths_are_torchvisions(path, channels, size):
    images = pictures(channels)
    ours = PATHS[path](images, BOXES, size)
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


@pytest.mark.parametrize("size", [20, 50])
def test_the_paths_agree(size):
    images = pictures(3)
    difference = crop_one_by_one(images, BOXES, size) - crop_by_matrices(images, BOXES, size)
    assert difference.abs().max() <= 1.001 / 255


def test_a_store_that_lies_pixel_by_pixel_gives_the_same():
    images = pictures(3)
    by_pixel = images.contiguous(memory_format=torch.channels_last)
    expected = crop_and_resize(images, BOXES, 24)
    ours = crop_and_resize(by_pixel, BOXES, 24)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1.001 / 255)
    assert ours.is_contiguous()


@pytest.mark.parametrize("path", PATHS.values())
def test_values_stay_within_nought_and_one(path):
    white = torch.full((len(BOXES), 1, STORED, STORED), 255, dtype=torch.uint8)
    assert path(white, BOXES, 37).max() <= 1
    assert path(white, BOXES, 37).min() > 0.9999
    assert path(white * 0, BOXES, 37).abs().max() == 0


@pytest.mark.parametrize("path", PATHS.values())
def test_nothing_outside_the_box_shows(path):
    images = torch.full((1, 1, STORED, STORED), 255, dtype=torch.uint8)
    images[:, :, 20:40, 30:50] = 0
    assert path(images, np.array([[20, 30, 20, 20]]), 13).abs().max() == 0


def test_boxes_in_store_scale_with_the_original_and_keep_a_pixel():
    sizes = np.array([[100, 200], [1000, 500], [1000, 1000], [50, 50]])
    boxes = np.array([[10, 20, 50, 100], [0, 0, 1000, 500], [999, 998, 1, 2], [25, 0, 25, 50]])
    expected = [[10, 10, 50, 50], [0, 0, 100, 100], [99, 99, 1, 1], [50, 0, 50, 100]]
    np.testing.assert_array_equal(boxes_in_store(boxes, sizes, 100), expected)


def test_boxes_in_store_are_always_inside():
    generator = np.random.default_rng(0)
    sizes = generator.integers(1, 400, (2000, 2))
    lengths = np.ceil(sizes * generator.random((2000, 2))).astype(np.int64).clip(1)
    starts = np.floor((sizes - lengths + 1) * generator.random((2000, 2))).astype(np.int64)
    for stored in (1, 7, 64, 448):
        inside = boxes_in_store(np.concatenate([starts, lengths], axis=1), sizes, stored)
        assert (inside[:, :2] >= 0).all()
        assert (inside[:, 2:] >= 1).all()
        assert (inside[:, :2] + inside[:, 2:] <= stored).all()
