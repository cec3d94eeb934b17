"""Compute metrics from confusion counts of test groups, and how far other groups and other seeds would move them."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri, stdtrit

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

CONFUSION_METRICS = ("accuracy", "weighted_f1", "macro_f1", "balanced_accuracy")
CLASS_MEAN_METRICS = ("macro_f1", "balanced_accuracy")  # the mean of a score of each class, however large it is
LINEAR_METRICS = ("accuracy", "balanced_accuracy")  # for given labels, a sum over the images

CONFIDENCE_LEVEL = 0.95
TAIL_PROBABILITY = (1 - CONFIDENCE_LEVEL) / 2
MIN_RELIABLE_GROUPS = 25  # tables mark an interval of fewer
TOO_FEW_GROUPS_NOTE = f"as much as fewer than {MIN_RELIABLE_GROUPS} of one size"
MIN_VARIANCE = 1e-12  # below it is rounding: one image in a million has a variance of 1e-12


def count_by_group(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], groups: NDArray[np.int64], classes: int
) -> Counts:
    """Count the confusions of each test group: int64 [G, C, C], a row a true class, a column a predicted one.

    All arrays are int64 [n]. labels, predictions: indices of the `classes`. groups: numbers of patients, slides or
    source images; an image with -1 is a group of its own. Single images come first, then the groups by number.
    """
    found, places = np.unique(np.where(groups < 0, np.arange(len(groups)), len(groups) + groups), return_inverse=True)
    counts = np.zeros((len(found), classes, classes), dtype=np.int64)
    np.add.at(counts, (places, labels, predictions), 1)
    return counts


def compute_metric(confusion: NDArray[Any], name: str) -> Floats:
    """Compute one of `CONFUSION_METRICS` from counts [..., C, C], whole numbers or not: float64 [...].

    As scikit-learn does: over the classes that have an image; a class never predicted has an F1 of 0. Raises
    `ValueError` for another name.
    """
    true = confusion.sum(axis=-1)
    images = true.sum(axis=-1)
    match name:
        case "accuracy":
            return np.asarray(np.trace(confusion, axis1=-2, axis2=-1) / images)
        case "weighted_f1":
            return np.asarray((compute_class_scores(confusion, name) * true).sum(axis=-1) / images)
        case "macro_f1" | "balanced_accuracy":
            return np.asarray(compute_class_scores(confusion, name).sum(axis=-1) / (true > 0).sum(axis=-1))
    raise ValueError(f"unknown metric {name!r}: wanted one of {', '.join(CONFUSION_METRICS)}")


def compute_class_scores(confusion: NDArray[Any], name: str) -> Floats:
    """Compute the F1 or the recall of each class, whichever the metric averages: float64 [..., C]; 0 without images."""
    part = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    whole = confusion.sum(axis=-1)
    if name in ("weighted_f1", "macro_f1"):
        part, whole = 2 * part, whole + confusion.sum(axis=-2)
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))


def count_effective_groups(counts: Counts, name: str) -> float:
    """Count the groups of counts [S, G, C, C] as if of one size; for a mean over classes, those of the smallest."""
    images = counts[0].sum(axis=-1)  # [G, C]
    if name in CLASS_MEAN_METRICS:
        return min(compute_kish_size(own) for own in images.T if own.any())
    return compute_kish_size(images.sum(axis=-1))


def compute_kish_size(sizes: NDArray[Any]) -> float:
    """Divide the squared sum of sizes by the sum of their squares (Kish, Survey Sampling, 1965): as many as there are
    where all are equal."""
    return float(sizes.sum()) ** 2 / float((sizes.astype(np.float64) ** 2).sum())


@dataclass(frozen=True)
class Interval:
    """Hold a score with its interval.

    value: the mean over seeds. spread: their standard deviation (ddof=1), None for one seed. effective_groups: the
    groups counted as if of one size, see `count_effective_groups`.
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
        return self.effective_groups >= MIN_RELIABLE_GROUPS


@dataclass(frozen=True)
class SeedSpread:
    """Hold the variance of one seed, and its degrees of freedom."""

    variance: float
    degrees: float


@dataclass(frozen=True)
class JackknifeScores:
    """Hold the score of each seed, float64 [S], and the same without each of the test groups, float64 [S, G]."""

    values: Floats
    left_out: Floats

    @property
    def spread(self) -> SeedSpread:
        """Estimate the variance of one seed, with S - 1 degrees of freedom; nothing for one seed.

        Seeds differ in part because each errs on other images, which the variance of the groups has in it already. That
        part is subtracted, up to half of the variance, since the variance of a few seeds may be small by luck.
        """
        seeds = len(self.values)
        if seeds == 1:
            return SeedSpread(0.0, 0.0)
        variance = float(self.values.var(ddof=1))
        own_images = float(compute_jackknife_variance(self.left_out - self.left_out.mean(axis=0)).sum()) / (seeds - 1)
        return SeedSpread(max(variance - own_images, variance / 2), seeds - 1)


def get_t_quantile(degrees: float) -> float:
    """Get the Student t at which a two-sided 95% interval ends."""
    return float(stdtrit(degrees, 1 - TAIL_PROBABILITY))


def compute_jackknife(counts: Counts, name: str) -> JackknifeScores:
    """Compute a metric of each seed with and without each group; counts: int64 [S, G, C, C] with G of at least 2."""
    whole = counts.sum(axis=1)
    return JackknifeScores(compute_metric(whole, name), compute_metric(whole[:, None] - counts, name))


def compute_jackknife_variance(left_out: Floats) -> Floats:
    """Compute the variance of an estimate from its values without each of G groups, [..., G] -> [...] (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, equation 11.5)."""
    groups = left_out.shape[-1]
    deviations = left_out - left_out.mean(axis=-1, keepdims=True)
    return np.asarray((groups - 1) / groups * (deviations**2).sum(axis=-1))


def compute_interval(counts: Counts, name: str) -> Interval:
    """Compute a metric with its 95% interval; counts: int64 [S, G, C, C], the same test images for each of the S seeds,
    or [D, S, G, C, C] for the mean over the first axis.

    The reach of the groups (`compute_group_reach`) and that of the seeds (`JackknifeScores.spread`, Student t of S - 1
    degrees) are added as squares (MOVER; Zou and Donner, Construction of confidence limits about effect measures,
    2008). With one seed the interval is that seed's; with one group it is all that the metric allows.
    """
    draws = counts if counts.ndim == 5 else counts[None]
    seeds, groups = draws.shape[1:3]
    by_seed = np.moveaxis(draws, 1, 0)  # [S, D, G, C, C]
    values = np.array([compute_metric(own.sum(axis=1), name).mean() for own in by_seed])
    value, low, high = float(values.mean()), 0.0, 1.0
    if groups > 1:
        left_out = np.stack([compute_jackknife(own, name).left_out.mean(axis=0) for own in by_seed])
        found = JackknifeScores(values, left_out)
        below, above = compute_group_reach(by_seed, name, found)
        of_seeds = get_t_quantile(seeds - 1) ** 2 * found.spread.variance / seeds if seeds > 1 else 0.0
        low = max(0.0, value - (below**2 + of_seeds) ** 0.5)
        high = min(1.0, value + (above**2 + of_seeds) ** 0.5)
    spread = float(values.std(ddof=1)) if seeds > 1 else None
    return Interval(value, low, high, spread, seeds, groups, count_effective_groups(draws[0], name))


def compute_group_reach(by_seed: Counts, name: str, found: JackknifeScores) -> tuple[float, float]:
    """Compute how far below and above the value other groups could move it; by_seed: int64 [S, D, G, C, C].

    Accuracy and weighted F1 are treated as a share of the images, see `compute_share_reach`. A mean over classes is put
    together from the reach of each class (MOVER): a class of six images that are all right leaves much open, which the
    variance of the whole does not show. Where classes share groups, the reach grows by what that adds to the variance.
    """
    images = by_seed[0, 0].sum(axis=-1)  # [G, C]
    variance = float(compute_jackknife_variance(found.left_out.mean(axis=0)))
    if name not in CLASS_MEAN_METRICS:
        sizes = images.sum(axis=-1)
        return compute_share_reach(float(found.values.mean()), variance, sizes, float(sizes.sum()))
    present = images.any(axis=0)
    total = by_seed.sum(axis=2)
    of_class = compute_class_scores(total, name).mean(axis=(0, 1))[present]  # [C]
    left_out = compute_class_scores(total[:, :, None] - by_seed, name).mean(axis=(0, 1))[:, present]  # [G, C]
    variances = compute_jackknife_variance(left_out.T)
    # A recall is a share of the images of its class, an F1 of these and of those predicted to be.
    shared = by_seed.sum(axis=-1) + (by_seed.sum(axis=-2) if name == "macro_f1" else 0)  # [S, D, G, C]
    sizes = shared.mean(axis=(0, 1)).T[present]  # [C, G]
    reaches = np.array(
        [compute_share_reach(*own) for own in zip(of_class, variances, sizes, sizes.sum(axis=-1), strict=True)]
    )  # [C, 2]
    classes, apart = len(of_class), float(variances.sum())
    together = variance * classes**2 / apart if apart > MIN_VARIANCE else 1.0
    below, above = np.sqrt((reaches**2).sum(axis=0) * max(1.0, together)) / classes
    return float(below), float(above)


def compute_share_reach(share: float, variance: float, sizes: NDArray[Any], most: float) -> tuple[float, float]:
    """Compute how far the exact binomial interval (Clopper and Pearson, 1934) reaches below and above a share.

    It is that of share (1 - share) / variance images, at most `most`, times (z / t)^2 for what the variance of the
    groups is uncertain by (Korn and Graubard, Confidence intervals for proportions with small expected number of
    positive counts, 1998). sizes: images of each group, [G].

    Departs from it in the degrees of t, which are one less than the groups counted as if of one *squared* size
    (Satterthwaite's formula if the images of a group are right or wrong together, so that it adds to the variance by
    the square of its size): a few large patients may make most of the variance, and be all right by luck. But the
    groups, counted as if of one size, are a sample whatever the variance is: the images are not taken for fewer, with
    their degrees. Where nothing varies, the groups are the sample.
    """
    sizes = sizes[sizes > 0]
    if len(sizes) < 2:
        return share, 1 - share
    groups = max(2.0, compute_kish_size(sizes))
    size = groups
    if variance > MIN_VARIANCE and 0 < share < 1:
        images = min(share * (1 - share) / variance, most)
        normal, squared = float(ndtri(1 - TAIL_PROBABILITY)), max(2.0, compute_kish_size(sizes**2))
        size = max(
            images * (normal / get_t_quantile(squared - 1)) ** 2,
            min(images, groups) * (normal / get_t_quantile(groups - 1)) ** 2,
        )
    right = share * size
    low = float(betaincinv(right, size - right + 1, TAIL_PROBABILITY)) if share > 0 else 0.0
    high = float(betaincinv(right + 1, size - right, 1 - TAIL_PROBABILITY)) if share < 1 else 1.0
    return share - low, high - share
