"""Compare methods on the same test images: differences with their intervals, and how often chance makes them.

Chance is a swap test with the error of seeds, its p corrected for all pairs (Holm).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from lowres_ssl.stats.intervals import (
    LINEAR_METRICS,
    MIN_RELIABLE_GROUPS,
    TAIL_PROBABILITY,
    Counts,
    Floats,
    JackknifeScores,
    SeedSpread,
    compute_jackknife,
    compute_jackknife_variance,
    compute_metric,
    count_effective_groups,
    get_t_quantile,
)

K = TypeVar("K")
Swaps = NDArray[np.float32]  # [draws, G]: 1 where the predictions of a group are exchanged

SIGNIFICANCE_LEVEL = 0.05
MIN_POOLED_SEEDS = 3  # a method with fewer keeps its own spread
MIN_SEED_VARIANCE = 1e-9
DRAWS_A_TEST = 400  # so that the smallest p, corrected for all of them, is at most 1/400
SWAP_BLOCK = 4096  # draws at a time
ROUNDING_DIGITS = 12


@dataclass(frozen=True)
class MethodCounts:
    """Hold a method's counts on the test images, int64 [S, G, C, C], one a seed.

    depends_on_seed: whether another seed would give other predictions; frozen features of given weights, scored by KNN,
    do not depend on one.
    """

    counts: Counts
    depends_on_seed: bool = True

    def make_part(self, **metrics: float) -> "ContrastPart":
        """Build the sum of `metrics`, each times its factor: make_part(accuracy=1.0)."""
        terms = tuple((factor, self.counts, name) for name, factor in metrics.items())
        return ContrastPart(terms, self.depends_on_seed)


@dataclass(frozen=True)
class ContrastPart:
    """Hold a sum of terms of the same S seeds: a factor, counts int64 [S, G, C, C], and the metric of them that is
    summed.

    Terms are paired by seed; the parts of a contrast are not.
    """

    terms: tuple[tuple[float, Counts, str], ...]
    depends_on_seed: bool = True

    @property
    def counts(self) -> Counts:
        """Return the counts of the first term: the others are of the same seeds and test images."""
        return self.terms[0][1]

    @property
    def seeds(self) -> int:
        return len(self.counts)

    @property
    def groups(self) -> int:
        return int(self.counts.shape[1])

    @property
    def is_of_one_seed(self) -> bool:
        """Whether it depends on a seed and has a single one, so that the spread of its seeds is unknown."""
        return self.depends_on_seed and self.seeds == 1

    @cached_property
    def value(self) -> float:
        """Compute the mean over seeds."""
        return float(
            sum(factor * compute_metric(counts.sum(axis=1), name).mean() for factor, counts, name in self.terms)
        )

    @cached_property
    def measured(self) -> JackknifeScores:
        """Compute the sum with and without each of the test groups, of which there are at least two."""
        each = [(factor, compute_jackknife(counts, name)) for factor, counts, name in self.terms]
        values = sum((factor * own.values for factor, own in each), np.zeros(1))
        return JackknifeScores(values, sum((factor * own.left_out for factor, own in each), np.zeros(1)))


@dataclass(frozen=True)
class Difference:
    """Hold a contrast of methods with its 95% interval. seeds: the fewest of a part that depends on a seed, None
    without."""

    value: float
    low: float
    high: float
    seeds: int | None
    groups: int
    effective_groups: float

    @property
    def reliable(self) -> bool:
        return self.effective_groups >= MIN_RELIABLE_GROUPS

    @property
    def is_of_one_seed(self) -> bool:
        """Whether the interval is all that the metric allows, for want of a second seed."""
        return self.seeds == 1


def compute_contrast(parts: Sequence[tuple[float, ContrastPart]], pooled: SeedSpread | None = None) -> Difference:
    """Add the parts, each times its factor and the mean over its seeds, and compute the 95% interval of the sum.

    All are of the same test images, so what makes an image hard for everyone cancels: the variance of the groups is
    that of the whole sum (jackknife), with a Student t of k - 1 degrees for k groups, counted as if of one size. The
    seeds' error is that of `compute_seed_error`; both are added as squares.

    Where a part depends on a seed and has one alone, or with one test group, the interval is all that the metrics
    allow. Where nothing moves, it reaches as far as k groups without an exception leave open (exact, binomial). Raises
    `ValueError` if the test images differ.
    """
    check_same_images([part for _, part in parts])
    terms = [(factor * own, counts, name) for factor, part in parts for own, counts, name in part.terms]
    effective = min(count_effective_groups(counts, name) for _, counts, name in terms)
    seeds = min((part.seeds for _, part in parts if part.depends_on_seed), default=None)
    value = sum(factor * part.value for factor, part in parts)
    low, high = (sum(end(factor, 0.0) for factor, _, _ in terms) for end in (min, max))  # metrics lie between 0 and 1
    groups = parts[0][1].groups
    if groups > 1 and seeds != 1:
        left_out = sum((factor * part.measured.left_out.mean(axis=0) for factor, part in parts), np.zeros(1))
        degrees = max(effective, 2.0) - 1
        error = compute_seed_error(parts, pooled)
        half = (
            get_t_quantile(degrees) ** 2 * float(compute_jackknife_variance(left_out))
            + get_t_quantile(error.degrees) ** 2 * error.variance
        ) ** 0.5
        if half < MIN_SEED_VARIANCE:
            half = (1 - TAIL_PROBABILITY ** (1 / (degrees + 1))) * max(high, -low)
        low, high = max(low, value - half), min(high, value + half)
    return Difference(value, low, high, seeds, groups, effective)


def check_same_images(parts: Sequence[ContrastPart]) -> None:
    """Raises `ValueError` unless all are of the same test images, in the same groups."""
    every = [counts for part in parts for _, counts, _ in part.terms]
    truth = every[0][0].sum(axis=-1)  # [G, C]
    for counts in every:
        if counts.shape[1] != len(truth) or (counts.sum(axis=-1) != truth).any():
            raise ValueError("the terms are of different test images")


def pool_seed_spread(parts: Sequence[ContrastPart]) -> SeedSpread | None:
    """Average the spread of one seed over all parts that depend on one and have several; None without such a part, or
    with one test group.

    Each part counts once, however many seeds it has: ten seeds of a random encoder, which may differ little, do
    not inform on a method that has three. The degrees are those of such a mean where the true variances are alike.
    """
    spreads = [part.measured.spread for part in parts if part.depends_on_seed and part.seeds > 1 and part.groups > 1]
    if not spreads:
        return None
    number = len(spreads)
    degrees = number**2 / sum(1 / own.degrees for own in spreads)
    return SeedSpread(sum(own.variance for own in spreads) / number, degrees)


def compute_seed_error(parts: Sequence[tuple[float, ContrastPart]], pooled: SeedSpread | None) -> SeedSpread:
    """Add up the variance that seeds give the sum of the parts, with its degrees of freedom (Welch and Satterthwaite).

    A variance of three seeds that is small by luck makes a difference look real. So a part has the larger of its own
    and the `pooled` variance, with the degrees of that one. A part of two seeds keeps its own, since with the pooled
    one it errs too often; `docs/statistics.md` has the simulations.
    """
    used = []
    for factor, part in parts:
        if part.depends_on_seed and part.seeds > 1:
            spread = part.measured.spread
            if pooled is not None and part.seeds >= MIN_POOLED_SEEDS and pooled.variance > spread.variance:
                spread = pooled
            used.append(SeedSpread(spread.variance * factor**2 / part.seeds, spread.degrees))
    variance = sum(own.variance for own in used)
    if variance == 0:
        return SeedSpread(0.0, 1.0)
    return SeedSpread(variance, variance**2 / sum(own.variance**2 / own.degrees for own in used))


def compute_differences(methods: Mapping[K, ContrastPart], pairs: Sequence[tuple[K, K]]) -> list[Difference]:
    """Compute first minus second of each pair, the seeds of all `methods` pooled."""
    pooled = pool_seed_spread(list(methods.values()))
    return [compute_contrast([(1.0, methods[first]), (-1.0, methods[second])], pooled) for first, second in pairs]


class SwapTest:
    """Test two methods, each by one metric, by exchanging their predictions in some test groups for all seeds together.

    The seeds are paired in turn, each as often as any other of its method. The mean over seeds of a linear metric is
    that of their sum, which is faster. `error`: of the seeds of both.
    """

    def __init__(self, one: ContrastPart, other: ContrastPart, error: SeedSpread) -> None:
        ((_, counts, self.name),), ((_, other_counts, _),) = one.terms, other.terms
        self.error = error
        pairs = int(np.lcm(one.seeds, other.seeds))
        both = [np.resize(own, (pairs, *own.shape[1:])) for own in (counts, other_counts)]
        if self.name in LINEAR_METRICS:
            both = [own.sum(axis=0, keepdims=True) for own in both]
        self.first, self.second = (np.moveaxis(own, 0, 1).astype(np.float32) for own in both)  # [G, P, C, C]
        nothing = np.zeros((1, len(self.first)), dtype=np.float32)
        self.seen = round(abs(float(self.compute_swapped_differences(nothing)[0])), ROUNDING_DIGITS)

    def compute_swapped_differences(self, swaps: Swaps) -> Floats:
        """Compute the difference after each of the swaps: float64 [draws]."""
        exchanged = np.tensordot(swaps, self.first - self.second, axes=1).astype(np.float64)  # [draws, P, C, C]
        first, second = self.first.sum(axis=0) - exchanged, self.second.sum(axis=0) + exchanged
        return np.asarray((compute_metric(first, self.name) - compute_metric(second, self.name)).mean(axis=1))

    def count_as_large(self, swaps: Swaps) -> float:
        """Count the swaps after which the difference, with the error of seeds added, is as large as without; each
        counts with the probability that the error makes it so."""
        # Equal counts may differ in the last digits of their sums, and an accuracy has few values.
        sizes = np.abs(self.compute_swapped_differences(swaps)).round(ROUNDING_DIGITS)
        moved, times = np.unique(sizes, return_counts=True)
        if self.error.variance == 0:
            return float(times[moved >= self.seen].sum())
        scale, degrees = self.error.variance**0.5, self.error.degrees
        tails = stdtr(degrees, (-self.seen - moved) / scale) + stdtr(degrees, (moved - self.seen) / scale)
        return float(tails @ times)


def compute_p_values(
    methods: Mapping[K, ContrastPart], pairs: Sequence[tuple[K, K]], *, draws: int, seed: int = 1
) -> list[float]:
    """Compute how often chance alone makes a difference as large as that of each pair; each method by one metric.

    Between equal methods it does not matter whose prediction is whose. So predictions are swapped in half of the test
    groups, at random, for all seeds together; to that is added the seeds' error, a Student t as in
    `compute_seed_error`, the seeds of all `methods` pooled. p = (1 + draws as large as what was seen) / (1 + draws),
    with at least `DRAWS_A_TEST` draws a pair, since p is corrected for all pairs. The same arguments give the same p.

    Raises `ValueError` if the test images differ, or if a method that depends on a seed has a single one.
    """
    pooled = pool_seed_spread(list(methods.values()))
    tests = []
    for first, second in pairs:
        one, other = methods[first], methods[second]
        check_same_images([one, other])
        if one.is_of_one_seed or other.is_of_one_seed:
            raise ValueError(f"{first} and {second}: one seed says nothing of others, so there is no p")
        error = compute_seed_error([(1.0, one), (-1.0, other)], pooled) if one.groups > 1 else SeedSpread(0.0, 1.0)
        tests.append(SwapTest(one, other, error))
    if not tests:
        return []
    draws = max(draws, DRAWS_A_TEST * len(tests))
    counted = np.zeros(len(tests))
    random = np.random.default_rng(seed)
    for start in range(0, draws, SWAP_BLOCK):
        size = (min(SWAP_BLOCK, draws - start), len(tests[0].first))
        swaps = random.integers(0, 2, size=size, dtype=np.uint8).astype(np.float32)
        counted += [test.count_as_large(swaps) for test in tests]
    return [(1 + own) / (draws + 1) for own in counted.tolist()]


def correct_holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p values of tests made at once (Holm 1979): each times those not smaller, in order, at most 1."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return [float(value) for value in adjusted]
