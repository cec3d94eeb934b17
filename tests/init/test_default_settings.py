"""Settings that fit a set: sensible at every size, and such that the methods and KNN accept them."""

import pytest

from lowres_ssl.init.default_settings import (
    DefaultSettings,
    choose_batch_size,
    choose_epochs,
    choose_image_size,
    choose_neighbours,
    suggest_budget,
)


@pytest.mark.parametrize(("smallest", "k"), [(1, 1), (4, 4), (5, 5), (10, 5), (112, 22), (1108, 200), (10**6, 200)])
def test_neighbours_are_a_fifth_of_the_smallest_class(smallest: int, k: int) -> None:
    assert choose_neighbours(smallest) == k


@pytest.mark.parametrize(("images", "size"), [(2, 2), (3, 2), (5, 4), (11, 8), (63, 32), (64, 64), (4089, 64)])
def test_batch_is_the_one_that_the_rates_are_for_wherever_there_are_so_many_images(images: int, size: int) -> None:
    assert choose_batch_size(images) == size


@pytest.mark.parametrize(
    ("images", "time"), [(2, "30min"), (1500, "30min"), (1501, "1h"), (3000, "1h"), (3001, "2h"), (60_000, "20h")]
)
def test_time_grows_with_the_set_in_whole_hours(images: int, time: str) -> None:
    assert suggest_budget(images) == time


@pytest.mark.parametrize(
    ("shorter", "gpu", "size"), [(1024, True, 224), (1024, False, 64), (150, True, 144), (28, True, 24), (3, False, 24)]
)
def test_image_size_is_not_above_the_images(shorter: int, gpu: bool, size: int) -> None:
    assert choose_image_size(shorter, gpu=gpu) == size


@pytest.mark.parametrize(
    ("images", "gpu", "epochs"),
    [(896, False, 20), (100, False, 157), (112, False, 157), (33, False, 313), (896, True, 100), (1, False, 10_000)],
)
def test_a_first_try_has_twenty_thousand_views_at_least_without_the_dropped_images(
    images: int, gpu: bool, epochs: int
) -> None:
    fit = DefaultSettings(64, choose_batch_size(images), k=5, train_images=images, smallest_class=images)
    assert choose_epochs(fit.epoch_views, gpu=gpu) == epochs
    assert epochs * fit.epoch_views >= 20_000
