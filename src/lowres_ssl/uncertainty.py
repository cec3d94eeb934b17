"""How far chance could have moved a number: test groups and seeds resampled together. Counts in, intervals out."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]

METRICS = ("accuracy", "weighted_f1", "macro_f1", "balanced_accuracy")
LEVEL = 0.95
DRAWS = 2000
# With fewer groups the resampled ones say little of those that were not drawn; tables mark such an interval.
RELIABLE_GROUPS = 15


@dataclass(frozen=True)
class Interval:
    """`value` is the mean over seeds, `spread` their standard deviation (ddof=1), None for one seed."""

    value: float
    low: float
    high: float
    spread: float | None
    seeds: int
    groups: int

    @property
    def reliable(self) -> bool:
        return self.groups >= RELIABLE_GROUPS


@dataclass(frozen=True)
class Term:
    """A part of a contrast: `factor` times the metric `name` of `counts`, int64 [S, G, C, C]."""

    factor: float
    counts: Counts
    name: str


@dataclass(frozen=True)
class Draws:
    """One resampling, shared by all that is compared on the same test images.

    weights: float64 [draws, G], how often each test group is drawn; normal, uniform: float64 [draws], the chance of the
    seeds (see `widened`).
    """

    weights: Floats
    normal: Floats
    uniform: Floats


def counts_by_group(
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    groups: NDArray[np.str_],
    classes: int,
    *,
    ids: NDArray[np.str_],
) -> Counts:
    """Confusion counts of each test group: int64 [G, C, C], a row a true class, a column a predicted one.

    All of one length: labels, predictions: places among the `classes`; groups: patients, slides or source images, ""
    where none is known: such an image is a group of its own. Sorted by group, those of their own first, by id: the
    same images give the same order whatever order they come in.
    """
    names = np.stack([groups, np.where(groups == "", ids, "")], axis=1)
    found, places = np.unique(names, axis=0, return_inverse=True)
    counts = np.zeros((len(found), classes, classes), dtype=np.int64)
    np.add.at(counts, (places.reshape(-1), labels, predictions), 1)
    return counts


def metric(confusion: NDArray[Any], name: str) -> Floats:
    """One of `METRICS` from confusion counts [..., C, C] (whole numbers or not): float64 [...].

    The conventions are those of `metrics.score`: over the classes that have an image, a class never predicted has an F1
    of 0. Raises `ValueError` for another name.
    """
    right = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)  # [..., C]
    true, predicted = confusion.sum(axis=-1), confusion.sum(axis=-2)
    images, present = true.sum(axis=-1), true > 0
    match name:
        case "accuracy":
            return np.asarray(right.sum(axis=-1) / images)
        case "balanced_accuracy":
            return np.asarray(ratio(right, true).sum(axis=-1) / present.sum(axis=-1))
        case "weighted_f1":
            return np.asarray((ratio(2 * right, true + predicted) * true).sum(axis=-1) / images)
        case "macro_f1":
            return np.asarray((ratio(2 * right, true + predicted)).sum(axis=-1) / present.sum(axis=-1))
    raise ValueError(f"unknown metric {name!r}: wanted one of {', '.join(METRICS)}")


def ratio(part: Floats, whole: Floats) -> Floats:
    """part / whole; 0 where both are 0."""
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def draw(groups: int, *, seed: int = 0, draws: int = DRAWS) -> Draws:
    """As many groups drawn, with repetition, as there are; `draws` times."""
    random = np.random.default_rng(seed)
    weights = random.multinomial(groups, np.full(groups, 1 / groups), size=draws).astype(np.float64)
    return Draws(weights, random.standard_normal(draws), random.uniform(size=draws))


def interval(counts: Counts, name: str, *, seed: int = 0, draws: int = DRAWS, level: float = LEVEL) -> Interval:
    """A metric with its interval; counts: int64 [S, G, C, C], the same test images for each of the S seeds.

    As `contrast`, of one term. Where not one image is wrong, resampling shows no spread; the lower end is then the exact
    one of that many groups without a fault, (1 - level) / 2 to the power of 1 / groups.
    """
    found = contrast([Term(1.0, counts, name)], draw(counts.shape[1], seed=seed, draws=draws), level=level)
    if found.value < 1:
        return found
    low = ((1 - level) / 2) ** (1 / effective_groups(counts))
    return Interval(found.value, low, 1.0, found.spread, found.seeds, found.groups)


def contrast(terms: Sequence[Term], draws: Draws, *, level: float = LEVEL) -> Interval:
    """The sum of the terms, mean over seeds, with a percentile interval of resampled groups and seeds.

    The terms share their test images: one draw of groups serves all, so that what makes an image hard for everyone
    cancels. Seeds are paired by their place; a term with one seed stands beside each seed of the others. An interval of
    one seed knows nothing of what another seed would have given. Raises `ValueError` if the test images differ.
    """
    first = terms[0].counts
    truth = first[0].sum(axis=-1)  # [G, C]
    if any(term.counts.shape[1:] != first.shape[1:] or (term.counts.sum(-1) != truth).any() for term in terms):
        raise ValueError("the terms of a contrast are of different test images")
    observed = per_seed(terms, np.ones((1, len(truth))))[0]  # [S]
    value, seeds, groups = float(observed.mean()), len(observed), len(truth)
    spread = float(observed.std(ddof=1)) if seeds > 1 else None
    # Every metric lies between 0 and 1. With one group nothing narrower can be said.
    low = sum(term.factor for term in terms if term.factor < 0)
    high = sum(term.factor for term in terms if term.factor > 0)
    if groups > 1:
        effective = effective_groups(first)
        of_groups = per_seed(terms, draws.weights).mean(axis=1) - value  # [draws]
        of_groups *= np.sqrt(effective / (effective - 1))  # as n - 1 in a variance
        samples = value + widened(of_groups, effective - 1, spread, seeds, draws)
        ends = np.clip(np.quantile(samples, [(1 - level) / 2, (1 + level) / 2]), low, high)
        low, high = map(float, ends)
    return Interval(value, low, high, spread, seeds, groups)


def per_seed(terms: Sequence[Term], weights: Floats) -> Floats:
    """The sum of the terms for each draw of groups, weights [draws, G], and each seed: float64 [draws, S]."""
    values: Floats = np.zeros((1, 1))
    for term in terms:
        confusion = np.tensordot(weights, term.counts.astype(np.float64), axes=(1, 1))  # [draws, S, C, C]
        values = values + term.factor * metric(confusion, term.name)
    return values


def widened(of_groups: Floats, freedom: float, spread: float | None, seeds: int, draws: Draws) -> Floats:
    """The deviations that groups make, float64 [draws], with those that seeds make, as wide as their few numbers ask.

    Three seeds drawn from three with repetition vary by a variance of (S - 1) / S of what it should be, and the variance
    is itself known from S - 1 numbers only: an interval from them that is called 95% covers about 75%. So the mean over
    seeds varies by its standard error, spread / sqrt(S), and the whole is divided by the root of a chi-square over its
    degrees of freedom, which makes of a normal a Student t. Its degrees are Welch and Satterthwaite's,
    (A + B)^2 / (A^2 / freedom + B^2 / (S - 1)), with A the variance that groups make, of `freedom` degrees, and B that
    of seeds: seeds alone give the t interval of their mean, many groups and no spread the plain bootstrap.
    """
    error = 0.0 if spread is None else spread / np.sqrt(seeds)
    noise = of_groups + error * draws.normal
    a, b = float(of_groups.var()), error**2
    unknown = a**2 / freedom + (b**2 / (seeds - 1) if seeds > 1 else 0.0)
    if unknown == 0:
        return noise
    degrees = (a + b) ** 2 / unknown
    return np.asarray(noise * np.sqrt(degrees / chi2.ppf(draws.uniform, degrees)))


def effective_groups(counts: Counts) -> float:
    """How many groups of one size would say as much (Kish): images^2 / sum of squared sizes; 2 at least."""
    sizes = counts[0].sum(axis=(1, 2)).astype(np.float64)
    return max(2.0, float(sizes.sum() ** 2 / (sizes**2).sum()))
