"""Differences between methods: their value, their interval, and what seeds have to do with it."""

import numpy as np
import pytest
from made_counts import count_right, part
from scipy.stats import t

from lowres_ssl.stats.bootstrap import SeedSpread
from lowres_ssl.stats.paired_tests import (
    ContrastPart,
    ContrastTerm,
    MethodCounts,
    compute_contrast,
    compute_differences,
    compute_seed_error,
    pool_seed_spread,
)
from speed.intervals import coverage_of_difference
from speed.simulated import World, alike

REPETITIONS = 400
LEAST = 0.92


@pytest.mark.parametrize(
    ("accuracy", "seeds", "groups", "images"),
    [(0.75, 2, 26, 5), (0.97, 3, 26, 5), (0.97, 5, 128, 1), (0.8, 3, 128, 1)],
)
def test_interval_of_a_difference_covers_the_truth(accuracy: float, seeds: int, groups: int, images: int) -> None:
    world = World.at(accuracy, alike(groups, images), seeds=seeds, spread=0.02)
    assert coverage_of_difference(world, "accuracy", REPETITIONS) >= LEAST


def test_one_seed_of_a_method_that_depends_on_it_leaves_everything_open() -> None:
    (found,) = compute_differences({"a": part(390), "b": part(300, 310, 320)}, [("a", "b")])
    assert found.value == pytest.approx(0.2)
    assert (found.low, found.high, found.seeds, found.is_of_one_seed) == (-1.0, 1.0, 1, True)


def test_one_result_is_enough_of_what_depends_on_no_seed() -> None:
    fixed = part(300, depends_on_seed=False)
    (found,) = compute_differences({"a": part(380, 382, 384), "b": fixed}, [("a", "b")])
    assert 0 < found.low < 0.205 < found.high
    assert (found.seeds, found.is_of_one_seed) == (3, False)
    (both,) = compute_differences({"a": part(380, depends_on_seed=False), "b": fixed}, [("a", "b")])
    assert (both.seeds, both.is_of_one_seed) == (None, False)
    assert both.low > 0


def test_seed_error_is_welchs_and_satterthwaites() -> None:
    a, b = part(300, 320, 346), part(280, 300, 290, 310)
    one, other = a.measured.spread.variance / 3, b.measured.spread.variance / 4
    found = compute_seed_error([(1.0, a), (-1.0, b)], None)
    assert found.variance == pytest.approx(one + other)
    assert found.degrees == pytest.approx((one + other) ** 2 / (one**2 / 2 + other**2 / 3))


def test_methods_are_pooled_alike_however_many_seeds_they_have() -> None:
    a, b = part(300, 320, 346), part(280, 300, 290, 310)
    one, other = a.measured.spread.variance, b.measured.spread.variance
    found = pool_seed_spread([a, b, part(399), part(300, 300, depends_on_seed=False)])
    assert found is not None
    assert (found.variance, found.degrees) == (pytest.approx((one + other) / 2), pytest.approx(4 / (1 / 2 + 1 / 3)))
    alike = pool_seed_spread([a, a, a])
    assert alike is not None
    assert (alike.variance, alike.degrees) == (pytest.approx(one), pytest.approx(6))
    assert pool_seed_spread([part(399)]) is None


def test_method_has_the_larger_of_its_own_and_the_pooled_spread() -> None:
    calm, wild = part(300, 301, 302), part(250, 300, 350)
    pooled = SeedSpread(0.0002, 4.0)
    assert calm.measured.spread.variance < pooled.variance < wild.measured.spread.variance
    assert compute_seed_error([(1.0, calm)], pooled) == SeedSpread(pytest.approx(0.0002 / 3), pytest.approx(4.0))
    assert compute_seed_error([(0.5, calm)], pooled).variance == pytest.approx(0.0002 / 12)
    assert compute_seed_error([(1.0, wild)], pooled) == compute_seed_error([(1.0, wild)], None)


def test_two_seeds_are_left_to_themselves_and_so_is_what_depends_on_none() -> None:
    pooled = SeedSpread(0.01, 10.0)
    two, fixed = part(300, 310), part(300, 300, 300, depends_on_seed=False)
    assert compute_seed_error([(1.0, two)], pooled) == compute_seed_error([(1.0, two)], None)
    assert compute_seed_error([(1.0, fixed)], pooled).variance == 0


def test_interval_of_a_difference_by_hand() -> None:
    """Of 400 images 40 are right for one alone; what seeds do is added as squares."""
    a, b = part(320, 330, 340), part(285, 290, 295)
    found = compute_contrast([(1.0, a), (-1.0, b)])
    each = (count_right(320, 330, 340).mean(axis=0) - count_right(285, 290, 295).mean(axis=0))[:, 0, 0]
    error = compute_seed_error([(1.0, a), (-1.0, b)], None)
    half = (t.ppf(0.975, 399) ** 2 * each.var(ddof=1) / 400 + t.ppf(0.975, error.degrees) ** 2 * error.variance) ** 0.5
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1 - half, 0.1 + half))


def test_other_way_round_is_the_same_with_the_other_sign() -> None:
    methods = {"a": part(320, 330), "b": part(300, 310)}
    there, back = compute_differences(methods, [("a", "b"), ("b", "a")])
    assert there.value == pytest.approx(0.05)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert (there.seeds, there.groups) == (back.seeds, back.groups)


def test_terms_of_one_part_are_paired_by_seed() -> None:
    """Seeds that differ much, each by the same under both."""
    first, second = count_right(250, 300, 350), count_right(255, 305, 355)
    paired = ContrastPart((ContrastTerm(1.0, second, "accuracy"), ContrastTerm(-1.0, first, "accuracy")))
    together, apart = (
        compute_contrast([(1.0, paired)]),
        compute_contrast([(1.0, part(255, 305, 355)), (-1.0, part(250, 300, 350))]),
    )
    assert together.value == pytest.approx(apart.value)
    assert 0 < together.low < together.high < 0.05
    assert apart.low < 0


def test_one_group_can_tell_nothing() -> None:
    methods = {
        name: MethodCounts(np.array([[own], [own]]), (0, 1)).make_part(accuracy=1.0)
        for name, own in (("a", [[9, 1], [1, 9]]), ("b", [[5, 5], [5, 5]]))
    }
    (found,) = compute_differences(methods, [("a", "b")])
    assert (found.value, found.low, found.high) == (pytest.approx(0.4), -1.0, 1.0)


def test_difference_of_a_metric_of_equal_classes_is_as_unreliable_as_the_smallest_class() -> None:
    world = World.at(0.9, alike(200, 1), seeds=3, spread=0.02, second=10)
    methods = world.scored(np.random.default_rng(0), 2)
    for name, wanted in (("balanced_accuracy", 10), ("accuracy", 200)):
        (found,) = compute_differences({key: own.make_part(**{name: 1.0}) for key, own in methods.items()}, [(0, 1)])
        assert (found.effective_groups, found.reliable) == (wanted, wanted > 25)


def test_different_test_images_are_an_error() -> None:
    with pytest.raises(ValueError, match="different test images"):
        compute_differences({"a": part(30, 31, images=40), "b": part(30, 31, images=39)}, [("a", "b")])
    counts = np.full((1, 20, 2, 2), 3)
    other = counts.copy()
    other[0, 0, 0, 0] += 1
    with pytest.raises(ValueError, match="different test images"):
        compute_contrast(
            [
                (factor, MethodCounts(own, (0,)).make_part(accuracy=1.0))
                for factor, own in ((1.0, counts), (-1.0, other))
            ]
        )
