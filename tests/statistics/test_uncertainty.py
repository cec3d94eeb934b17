"""Intervals cover a known truth as often as they say; the metrics from counts are scikit-learn's."""

from typing import Any

import numpy as np
import pytest
from scipy.special import stdtrit
from simulated import World, alike, unlike

from lowres_ssl.metrics import score
from lowres_ssl.statistics.uncertainty import METRICS, Term, contrast, counts_by_group, draw, interval, metric, moves

REPETITIONS = 300
LEAST, MOST = 0.92, 0.985  # of intervals called 95%; three standard errors of the simulation below and above

WORLDS = {
    "one seed": World(alike(40, 5), seeds=1),
    "three seeds": World(alike(40, 5), seeds=3),
    "three seeds that differ much": World(alike(40, 5), seeds=3, seed=0.5),
    "two seeds that err on other images": World(alike(150, 1), seeds=2, seed=0.1, noise=0.8),
    "groups of very different size": World(unlike(30), seeds=3),
}


def coverage(world: World, name: str, *, groups: bool = True) -> float:
    random = np.random.default_rng(0)
    covered = 0
    for repetition in range(REPETITIONS):
        counts, shifts = world.draw(random, groups=groups)
        found = interval(counts[0], name, seed=repetition, draws=400)
        # One seed says nothing of others: its interval is of the encoder that there is.
        truth = world.truth(name, float(shifts[0, 0]) if world.seeds == 1 else None)
        covered += found.low <= truth <= found.high
    return covered / REPETITIONS


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_interval_covers_the_truth(world: World) -> None:
    assert LEAST <= coverage(world, "accuracy") <= MOST


def test_interval_of_weighted_f1_covers_the_truth() -> None:
    assert LEAST <= coverage(WORLDS["three seeds"], "weighted_f1") <= MOST


def test_resampling_images_instead_of_groups_would_not_cover() -> None:
    world = World(alike(40, 5), seeds=1, group=0.8)
    assert coverage(world, "accuracy", groups=False) < 0.8
    assert coverage(world, "accuracy") >= LEAST


def test_resampling_three_seeds_without_widening_would_not_cover() -> None:
    world = WORLDS["three seeds that differ much"]
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(REPETITIONS):
        counts = world.draw(random)[0][0]
        groups = counts.shape[1]
        weights = random.multinomial(groups, np.full(groups, 1 / groups), size=400).astype(np.float64)
        values = metric(np.tensordot(weights, counts.astype(np.float64), axes=(1, 1)), "accuracy")
        means = np.take_along_axis(values, random.integers(0, 3, values.shape), axis=1).mean(axis=1)
        low, high = np.quantile(means, [0.025, 0.975])
        covered += low <= world.truth("accuracy") <= high
    assert covered / REPETITIONS < 0.85


def test_interval_of_a_difference_covers_the_truth() -> None:
    world = WORLDS["three seeds"]
    random = np.random.default_rng(0)
    covered = 0
    for repetition in range(REPETITIONS):
        a, b = world.draw(random, methods=2)[0]
        terms = [Term(1.0, a, "accuracy"), Term(-1.0, b, "accuracy")]
        found = contrast(terms, draw(a.shape[1], seed=repetition, draws=400))
        covered += found.low <= 0 <= found.high
    assert LEAST <= covered / REPETITIONS <= MOST


@pytest.mark.parametrize("classes", [2, 3, 8])
@pytest.mark.parametrize("name", METRICS)
def test_metric_from_counts_is_scikit_learns(classes: int, name: str) -> None:
    """Also with a class that has no image, and one never predicted."""
    random = np.random.default_rng(classes)
    confusion = random.integers(0, 5, (6, classes, classes))
    confusion[0, -1] = 0
    confusion[1, :, 0] = 0
    confusion[2, 0], confusion[2, :, 0] = 0, 0
    got = metric(confusion, name)
    for place, counts in enumerate(confusion):
        labels, predictions = (np.repeat(axis.ravel(), counts.ravel()) for axis in np.indices(counts.shape))
        names = [str(number) for number in range(classes)]
        assert got[place] == pytest.approx(score(labels, predictions, np.eye(classes)[predictions], names)[name])


def test_unknown_metric_is_an_error() -> None:
    with pytest.raises(ValueError, match="auroc"):
        metric(np.eye(2), "auroc")


def counted(groups: list[str], order: list[int]) -> Any:
    """Four images, of labels 0 0 1 1 and predictions 0 1 1 1, in another order."""
    labels, predictions, ids = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), np.array(["a", "b", "c", "d"])
    return counts_by_group(labels[order], predictions[order], np.array(groups)[order], 2, ids=ids[order])


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_counts_are_of_each_group_in_whatever_order_the_images_come(order: list[int]) -> None:
    got = counted(["", "ann", "ann", ""], order)
    assert got.tolist() == [[[1, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 1], [0, 1]]]  # image a, image d, ann


def test_image_without_a_group_is_not_in_the_group_of_its_own_id() -> None:
    assert len(counted(["", "a", "a", "b"], [0, 1, 2, 3])) == 3


def test_interval_says_what_it_is_of() -> None:
    counts = np.stack([[[[3 - wrong, wrong], [0, 2]]] * 20 for wrong in (0, 1, 2)])
    found = interval(counts, "accuracy")
    assert (found.value, found.spread, found.seeds, found.groups) == (pytest.approx(0.8), pytest.approx(0.2), 3, 20)
    assert found.low < 0.6
    assert found.reliable
    assert interval(counts[:1], "accuracy").spread is None


def test_few_groups_are_marked_and_so_are_many_where_a_few_have_most_images() -> None:
    alike_14 = np.full((1, 14, 2, 2), 3)
    assert not interval(alike_14, "accuracy").reliable
    unlike_20 = np.full((1, 20, 2, 2), 1)
    unlike_20[:, :2] = 50
    assert not interval(unlike_20, "accuracy").reliable


def test_one_group_says_nothing() -> None:
    found = interval(np.array([[[[40, 10], [5, 45]]]]), "accuracy")
    assert (found.low, found.high) == (0.0, 1.0)


def test_no_fault_seen_is_not_no_fault_possible() -> None:
    counts = np.tile(np.eye(2, dtype=np.int64), (1, 50, 1, 1))
    found = interval(counts, "weighted_f1")
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 50))


def test_two_methods_without_a_difference_may_still_differ_on_groups_that_were_not_drawn() -> None:
    faultless = np.tile(np.eye(2, dtype=np.int64), (3, 50, 1, 1))
    same = WORLDS["three seeds"].draw(np.random.default_rng(1))[0][0]
    for counts in (faultless, same):
        groups = counts.shape[1]
        terms = [Term(1.0, counts, "accuracy"), Term(-1.0, counts, "accuracy")]
        found = contrast(terms, draw(groups))
        unseen = 1 - 0.025 ** (1 / found.effective_groups)
        assert (found.value, found.low, found.high) == pytest.approx((0.0, -unseen, unseen))


def test_nothing_right_is_not_nothing_ever_right() -> None:
    found = interval(np.tile(np.array([[0, 1], [1, 0]]), (1, 50, 1, 1)), "accuracy")
    assert (found.value, found.low) == (0.0, 0.0)
    assert found.high == pytest.approx(1 - 0.025 ** (1 / 50))


def test_same_draws_make_the_same_interval() -> None:
    counts = WORLDS["three seeds"].draw(np.random.default_rng(1))[0][0]
    assert interval(counts, "accuracy", seed=4) == interval(counts, "accuracy", seed=4)


def test_what_all_methods_find_hard_cancels_in_a_contrast() -> None:
    counts = WORLDS["one seed"].draw(np.random.default_rng(1))[0][0]
    other = counts.copy()
    group, label, wrong = np.argwhere((other[0] > 0) & ~np.eye(other.shape[-1], dtype=bool))[0]
    other[0, group, label, wrong] -= 1  # one image more is right
    other[0, group, label, label] += 1
    found = contrast([Term(1.0, counts, "accuracy"), Term(-1.0, other, "accuracy")], draw(counts.shape[1]))
    alone = interval(counts, "accuracy")
    assert found.value == pytest.approx(-1 / counts.sum())
    assert 0 < found.high - found.low < (alone.high - alone.low) / 4


def test_contrast_of_different_test_images_is_an_error() -> None:
    counts = np.full((1, 20, 2, 2), 3)
    other = counts.copy()
    other[0, 0, 0, 0] += 1
    for wrong in (other, counts[:, :19]):
        with pytest.raises(ValueError, match="different test images"):
            contrast([Term(1.0, counts, "accuracy"), Term(-1.0, wrong, "accuracy")], draw(20))


def test_one_seed_stands_beside_each_seed_of_another() -> None:
    counts = WORLDS["three seeds"].draw(np.random.default_rng(1), methods=2)[0]
    terms = [Term(1.0, counts[0], "accuracy"), Term(-1.0, counts[1][:1], "accuracy")]
    found = contrast(terms, draw(counts.shape[2]))
    assert found.seeds == 3
    assert found.spread == pytest.approx(interval(counts[0], "accuracy").spread)


def test_at_most_half_of_the_seeds_variance_is_taken_for_that_of_their_images() -> None:
    """Seeds that differ by the images they err on alone: all of their variance would go, if a few seeds could tell."""
    counts, _ = World(alike(60, 3), seeds=3, seed=0.0).draw(np.random.default_rng(1))
    draws = draw(60)
    moved = moves([Term(1.0, counts[0], "accuracy")], draws)
    variance = moved.observed.var(ddof=1)
    assert variance > 0
    np.testing.assert_allclose(moved.seeds, np.sqrt(variance / 2 / 3) * stdtrit(2, draws.seeds))
