"""Compute by how much other test groups and other seeds would move a score: counts in, intervals out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri, stdtrit

from lowres_ssl.stats.confusion import (
    CLASS_MEAN_METRICS,
    Counts,
    Floats,
    compute_class_scores,
    compute_kish_size,
    compute_metric,
    count_effective_groups,
)

CONFIDENCE_LEVEL = 0.95
TAIL_PROBABILITY = (1 - CONFIDENCE_LEVEL) / 2
# Fewer groups say too little of those that are not among them; tables mark such an interval.
MIN_RELIABLE_GROUPS = 25
TOO_FEW_GROUPS_NOTE = f"as much as fewer than {MIN_RELIABLE_GROUPS} of one size"  # what unreliable groups tell
MIN_VARIANCE = 1e-12  # a variance below it is rounding: an image in a million has one of 1e-12 and more


@dataclass(frozen=True)
class Interval:
    """`value` is the mean over seeds, `spread` their standard deviation (ddof=1), None for one seed.

    `effective_groups`: how many groups of one size would say as much as the `groups` there are, of the class that has
    the fewest where the metric gives every class the same share.
    """

    value: float
    low: float
    high: float
    spread: float | None
    seeds: int
    groups: int
    effective_groups: float

    @property
    def reliable(self) -> bool:
        return has_enough_groups(self.effective_groups)


@dataclass(frozen=True)
class SeedSpread:
    """By how much one seed differs from another: a variance, and the degrees of freedom that it is known with."""

    variance: float
    degrees: float


@dataclass(frozen=True)
class JackknifeScores:
    """What each seed has, float64 [S], and what it would have without each of the test groups, float64 [S, G]."""

    values: Floats
    left_out: Floats

    @property
    def value(self) -> float:
        return float(self.values.mean())

    @property
    def variance_of_groups(self) -> float:
        """The variance of the mean over seeds when the groups are others."""
        return float(compute_jackknife_variance(self.left_out.mean(axis=0)))

    @property
    def spread(self) -> SeedSpread:
        """The variance of one seed, with S - 1 degrees of freedom; nothing for one seed.

        A part of what seeds differ by is that each errs on other images, which is in the variance of the groups
        already. That part is taken out, up to half of the variance, since the variance of a few seeds may be small by
        luck.
        """
        seeds = len(self.values)
        if seeds == 1:
            return SeedSpread(0.0, 0.0)
        variance = float(self.values.var(ddof=1))
        own_images = float(compute_jackknife_variance(self.left_out - self.left_out.mean(axis=0)).sum()) / (seeds - 1)
        return SeedSpread(max(variance - own_images, variance / 2), seeds - 1)


def has_enough_groups(groups: float) -> bool:
    return groups >= MIN_RELIABLE_GROUPS


def compute_jackknife(score: Callable[[NDArray[Any]], Floats], counts: Counts) -> JackknifeScores:
    """The score of each seed, with and without each group; counts: int64 [S, G, C, C] with G of at least 2, score:
    confusion counts [..., C, C] -> float64 [...]."""
    whole = counts.sum(axis=1)
    return JackknifeScores(score(whole), score(whole[:, None] - counts))


def compute_jackknife_variance(left_out: Floats) -> Floats:
    """The variance of an estimate from what it is without each of G groups, [..., G] -> [...] (Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, equation 11.5). Of the mean of equal groups it is that of the textbook."""
    groups = left_out.shape[-1]
    deviations = left_out - left_out.mean(axis=-1, keepdims=True)
    return np.asarray((groups - 1) / groups * (deviations**2).sum(axis=-1))


def compute_interval(counts: Counts, name: str) -> Interval:
    """A metric with its 95% interval; counts: int64 [S, G, C, C], the same test images for each of the S seeds, or
    [D, S, G, C, C], of which the mean over the first axis is taken.

    To either side it reaches as far as the groups and the seeds do, added as squares (MOVER; Zou and Donner,
    Construction of confidence limits about effect measures, 2008). Of the groups see `reach`. Of the seeds it is the
    standard error of their mean (`Measured.spread`) times the Student t of S - 1 degrees: 4.3 for three seeds. With one
    seed it knows nothing of what another would have given; with one group it is all that the metric allows.
    """
    draws = counts if counts.ndim == 5 else counts[None]
    seeds, groups = draws.shape[1:3]
    by_seed = np.moveaxis(draws, 1, 0)  # [S, D, G, C, C]

    def score(confusion: NDArray[Any]) -> Floats:
        return compute_metric(confusion, name)

    each = [compute_jackknife(score, own) for own in by_seed] if groups > 1 else []
    values = np.array([compute_metric(own.sum(axis=1), name).mean() for own in by_seed])
    value, low, high = float(values.mean()), 0.0, 1.0
    if each:
        found = JackknifeScores(values, np.stack([own.left_out.mean(axis=0) for own in each]))
        below, above = compute_group_reach(by_seed, name, found)
        of_seeds = (
            float(stdtrit(seeds - 1, 1 - TAIL_PROBABILITY)) ** 2 * found.spread.variance / seeds if seeds > 1 else 0.0
        )
        low = max(0.0, value - (below**2 + of_seeds) ** 0.5)
        high = min(1.0, value + (above**2 + of_seeds) ** 0.5)
    spread = float(values.std(ddof=1)) if seeds > 1 else None
    return Interval(value, low, high, spread, seeds, groups, count_effective_groups(draws[0], name))


def compute_group_reach(by_seed: Counts, name: str, found: JackknifeScores) -> tuple[float, float]:
    """How far below and above the value other groups could have moved it; by_seed: int64 [S, D, G, C, C].

    A metric that weighs images (accuracy, weighted F1) is treated as a share of the images, see `share_reach`. One that
    gives each class the same share (`EVEN`) is put together from the reach of each class (MOVER): six images of a class
    that are all recognised leave much open, which the variance of the whole would not show. Classes that share groups
    may err together; the reach grows by what that adds to the variance.
    """
    images = by_seed[0, 0].sum(axis=-1)  # [G, C]
    if name not in CLASS_MEAN_METRICS:
        sizes = images.sum(axis=-1)
        return compute_share_reach(found.value, found.variance_of_groups, sizes, float(sizes.sum()))
    present = images.any(axis=0)
    total = by_seed.sum(axis=2)
    of_class = compute_class_scores(total, name).mean(axis=(0, 1))[present]  # [C]
    left_out = compute_class_scores(total[:, :, None] - by_seed, name).mean(axis=(0, 1))[:, present]  # [G, C]
    variances = compute_jackknife_variance(left_out.T)
    most = compute_class_weights(total, name)[present]
    reaches = np.array(
        [compute_share_reach(*own) for own in zip(of_class, variances, images.T[present], most, strict=True)]
    )  # [C, 2]
    classes, apart = len(of_class), float(variances.sum())
    together = found.variance_of_groups * classes**2 / apart if apart > MIN_VARIANCE else 1.0
    below, above = np.sqrt((reaches**2).sum(axis=0) * max(1.0, together)) / classes
    return float(below), float(above)


def compute_class_weights(total: Counts, name: str) -> Floats:
    """Of how many images each class's score is a share, the mean over draws and seeds: float64 [C]. A recall is one of
    the images of the class, an F1 one of these and of those that are predicted to be."""
    images = total.sum(axis=-1) + (total.sum(axis=-2) if name == "macro_f1" else 0)
    return np.asarray(images.mean(axis=(0, 1)))


def compute_share_reach(share: float, variance: float, sizes: NDArray[np.int64], most: float) -> tuple[float, float]:
    """How far the exact binomial interval reaches below and above a share, for as many images as the variance is worth.

    The interval of Clopper and Pearson (1934) for the effective sample size share (1 - share) / variance, no more than
    the `most` images that it is a share of, made smaller by what the variance of k groups is uncertain by, (z / t)^2
    with k - 1 degrees (Korn and Graubard, Confidence intervals for proportions with small expected number of positive
    counts, 1998). Where nothing varies, since no image was wrong, say, the k groups are the sample. sizes: images of
    each group, [G]; k counts them as if of one size.
    """
    sizes = sizes[sizes > 0]
    if len(sizes) < 2:
        return share, 1 - share
    groups = max(2.0, compute_kish_size(sizes))
    size = groups
    if variance > MIN_VARIANCE and 0 < share < 1:
        size = min(share * (1 - share) / variance, most)
        size *= float(ndtri(1 - TAIL_PROBABILITY) / stdtrit(groups - 1, 1 - TAIL_PROBABILITY)) ** 2
    right = share * size
    low = float(betaincinv(right, size - right + 1, TAIL_PROBABILITY)) if share > 0 else 0.0
    high = float(betaincinv(right + 1, size - right, 1 - TAIL_PROBABILITY)) if share < 1 else 1.0
    return share - low, high - share
