"""Whether the difference between two methods means anything: paired by test group and by seed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lowres_ssl.statistics.uncertainty import (
    DRAWS,
    LEVEL,
    Counts,
    Draws,
    Term,
    Weights,
    metric,
    moves,
    percentiles,
    weighted,
)


@dataclass(frozen=True)
class Scored:
    """What a method did on the test images: counts, int64 [S, G, C, C], one a seed of `seeds`."""

    counts: Counts
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """`difference` of a metric, mean over seeds, its interval, and how often chance alone makes one as large."""

    difference: float
    low: float
    high: float
    p: float
    seeds: int
    groups: int
    reliable: bool


def aligned(methods: Sequence[Scored]) -> list[Counts]:
    """The counts of each as they are `paired`."""
    return [method.counts for method in paired(methods)]


def paired(methods: Sequence[Scored]) -> list[Scored]:
    """Each with the seeds alone that all share who have several; one that has a single seed keeps it.

    A single one stands beside each seed of the others: an encoder without training may have just one. Where several
    share no seed, their seeds have nothing to do with each other, and are paired as they come.
    """
    several = [method.seeds for method in methods if len(method.seeds) > 1]
    shared = set(several[0]).intersection(*several[1:]) if several else set[int]()
    fewest = min(map(len, several), default=1)

    def kept(method: Scored) -> Scored:
        if len(method.seeds) == 1:
            return method
        places = [place for place, seed in enumerate(method.seeds) if seed in shared] or list(range(fewest))
        return Scored(method.counts[places], tuple(method.seeds[place] for place in places))

    return [kept(method) for method in methods]


def draw_swaps(groups: int, *, seed: int = 0, draws: int = DRAWS) -> Weights:
    """In which groups two methods' predictions are swapped: 0 or 1 with probability 1/2, float32 [draws, G]."""
    return np.random.default_rng(seed).integers(0, 2, size=(draws, groups)).astype(np.float32)


def compare(a: Counts, b: Counts, name: str, draws: Draws, swaps: Weights) -> Comparison:
    """a minus b, int64 [S, G, C, C] each, of the same test images and seeds; one of them may have a single seed.

    If the methods were the same, it would not matter whose prediction is whose. So the predictions of the two are
    swapped in half of the test groups, for all seeds together, and the mean over seeds is moved by what seeds do
    (`uncertainty.moves`): a difference that one lucky seed makes is none. p = (1 + how many of these are as large as
    what was seen) / (draws + 1). `swaps`: as many as `draws`. Raises `ValueError` if the test images differ.
    """
    terms = [Term(1.0, a, name), Term(-1.0, b, name)]
    moved = moves(terms, draws)
    found = percentiles(terms, moved, LEVEL)
    exchanged = weighted(swaps, a - b)  # [draws, S, C, C]
    null = metric(a.sum(axis=1) - exchanged, name) - metric(b.sum(axis=1) + exchanged, name)
    null = null.mean(axis=1) + moved.seeds
    # Equal counts may differ in the last digits of their sums.
    as_large = int((np.abs(null) >= abs(found.value) - 1e-12).sum())
    p = (1 + as_large) / (len(null) + 1)
    return Comparison(found.value, found.low, found.high, p, found.seeds, found.groups, found.reliable)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values of as many tests at once (Holm 1979): times those not smaller, never below a smaller one, at most 1."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)))
    return [float(value) for value in adjusted]
