"""Compute how often chance alone makes a difference as large: a swap test with the error of seeds, and Holm's p."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from lowres_ssl.stats.bootstrap import SeedSpread
from lowres_ssl.stats.confusion import LINEAR_METRICS, Floats, compute_metric
from lowres_ssl.stats.paired_tests import ContrastPart, check_same_images, compute_seed_error, pool_seed_spread

K = TypeVar("K")
Swaps = NDArray[np.float32]  # [draws, G]: 1 where the predictions of a group are exchanged

DRAWS_A_TEST = 400  # so that the smallest p, corrected for all of them, is at most 1/400
SWAP_BLOCK = 4096  # draws at a time
ROUNDING_DIGITS = 12


@dataclass(frozen=True)
class SwapTest:
    """Two methods, float32 [G, P, C, C] each, of P pairs of seeds; `error`: of the seeds of both."""

    first: NDArray[np.float32]
    second: NDArray[np.float32]
    name: str
    error: SeedSpread

    @classmethod
    def of(cls, first: ContrastPart, second: ContrastPart, error: SeedSpread) -> Self:
        """Pair the seeds in turn, each as often as any other of its method. The mean over seeds of a linear metric is
        that of their sum, which is faster."""
        ((term,), (other,)) = first.terms, second.terms
        pairs = int(np.lcm(first.seeds, second.seeds))
        both = [np.resize(counts, (pairs, *counts.shape[1:])) for counts in (term.counts, other.counts)]
        if term.name in LINEAR_METRICS:
            both = [counts.sum(axis=0, keepdims=True) for counts in both]
        one, two = (np.moveaxis(counts, 0, 1).astype(np.float32) for counts in both)
        return cls(one, two, term.name, error)

    @cached_property
    def seen(self) -> float:
        """The size of the difference without a swap."""
        nothing = np.zeros((1, len(self.first)), dtype=np.float32)
        return abs(float(self.compute_swapped_differences(nothing)[0]))

    def compute_swapped_differences(self, swaps: Swaps) -> Floats:
        """The difference after each of the swaps: float64 [draws]."""
        exchanged = np.tensordot(swaps, self.first - self.second, axes=1).astype(np.float64)  # [draws, P, C, C]
        first, second = self.first.sum(axis=0) - exchanged, self.second.sum(axis=0) + exchanged
        return np.asarray((compute_metric(first, self.name) - compute_metric(second, self.name)).mean(axis=1))

    def count_as_large(self, swaps: Swaps) -> float:
        """Count the swaps after which the difference, with the error of seeds added, is as large as without; each
        counts with the probability that the error makes it so."""
        # Equal counts may differ in the last digits of their sums, and an accuracy has few values.
        moved, times = np.unique(
            np.abs(self.compute_swapped_differences(swaps)).round(ROUNDING_DIGITS), return_counts=True
        )
        seen = round(self.seen, ROUNDING_DIGITS)
        if self.error.variance == 0:
            return float(times[moved >= seen].sum())
        scale, degrees = self.error.variance**0.5, self.error.degrees
        tails = stdtr(degrees, (-seen - moved) / scale) + stdtr(degrees, (moved - seen) / scale)
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
        tests.append(SwapTest.of(one, other, error))
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
