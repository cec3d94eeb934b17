"""A difference is called one seldom enough where there is none, and often enough where there is."""

from dataclasses import replace

import numpy as np
import pytest
from made_counts import part

from lowres_ssl.stats.paired_tests import ContrastPart, MethodCounts
from lowres_ssl.stats.significance import compute_p_values, correct_holm
from speed.intervals import EVERY, REFERENCE, SPREADS, error, error_beside_ten, power, power_beside_ten
from speed.simulated import World, alike, unlike

IMAGES = alike(200, 1)


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


WORLDS = {
    "three seeds": World(alike(40, 5), seeds=3),
    "three seeds that differ much": World(alike(40, 5), seeds=3, seed=0.5),
    "two seeds that err on other images": World(alike(150, 1), seeds=2, seed=0.1, noise=0.8),
    "groups of very different size": World(unlike(30), seeds=3),
    "near 1, few groups": World.at(0.97, alike(26, 5), seeds=3, spread=0.01),
}


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_two_equal_methods_have_a_small_p_seldom(world: World) -> None:
    assert error(world, REFERENCE, 300, methods=2) <= 0.088


def test_true_difference_to_the_reference_has_its_star() -> None:
    """Five methods, three seeds of spread 0.02: 0.70 in the long run."""
    assert power(World.at(0.7, IMAGES, seeds=3, spread=0.02), 0.82, REFERENCE, 150) >= 0.6


def test_more_seeds_find_more() -> None:
    few, many = (power(World.at(0.7, IMAGES, seeds=n, spread=0.02), 0.76, REFERENCE, 60) for n in (3, 8))
    assert many > few + 0.2


def test_one_seed_has_no_p() -> None:
    for a, b in ((part(390), part(200)), (part(390, 391, 392), part(200))):
        with pytest.raises(ValueError, match="one seed says nothing of others"):
            p_of(a, b)


def test_seeds_of_which_one_is_shared_err_no_more_than_others() -> None:
    """Seeds 0, 1, 2 against 2, 3, 4: with the shared one alone, two equal methods differed in 0.18 to 0.37."""
    random, found = np.random.default_rng(0), 0
    world = World.at(0.75, IMAGES, seeds=3, spread=0.05)
    for _ in range(300):
        a, b = world.scored(random, 2).values()
        found += p_of(a.make_part(accuracy=1.0), replace(b, seeds=(2, 3, 4)).make_part(accuracy=1.0), draws=400) < 0.05
    assert found / 300 <= 0.088


def test_one_result_is_enough_of_what_depends_on_no_seed() -> None:
    """Both without seeds: the swap test alone, of 40 images that only one of the two recognised."""
    fixed = part(300, depends_on_seed=False)
    assert p_of(part(340, depends_on_seed=False), fixed) == pytest.approx(1 / 1001)
    assert p_of(part(302, depends_on_seed=False), fixed) == pytest.approx(0.5, abs=0.05)  # 2 of 2: sign test
    assert p_of(part(330, 335, 340), fixed) < 0.01


def test_the_same_predictions_are_no_difference() -> None:
    method = part(320, 330, 340)
    assert p_of(method, method) == 1.0


def test_f1_is_swapped_seed_by_seed() -> None:
    """Of other numbers of seeds, too; a mean over seeds of F1 is not that of their sum."""
    random, world = np.random.default_rng(3), World.at(0.7, IMAGES, seeds=3, spread=0.02)
    methods = world.scored(random, 2, better=1.5)
    parts = {key: own.make_part(weighted_f1=1.0) for key, own in methods.items()}
    assert compute_p_values(parts, [(0, 1)], draws=500)[0] < 0.05
    parts[1] = MethodCounts(methods[1].counts[:2], (0, 1)).make_part(weighted_f1=1.0)
    assert 0 < compute_p_values(parts, [(0, 1)], draws=500)[0] < 1


def stars_of_one_among(methods: int, family: str) -> int:
    """How many pairs have a star, where one method is far above all others, which are equal."""
    right = [(40, 41, 42)] * (methods - 1) + [(96, 97, 98)]
    parts = {number: part(*own, images=100) for number, own in enumerate(right)}
    pairs = [(a, b) for a in range(methods) for b in range(a + 1, methods) if family == EVERY or b == methods - 1]
    corrected = correct_holm(compute_p_values(parts, pairs, draws=100))
    assert min(corrected) <= 1 / 400
    return sum(p < 0.05 for p in corrected)


def test_many_pairs_have_draws_enough_for_a_star() -> None:
    """Of 100 draws the smallest p is 0.0099, which corrected for 20 pairs would be 0.2."""
    assert stars_of_one_among(21, REFERENCE) == 20


@pytest.mark.torture
def test_each_of_21_methods_against_each_has_draws_enough() -> None:
    """Of 4,000 draws the smallest p, corrected for 210 pairs, would be 0.0525."""
    assert stars_of_one_among(21, EVERY) == 20


def test_holm_by_hand() -> None:
    """0.01 of 4, 0.02 of 3, 0.03 of 2, 0.4 of 1; the third is not below the second."""
    assert correct_holm([0.03, 0.01, 0.4, 0.02]) == pytest.approx([0.06, 0.04, 0.4, 0.06])
    assert correct_holm([0.6, 0.7]) == [1.0, 1.0]
    assert correct_holm([]) == []
