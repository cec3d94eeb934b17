"""A schedule of image sizes: stages become epochs; what is no schedule is refused with one that is."""

import pytest

from lowres_ssl.augment.from_config import build_size_schedule
from lowres_ssl.errors import ConfigError


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


@pytest.mark.parametrize("epochs", range(1, 30))
def test_there_is_one_size_an_epoch_and_none_goes_back(epochs: int) -> None:
    sizes = build_size_schedule([[0.3, 0.4], [0.33, 0.7], [0.37, 1.0]], epochs=epochs, image_size=100, smallest=17)
    assert len(sizes) == epochs
    assert sizes == sorted(sizes)
    assert sizes[-1] == 100


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
