"""Differences between methods: their interval, what seeds have to do with it, and how seldom chance is called one."""

import numpy as np
import pytest
from made_counts import LEAST, REPETITIONS, WORLDS, count_right, part
from scipy.stats import t

from lowres_ssl.stats.intervals import SeedSpread
from lowres_ssl.stats.paired_tests import (
    ContrastPart,
    MethodCounts,
    compute_contrast,
    compute_differences,
    compute_p_values,
    compute_seed_error,
    correct_holm,
    pool_seed_spread,
)
from speed.intervals import (
    EVERY,
    REFERENCE,
    SPREADS,
    coverage_of_difference,
    error,
    error_beside_ten,
    power,
    power_beside_ten,
)
from speed.simulated import World, alike

IMAGES = alike(200, 1)


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
    for a, b in ((part(390), part(200)), (part(390, 391, 392), part(200))):
        with pytest.raises(ValueError, match="one seed says nothing of others"):
            p_of(a, b)


def test_one_result_is_enough_of_what_depends_on_no_seed() -> None:
    """Both without seeds: the swap test alone, of 40 images that only one of the two recognised."""
    fixed = part(300, depends_on_seed=False)
    (found,) = compute_differences({"a": part(380, 382, 384), "b": fixed}, [("a", "b")])
    assert 0 < found.low < 0.205 < found.high
    assert (found.seeds, found.is_of_one_seed) == (3, False)
    (both,) = compute_differences({"a": part(380, depends_on_seed=False), "b": fixed}, [("a", "b")])
    assert (both.seeds, both.is_of_one_seed) == (None, False)
    assert both.low > 0
    assert p_of(part(340, depends_on_seed=False), fixed) == pytest.approx(1 / 1001)
    assert p_of(part(302, depends_on_seed=False), fixed) == pytest.approx(0.5, abs=0.05)  # 2 of 2: sign test
    assert p_of(part(330, 335, 340), fixed) < 0.01


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
    """Of 400 images 40 are right for one alone; what seeds do is added as squares. The other way round it is the same
    with the other sign."""
    a, b = part(320, 330, 340), part(285, 290, 295)
    found, back = (compute_contrast([(sign, a), (-sign, b)]) for sign in (1.0, -1.0))
    each = (count_right(320, 330, 340).mean(axis=0) - count_right(285, 290, 295).mean(axis=0))[:, 0, 0]
    seeds = compute_seed_error([(1.0, a), (-1.0, b)], None)
    half = (t.ppf(0.975, 399) ** 2 * each.var(ddof=1) / 400 + t.ppf(0.975, seeds.degrees) ** 2 * seeds.variance) ** 0.5
    assert (found.value, found.low, found.high) == pytest.approx((0.1, 0.1 - half, 0.1 + half))
    assert (found.low, found.high) == pytest.approx((-back.high, -back.low))


def test_terms_of_one_part_are_paired_by_seed() -> None:
    """Seeds that differ much, each by the same under both."""
    first, second = count_right(250, 300, 350), count_right(255, 305, 355)
    paired = ContrastPart(((1.0, second, "accuracy"), (-1.0, first, "accuracy")))
    together = compute_contrast([(1.0, paired)])
    apart = compute_contrast([(1.0, part(255, 305, 355)), (-1.0, part(250, 300, 350))])
    assert together.value == pytest.approx(apart.value)
    assert 0 < together.low < together.high < 0.05
    assert apart.low < 0


def test_one_group_can_tell_nothing() -> None:
    methods = {
        name: MethodCounts(np.array([[own], [own]])).make_part(accuracy=1.0)
        for name, own in (("a", [[9, 1], [1, 9]]), ("b", [[5, 5], [5, 5]]))
    }
    (found,) = compute_differences(methods, [("a", "b")])
    assert (found.value, found.low, found.high) == (pytest.approx(0.4), -1.0, 1.0)


def test_difference_of_a_metric_of_equal_classes_is_as_unreliable_as_the_smallest_class() -> None:
    world = World.at(0.9, IMAGES, seeds=3, spread=0.02, second=10)
    methods = world.scored(np.random.default_rng(0), 2)
    for name, wanted in (("balanced_accuracy", 10), ("accuracy", 200)):
        (found,) = compute_differences({key: own.make_part(**{name: 1.0}) for key, own in methods.items()}, [(0, 1)])
        assert (found.effective_groups, found.reliable) == (wanted, wanted > 25)


def test_different_test_images_are_an_error() -> None:
    with pytest.raises(ValueError, match="different test images"):
        compute_differences({"a": part(30, 31, images=40), "b": part(30, 31, images=39)}, [("a", "b")])
    one = MethodCounts(np.full((1, 20, 2, 2), 3)).make_part(accuracy=1.0)
    other = MethodCounts(np.full((1, 20, 2, 2), 3) + np.eye(2, dtype=np.int64)).make_part(accuracy=1.0)
    with pytest.raises(ValueError, match="different test images"):
        compute_contrast([(1.0, one), (-1.0, other)])


def p_of(a: ContrastPart, b: ContrastPart, draws: int = 1000) -> float:
    (p,) = compute_p_values({"a": a, "b": b}, [("a", "b")], draws=draws)
    return p


# Five equal methods have any star in at most 5% of the cases: here three standard errors of 200 repetitions above.
# `make torture` has all spreads.
@pytest.mark.parametrize("name", ["no spread", "the reference 0.1, others none", "one other 0.08, the rest 0.01"])
def test_equal_methods_have_no_star_against_the_reference(name: str) -> None:
    assert error(World.at(0.75, IMAGES, seeds=3, spread=SPREADS[name]), REFERENCE, 200) <= 0.097


def test_equal_methods_have_no_star_against_each_other() -> None:
    spread = SPREADS["one other 0.08, the rest 0.01"]
    assert error(World.at(0.75, IMAGES, seeds=3, spread=spread), EVERY, 80) <= 0.12


def test_calm_random_encoders_of_ten_seeds_make_no_stars() -> None:
    """Ten seeds that differ little say nothing of three that differ much. 0.040 in the long run."""
    assert error_beside_ten(SPREADS["the reference none, others 0.05"], 200) <= 0.085


def test_true_difference_to_a_random_encoder_of_ten_seeds_has_its_star() -> None:
    """0.54 in the long run."""
    assert power_beside_ten(0.08, 100) >= 0.39


@pytest.mark.torture
@pytest.mark.parametrize("spread", SPREADS.values(), ids=SPREADS)
def test_methods_beside_random_encoders_of_ten_seeds_have_no_star_in_the_long_run(
    spread: float | tuple[float, ...],
) -> None:
    assert error_beside_ten(spread, 3000) <= 0.062


@pytest.mark.torture
@pytest.mark.parametrize("spread", SPREADS.values(), ids=SPREADS)
@pytest.mark.parametrize(("seeds", "family"), [(2, REFERENCE), (3, REFERENCE), (5, REFERENCE), (3, EVERY)])
def test_equal_methods_have_no_star_in_the_long_run(seeds: int, family: str, spread: float | tuple[float, ...]) -> None:
    """0.05, and three standard errors of 3,000 repetitions."""
    assert error(World.at(0.75, IMAGES, seeds=seeds, spread=spread), family, 3000) <= 0.062


NEAR_1 = {"near 1, few groups": World.at(0.97, alike(26, 5), seeds=3, spread=0.01)}


@pytest.mark.parametrize("world", (WORLDS | NEAR_1).values(), ids=WORLDS | NEAR_1)
def test_two_equal_methods_have_a_small_p_seldom(world: World) -> None:
    assert error(world, REFERENCE, 300, methods=2) <= 0.088


def test_true_difference_has_its_star_and_more_seeds_find_more() -> None:
    """Five methods, three seeds of spread 0.02: 0.70 in the long run."""
    assert power(World.at(0.7, IMAGES, seeds=3, spread=0.02), 0.82, REFERENCE, 150) >= 0.6
    few, many = (power(World.at(0.7, IMAGES, seeds=n, spread=0.02), 0.76, REFERENCE, 60) for n in (3, 8))
    assert many > few + 0.2


def test_the_same_predictions_are_no_difference() -> None:
    method = part(320, 330, 340)
    assert p_of(method, method) == 1.0


def test_f1_is_swapped_seed_by_seed() -> None:
    """Of other numbers of seeds, too; a mean over seeds of F1 is not that of their sum."""
    random, world = np.random.default_rng(3), World.at(0.7, IMAGES, seeds=3, spread=0.02)
    methods = world.scored(random, 2, better=1.5)
    parts = {key: own.make_part(weighted_f1=1.0) for key, own in methods.items()}
    assert compute_p_values(parts, [(0, 1)], draws=500)[0] < 0.05
    parts[1] = MethodCounts(methods[1].counts[:2]).make_part(weighted_f1=1.0)
    assert 0 < compute_p_values(parts, [(0, 1)], draws=500)[0] < 1


@pytest.mark.parametrize("family", [REFERENCE, pytest.param(EVERY, marks=pytest.mark.torture)])
def test_many_pairs_have_draws_enough_for_a_star(family: str) -> None:
    """One of 21 methods is far above all others, which are equal. Of 100 draws the smallest p is 0.0099, which
    corrected for 20 pairs would be 0.2."""
    right = [(40, 41, 42)] * 20 + [(96, 97, 98)]
    parts = {number: part(*own, images=100) for number, own in enumerate(right)}
    pairs = [(a, b) for a in range(21) for b in range(a + 1, 21) if family == EVERY or b == 20]
    corrected = correct_holm(compute_p_values(parts, pairs, draws=100))
    assert min(corrected) <= 1 / 400
    assert sum(p < 0.05 for p in corrected) == 20


def test_holm_by_hand() -> None:
    """0.01 of 4, 0.02 of 3, 0.03 of 2, 0.4 of 1; the third is not below the second."""
    assert correct_holm([0.03, 0.01, 0.4, 0.02]) == pytest.approx([0.06, 0.04, 0.4, 0.06])
    assert correct_holm([0.6, 0.7]) == [1.0, 1.0]
    assert correct_holm([]) == []
