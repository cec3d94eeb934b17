"""The views that a config asks for: each epoch's size, and a blur that is as wide on the image at any of them."""

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_module

from lowres_ssl.augment.augmentation import Augmentation, hash_image_ids
from lowres_ssl.augment.blur import blur_by_shifts, compute_kernels
from lowres_ssl.augment.from_config import build_views
from lowres_ssl.config.check import PretrainConfig, read_config, register_schemas

register_schemas()
KEYS = hash_image_ids([str(number) for number in range(2000)])


def makers_of(*words: str) -> list[Augmentation]:
    overrides = ["dataset=phantom", "images=any", "backbone=resnet18", *words]
    with initialize_config_module("lowres_ssl.conf", version_base="1.3"):
        return build_views(read_config(compose("pretrain", overrides=overrides), PretrainConfig))


def sigma(maker: Augmentation) -> np.ndarray:
    return maker.parameters(np.full((len(KEYS), 2), 96), KEYS, epoch=0, view=0).sigma


@pytest.mark.parametrize("recipe", ["paper", "released_code", "tuned"])
def test_blur_at_224_pixels_is_the_papers(recipe: str) -> None:
    """A standard deviation of 0.1 to 2 pixels, and a kernel of 23."""
    (maker,) = makers_of(f"recipe={recipe}", "epochs=1")
    assert maker.blur_sigma == (0.1, 2.0)
    assert maker.blur_kernel == 23
    drawn = sigma(maker)
    assert drawn.min() == pytest.approx(0.1, abs=0.01)
    assert drawn.max() == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("size", [32, 64, 448])
def test_blur_is_the_same_share_of_the_side_at_any_size(size: int) -> None:
    (paper,), (other,) = makers_of("epochs=1"), makers_of("epochs=1", f"image_size={size}")
    np.testing.assert_allclose(sigma(other) / size, sigma(paper) / 224, rtol=1e-12)


def test_blur_keeps_its_share_of_the_side_through_a_schedule() -> None:
    small, whole = makers_of("epochs=2", "image_size=128", "image_size_schedule=[[0.5,0.5],[0.5,1.0]]")
    assert (small.image_size, whole.image_size) == (64, 128)
    np.testing.assert_allclose(sigma(small) / 64, sigma(whole) / 128, rtol=1e-12)


def test_an_edge_is_as_wide_on_the_image_when_it_is_blurred_at_half_the_size() -> None:
    """Shares of the side that a step from black to white takes from 16% to 84%, which are two standard deviations."""

    def width(size: int) -> float:
        (maker,) = makers_of("epochs=1", f"image_size={size}")
        edge = torch.zeros(1, 1, size, size)
        edge[..., size // 2 :] = 1
        weights = torch.from_numpy(compute_kernels(np.array(maker.blur_sigma[1:]), maker.blur_kernel)).float()
        profile = blur_by_shifts(edge, weights)[0, 0, 0].numpy()
        low, high = np.interp([0.16, 0.84], profile, (np.arange(size) + 0.5) / size)
        return float(high - low)

    assert width(224) == pytest.approx(width(448), rel=0.05)
    assert width(112) == pytest.approx(width(224), rel=0.15)
