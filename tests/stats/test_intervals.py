"""Metrics from counts are scikit-learn's; their intervals cover a known truth as often as they say."""

import numpy as np
import pytest
from made_counts import LEAST, REPETITIONS, WORLDS, count_right
from scipy.stats import beta, norm, t

from lowres_ssl.evaluate.metrics import compute_metrics
from lowres_ssl.stats.intervals import (
    CONFUSION_METRICS,
    compute_interval,
    compute_jackknife,
    compute_jackknife_variance,
    compute_metric,
    compute_share_reach,
    count_by_group,
    count_effective_groups,
)
from speed.intervals import coverage, coverage_of_patients
from speed.simulated import Patients, World, alike

ONE_SEED = {"one seed": World(alike(40, 5), seeds=1)}


@pytest.mark.parametrize("classes", [2, 3, 8])
@pytest.mark.parametrize("name", CONFUSION_METRICS)
def test_metric_from_counts_is_scikit_learns(classes: int, name: str) -> None:
    """Also with a class that has no image, and one never predicted."""
    random = np.random.default_rng(classes)
    confusion = random.integers(0, 5, (6, classes, classes))
    confusion[0, -1] = 0
    confusion[1, :, 0] = 0
    confusion[2, 0], confusion[2, :, 0] = 0, 0
    got = compute_metric(confusion, name)
    for place, counts in enumerate(confusion):
        labels, predictions = (np.repeat(axis.ravel(), counts.ravel()) for axis in np.indices(counts.shape))
        names = [str(number) for number in range(classes)]
        wanted = compute_metrics(labels, predictions, np.eye(classes)[predictions], names)
        assert got[place] == pytest.approx(getattr(wanted, name))


def test_counts_are_of_each_group_single_images_first() -> None:
    labels, predictions, groups = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), np.array([-1, 0, 0, -1])
    got = count_by_group(labels, predictions, groups, 2)
    assert got.tolist() == [[[1, 0], [0, 0]], [[0, 0], [0, 1]], [[0, 1], [0, 1]]]


def test_groups_count_as_if_of_one_size_and_for_equal_classes_those_of_the_smallest() -> None:
    """Two groups of 100 images and 18 of one: 218^2 / (2 * 100^2 + 18)."""
    counts = np.zeros((1, 20, 2, 2), dtype=np.int64)
    counts[:, :, 0, 0] = 1
    counts[:, :2, 0, 0] = 100
    assert count_effective_groups(counts, "accuracy") == pytest.approx(218**2 / 20018)
    counts = np.zeros((3, 200, 3, 3), dtype=np.int64)  # a third class has no image
    counts[:, :190, 0, 0] = 1
    counts[:, 190:, 1, 0] = 1
    wanted = {"accuracy": 200, "weighted_f1": 200, "balanced_accuracy": 10, "macro_f1": 10}
    assert {name: count_effective_groups(counts, name) for name in CONFUSION_METRICS} == wanted


@pytest.mark.parametrize("world", (ONE_SEED | WORLDS).values(), ids=ONE_SEED | WORLDS)
def test_interval_covers_the_truth(world: World) -> None:
    assert coverage(world, "accuracy", REPETITIONS) >= LEAST


@pytest.mark.parametrize("accuracy", [0.95, 0.98])
@pytest.mark.parametrize(("groups", "images"), [(20, 1), (26, 5), (128, 1)])
def test_interval_near_1_covers_the_truth(accuracy: float, groups: int, images: int) -> None:
    """Resampling on a scale of arcsines gave 0.855 to 0.90 here."""
    assert coverage(World.at(accuracy, alike(groups, images), seeds=1, spread=0.02), "accuracy", REPETITIONS) >= LEAST


def test_interval_is_not_much_wider_than_it_has_to_be() -> None:
    """300 images, one seed: at most a tenth wider than the normal one would be."""
    random, world = np.random.default_rng(0), World.at(0.8, alike(300, 1), seeds=1, spread=0.0)
    widths = [(found := compute_interval(world.draw(random)[0][0], "accuracy")).high - found.low for _ in range(50)]
    assert np.mean(widths) < 1.1 * 2 * 1.96 * (0.8 * 0.2 / 300) ** 0.5


@pytest.mark.parametrize("second", [6, 10])
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("name", ["balanced_accuracy", "macro_f1"])
def test_few_images_of_a_class_leave_much_open(second: int, seeds: int, name: str) -> None:
    """Resampled, six or ten images that are nearly all right covered 0.49 or 0.65 of the true balanced accuracies, and
    were called reliable."""
    world = World.at(0.95, alike(200, 1), seeds=seeds, spread=0.01, second=second)
    assert coverage(world, name, REPETITIONS) >= LEAST
    found = compute_interval(world.draw(np.random.default_rng(0))[0][0], name)
    assert (found.groups, found.effective_groups, found.reliable) == (200, second, False)


@pytest.mark.parametrize("name", ["weighted_f1", "macro_f1", "balanced_accuracy"])
def test_interval_of_every_metric_covers_the_truth(name: str) -> None:
    assert coverage(WORLDS["three seeds"], name, REPETITIONS) >= LEAST


@pytest.mark.parametrize(("spread", "harder"), [(0.5, 0.4), (1.0, 0.0), (1.0, 0.2), (1.0, 0.4)])
@pytest.mark.parametrize(("number", "accuracy"), [(40, 0.95), (60, 0.9)])
def test_interval_covers_the_truth_where_large_patients_are_harder(
    spread: float, harder: float, number: int, accuracy: float
) -> None:
    """With as many degrees as groups, counted as if of one size, it was 0.86 and 0.89 of the last pair."""
    patients = Patients(number, spread, harder, correlation=0.6)
    assert coverage_of_patients(patients, accuracy, REPETITIONS) >= 0.91


@pytest.mark.parametrize(
    ("sizes", "images", "groups"),
    [
        ([1] * 30 + [3] * 10, 40, 120**2 / 840),  # (30 + 10 * 3^2)^2 / (30 + 10 * 3^4) groups by the squares
        ([1] * 30 + [10] * 2, 50**2 / 230, 50**2 / 230),  # one large patient more does not undo what the others show
    ],
)
def test_interval_of_unequal_groups_has_the_degrees_of_the_squares_of_their_sizes(
    sizes: list[int], images: float, groups: float
) -> None:
    share, variance, size = 0.8, 0.004, images * (norm.ppf(0.975) / t.ppf(0.975, groups - 1)) ** 2
    right = share * size
    wanted = share - beta.ppf(0.025, right, size - right + 1), beta.ppf(0.975, right + 1, size - right) - share
    assert compute_share_reach(share, variance, np.array(sizes), 60.0) == pytest.approx(wanted)


@pytest.mark.torture
@pytest.mark.parametrize("groups", [15, 20, 26, 40, 128])
@pytest.mark.parametrize("images", [1, 5])
@pytest.mark.parametrize("accuracy", [0.8, 0.9, 0.95, 0.97, 0.98])
@pytest.mark.parametrize(("seeds", "spread"), [(1, 0.02), (2, 0.01), (3, 0.01), (5, 0.01)])
def test_interval_covers_the_truth_everywhere(
    groups: int, images: int, accuracy: float, seeds: int, spread: float
) -> None:
    world = World.at(accuracy, alike(groups, images), seeds=seeds, spread=spread)
    assert coverage(world, "accuracy", 2000) >= 0.93


def test_jackknife_of_a_mean_is_the_textbooks_variance() -> None:
    found = compute_jackknife(count_right(340), "accuracy")
    assert found.values == pytest.approx(0.85)
    assert compute_jackknife_variance(found.left_out.mean(axis=0)) == pytest.approx(0.85 * 0.15 / 399)


def test_interval_of_one_seed_is_the_exact_binomial_one_of_the_effective_size() -> None:
    """17 of 20 images: 19 of them, since the variance is estimated, times what it is uncertain by."""
    found = compute_interval(count_right(17, images=20), "accuracy")
    size = 19 * (norm.ppf(0.975) / t.ppf(0.975, 19)) ** 2
    right = 0.85 * size
    wanted = beta.ppf(0.025, right, size - right + 1), beta.ppf(0.975, right + 1, size - right)
    assert (found.low, found.high) == pytest.approx(wanted)
    assert (found.spread, found.seeds, found.groups) == (None, 1, 20)


def test_what_seeds_do_is_added_as_squares() -> None:
    """Of three seeds the half interval is 4.303 standard errors; that of the groups is as for one seed."""
    counts = count_right(300, 320, 340)
    values = counts[:, :, 0, 0].mean(axis=1)
    found = compute_interval(counts, "accuracy")
    left_out = compute_jackknife(counts, "accuracy").left_out
    own = compute_jackknife_variance(left_out - left_out.mean(axis=0)).sum() / 2
    variance = max(values.var(ddof=1) - own, values.var(ddof=1) / 2)
    below, above = compute_share_reach(
        0.8, float(compute_jackknife_variance(left_out.mean(axis=0))), np.ones(400, dtype=np.int64), 400.0
    )
    for got, reach in ((0.8 - found.low, below), (found.high - 0.8, above)):
        assert got == pytest.approx((reach**2 + t.ppf(0.975, 2) ** 2 * variance / 3) ** 0.5)
    assert (found.value, found.spread, found.seeds) == (pytest.approx(0.8), pytest.approx(values.std(ddof=1)), 3)


def test_seeds_that_err_on_other_images_differ_by_half_of_their_variance_at_least() -> None:
    """All of their variance would go, if a few seeds could tell."""
    counts, _ = World(alike(60, 3), seeds=3, seed=0.0).draw(np.random.default_rng(1))
    found = compute_jackknife(counts[0], "accuracy")
    assert found.values.var(ddof=1) > 0
    assert found.spread.variance == pytest.approx(found.values.var(ddof=1) / 2)
    assert found.spread.degrees == 2


def test_few_groups_are_marked_and_so_are_many_where_a_few_have_most_images() -> None:
    unlike_30 = np.full((1, 30, 2, 2), 1)
    unlike_30[:, :2] = 50
    few, enough = (np.full((1, groups, 2, 2), 3) for groups in (24, 25))
    assert [compute_interval(counts, "accuracy").reliable for counts in (few, enough, unlike_30)] == [
        False,
        True,
        False,
    ]


def test_one_group_leaves_everything_open() -> None:
    found = compute_interval(np.array([[[[40, 10], [5, 45]]]]), "accuracy")
    assert (found.low, found.high) == (0.0, 1.0)


def test_class_of_one_group_leaves_its_share_open() -> None:
    """Half of the balanced accuracy."""
    counts = np.zeros((1, 60, 2, 2), dtype=np.int64)
    counts[:, 1:, 0, 0] = 1
    counts[:, 0, 1, 1] = 7
    found = compute_interval(counts, "balanced_accuracy")
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(1 - (0.5**2 + (0.5 * (1 - 0.025 ** (1 / 59))) ** 2) ** 0.5)


def test_no_fault_seen_is_not_no_fault_possible() -> None:
    counts = np.tile(np.eye(2, dtype=np.int64), (1, 50, 1, 1))
    found = compute_interval(counts, "weighted_f1")
    assert (found.value, found.high) == (1.0, 1.0)
    assert found.low == pytest.approx(0.025 ** (1 / 50))


def test_mean_over_draws_is_that_of_each_seed() -> None:
    counts = np.stack([count_right(300, 320), count_right(310, 350)])  # two draws of two seeds
    found = compute_interval(counts, "accuracy")
    seeds = np.array([305, 335]) / 400
    assert (found.value, found.spread) == (pytest.approx(seeds.mean()), pytest.approx(seeds.std(ddof=1)))
    assert compute_interval(counts[:1], "macro_f1") == compute_interval(counts[0], "macro_f1")
