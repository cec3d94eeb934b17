"""A difference is called one seldom enough where there is none, and often enough where there is."""

from dataclasses import replace

import numpy as np
import pytest
from simulated import World, alike, unlike

from lowres_ssl.statistics.comparison import Comparison, Scored, aligned, compare, draw_swaps, holm
from lowres_ssl.statistics.uncertainty import Counts, draw

REPETITIONS = 300
WORLDS = {
    # Of one seed each, what could be found is a difference between two encoders; here there is none.
    "one seed": World(alike(40, 5), seeds=1, seed=0.0),
    "three seeds": World(alike(40, 5), seeds=3),
    "three seeds that differ much": World(alike(40, 5), seeds=3, seed=0.5),
    "two seeds that err on other images": World(alike(150, 1), seeds=2, seed=0.1, noise=0.8),
    "groups of very different size": World(unlike(30), seeds=3),
}


def compared(a: Counts, b: Counts, seed: int = 0, draws: int = 400) -> Comparison:
    groups = a.shape[1]
    return compare(a, b, "accuracy", draw(groups, seed=seed, draws=draws), draw_swaps(groups, seed=seed, draws=draws))


def share_found(world: World, better: float) -> float:
    """How often p is at most 0.05."""
    random = np.random.default_rng(0)
    found = 0
    for repetition in range(REPETITIONS):
        a, b = world.draw(random, methods=2, better=better)[0]
        found += compared(a, b, repetition).p <= 0.05
    return found / REPETITIONS


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_no_difference_is_found_where_there_is_none(world: World) -> None:
    assert share_found(world, 0.0) <= 0.06


@pytest.mark.parametrize("name", ["one seed", "three seeds"])
def test_real_difference_is_found_where_seeds_differ_little(name: str) -> None:
    assert share_found(replace(WORLDS[name], seed=0.02), 0.8) > 0.8


def of_accuracy(*right: int, images: int = 400) -> Counts:
    """A seed a number of images that are recognised, out of 400 in as many groups."""
    counts = np.zeros((len(right), images, 2, 2), dtype=np.int64)
    for seed, number in enumerate(right):
        counts[seed, :number, 0, 0] = 1
        counts[seed, number:, 0, 1] = 1
    return counts


def test_one_lucky_seed_makes_no_difference() -> None:
    lucky = compared(of_accuracy(300, 300, 380), of_accuracy(300, 300, 300))
    steady = compared(of_accuracy(325, 327, 328), of_accuracy(300, 300, 300))
    assert lucky.difference == pytest.approx(steady.difference)
    assert lucky.p > 0.2
    assert lucky.low < 0 < lucky.high
    assert steady.p < 0.01
    assert steady.low > 0


def test_other_way_round_is_the_same_with_the_other_sign() -> None:
    a, b = of_accuracy(320, 330), of_accuracy(300, 310)
    there, back = compared(a, b), compared(b, a)
    assert there.difference == pytest.approx(-back.difference)
    assert there.difference == pytest.approx(0.05)
    assert there.p == pytest.approx(back.p, abs=0.02)


def test_the_same_predictions_are_no_difference() -> None:
    counts = of_accuracy(320, 330)
    found = compared(counts, counts)
    assert (found.difference, found.p) == (0.0, 1.0)
    assert found.low == -found.high < 0  # groups that were not drawn might tell them apart


def test_no_p_value_is_zero() -> None:
    assert compared(of_accuracy(400), of_accuracy(0), draws=99).p == pytest.approx(1 / 100)


def test_one_group_can_tell_nothing() -> None:
    found = compared(np.array([[[[9, 1], [1, 9]]]]), np.array([[[[5, 5], [5, 5]]]]))
    assert (found.p, found.low, found.high) == (1.0, -1.0, 1.0)


def test_different_test_images_are_an_error() -> None:
    with pytest.raises(ValueError, match="different test images"):
        compared(of_accuracy(30, images=40), of_accuracy(30, images=39))


def test_holm_by_hand() -> None:
    """0.01 of 4, 0.02 of 3, 0.03 of 2, 0.4 of 1; the third is not below the second."""
    assert holm([0.03, 0.01, 0.4, 0.02]) == pytest.approx([0.06, 0.04, 0.4, 0.06])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([]) == []


def test_seeds_that_all_have_are_paired() -> None:
    a = Scored(of_accuracy(1, 2, 3), (0, 1, 2))
    b = Scored(of_accuracy(30, 40, 10), (3, 4, 1))
    lone = Scored(of_accuracy(7), (9,))
    of_a, of_b, of_lone = (counts[:, :, 0, 0].sum(axis=1).tolist() for counts in aligned([a, b, lone]))
    assert (of_a, of_b, of_lone) == ([2], [10], [7])


def test_seeds_of_which_none_is_shared_are_paired_as_they_come() -> None:
    a, b = Scored(of_accuracy(1, 2, 3), (0, 1, 2)), Scored(of_accuracy(4, 5), (3, 4))
    of_a, of_b = (counts[:, :, 0, 0].sum(axis=1).tolist() for counts in aligned([a, b]))
    assert (of_a, of_b) == ([1, 2], [4, 5])
