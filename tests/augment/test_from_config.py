"""The views that a config asks for: each epoch's size, and a blur that is as wide on the image at any of them."""

import numpy as np
import pytest
from in_process import compose_config

from lowres_ssl.augment.augmentation import Augmentation
from lowres_ssl.augment.from_config import build_size_schedule, build_views
from lowres_ssl.augment.sampling import hash_image_ids
from lowres_ssl.errors import ConfigError

KEYS = hash_image_ids([str(number) for number in range(2000)])


def makers_of(*words: str) -> list[Augmentation]:
    return build_views(compose_config("dataset=phantom", "images=any", "backbone=resnet18", *words))


def sigma(maker: Augmentation) -> np.ndarray:
    return maker.sample(np.full((len(KEYS), 2), 96), KEYS, epoch=0, views=[0]).sigma


@pytest.mark.parametrize("recipe", ["paper", "released_code", "tuned"])
def test_blur_at_224_pixels_is_the_papers(recipe: str) -> None:
    """A standard deviation of 0.1 to 2 pixels, and a kernel of 23."""
    (maker,) = makers_of(f"recipe={recipe}", "epochs=1")
    assert maker.steps(3).blur_kernel == 23
    drawn = sigma(maker)
    assert drawn.min() == pytest.approx(0.1, abs=0.01)
    assert drawn.max() == pytest.approx(2.0, abs=0.01)


@pytest.mark.parametrize("size", [32, 64, 448])
def test_blur_is_the_same_share_of_the_side_at_any_size(size: int) -> None:
    (paper,), (other,) = makers_of("epochs=1"), makers_of("epochs=1", f"image_size={size}")
    np.testing.assert_allclose(sigma(other) / size, sigma(paper) / 224, rtol=1e-12)


@pytest.mark.parametrize(
    ("stages", "epochs", "expected"),
    [
        ([[1.0, 1.0]], 3, [64, 64, 64]),
        ([[0.75, 0.5], [0.25, 1.0]], 8, [32] * 6 + [64] * 2),
        ([[0.5, 0.5], [0.3, 0.75], [0.2, 1.0]], 10, [32] * 5 + [48] * 3 + [64] * 2),
        ([[0.75, 0.5], [0.25, 1.0]], 1, [64]),
        ([[0.95, 0.5], [0.05, 1.0]], 4, [32, 32, 32, 64]),
    ],
)
def test_the_stages_follow_each_other_and_end_at_the_whole_size(
    stages: list[list[float]], epochs: int, expected: list[int]
) -> None:
    assert build_size_schedule(stages, epochs=epochs, image_size=64, smallest=17) == expected


@pytest.mark.parametrize(
    ("stages", "reason"),
    [
        ([], "pairs"),
        ([[1.0]], "pairs"),
        ([[0.5, 0.5], [0.4, 1.0]], "add up to 1"),
        ([[0.5, 1.0], [0.5, 0.5]], "a last stage of the whole"),
        ([[0.0, 0.5], [1.0, 1.0]], "shares above 0"),
        ([[0.5, 1.5], [0.5, 1.0]], "at most 1"),
        ([[0.5, 0.25], [0.5, 1.0]], "at least 17 pixels, got 16"),
        ([[float("nan"), 0.5], [0.5, 1.0]], "shares above 0"),
    ],
)
def test_what_is_no_schedule_is_refused(stages: list[list[float]], reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"^image_size_schedule=.*{reason}.*such as \[\[0\.75,0\.5\]"):
        build_size_schedule(stages, epochs=10, image_size=64, smallest=17)
