"""How far chance could have moved a number: test groups and seeds resampled together. Counts in, intervals out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri, stdtrit

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
Weights = NDArray[np.float32]

METRICS = ("accuracy", "weighted_f1", "macro_f1", "balanced_accuracy")
LEVEL = 0.95
DRAWS = 2000
STILL = 1e-6  # the last digit of a share near 1 moves its arcsin(sqrt(...)) by 1e-8; an image in a million, by more
# With fewer groups the resampled ones say little of those that were not drawn; tables mark such an interval.
RELIABLE_GROUPS = 15
TOO_FEW = f"as much as fewer than {RELIABLE_GROUPS} of one size"  # what unreliable groups tell


@dataclass(frozen=True)
class Interval:
    """`value` is the mean over seeds, `spread` their standard deviation (ddof=1), None for one seed.

    `effective_groups`: how many groups of one size would say as much as the `groups` there are.
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
        return self.effective_groups >= RELIABLE_GROUPS


@dataclass(frozen=True)
class Term:
    """A part of a contrast: `factor` times the metric `name` of `counts`, int64 [S, G, C, C]."""

    factor: float
    counts: Counts
    name: str


@dataclass(frozen=True)
class Draws:
    """One resampling, shared by all that is compared on the same test images.

    weights: float32 [draws, G], how often each test group is drawn: whole numbers, so exact. scale, seeds: float64
    [draws] from 0 to 1, where in their distributions the scale of the groups' deviations and the deviation of the seeds
    are (see `moves`).
    """

    weights: Weights
    scale: Floats
    seeds: Floats


@dataclass(frozen=True)
class Moves:
    """observed: float64 [S], each seed's own value; groups, seeds: float64 [draws], what they add to the mean."""

    observed: Floats
    groups: Floats
    seeds: Floats


@dataclass(frozen=True)
class Scale:
    """On which a value and what moves it are added."""

    forward: Callable[[Any], Any]
    back: Callable[[Any], Any]


PLAIN = Scale(forward=lambda value: value, back=lambda value: value)
ARCSINE = Scale(
    forward=lambda share: np.arcsin(np.sqrt(np.clip(share, 0, 1))),
    back=lambda angle: np.sin(np.clip(angle, 0, np.pi / 2)) ** 2,
)


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


@lru_cache(maxsize=4)
def draw(groups: int, *, seed: int = 0, draws: int = DRAWS) -> Draws:
    """As many groups drawn, with repetition, as there are; `draws` times."""
    random = np.random.default_rng(seed)
    weights = random.multinomial(groups, np.full(groups, 1 / groups), size=draws).astype(np.float32)
    made = Draws(weights, random.uniform(size=draws), random.uniform(size=draws))
    for array in (made.weights, made.scale, made.seeds):
        array.flags.writeable = False  # shared by all who ask for the same
    return made


def interval(counts: Counts, name: str, *, seed: int = 0, draws: int = DRAWS, level: float = LEVEL) -> Interval:
    """A metric with its interval; counts: int64 [S, G, C, C], the same test images for each of the S seeds.

    As `contrast`, on the scale arcsin(sqrt(value)), where a share varies as much near 1 as in the middle.
    """
    terms = [Term(1.0, counts, name)]
    return percentiles(terms, moves(terms, draw(counts.shape[1], seed=seed, draws=draws), ARCSINE), level, ARCSINE)


def contrast(terms: Sequence[Term], draws: Draws, *, level: float = LEVEL) -> Interval:
    """The sum of the terms, mean over seeds, with a percentile interval of groups and seeds resampled together.

    The terms share their test images: one draw of groups serves all, so that what makes an image hard for everyone
    cancels. Seeds are paired by their place; a term with one seed stands beside each seed of the others. With one seed
    the interval knows nothing of what another would have given; with one group it is all that the metrics allow.
    Raises `ValueError` if the test images differ.
    """
    return percentiles(terms, moves(terms, draws), level)


def percentiles(terms: Sequence[Term], moved: Moves, level: float, scale: Scale = PLAIN) -> Interval:
    """The interval that `moves` of the same terms, on the same scale, makes.

    Where nothing moves, since no image was wrong or two methods did the same to each, resampling would see no
    uncertainty at all. The interval then has, to either side, what that many groups without an exception leave open
    (exact, binomial).
    """
    counts, observed = terms[0].counts, moved.observed
    value, groups = float(observed.mean()), effective_groups(counts)
    # Every metric lies between 0 and 1.
    ends = (sum(min(term.factor, 0.0) for term in terms), sum(max(term.factor, 0.0) for term in terms))
    if counts.shape[1] > 1:
        samples = scale.forward(observed.mean()) + moved.groups + moved.seeds
        low, high = scale.back(np.quantile(samples, [(1 - level) / 2, (1 + level) / 2]))
        if np.ptp(samples) < STILL:
            unseen = (1 - ((1 - level) / 2) ** (1 / groups)) * max(ends[1], -ends[0])
            low, high = value - unseen, value + unseen
        ends = (max(ends[0], float(low)), min(ends[1], float(high)))
    spread = float(observed.std(ddof=1)) if len(observed) > 1 else None
    return Interval(value, *ends, spread, len(observed), counts.shape[1], groups)


def moves(terms: Sequence[Term], draws: Draws, scale: Scale = PLAIN) -> Moves:
    """By how much chance moves the sum of the terms.

    Groups: k of them resampled vary by (k - 1) / k of what they should, and that is itself known from k numbers only.
    Their deviations are divided by the root of a chi-square over k, of k - 1 degrees of freedom: a Student t. k counts
    the groups as if of one size.

    Seeds: three of them, resampled with repetition, would vary by two thirds of what they should, which is itself known
    from three numbers only: far too narrow. Instead the mean over seeds moves by its standard error times a Student t
    of S - 1 degrees (4.3 at the ends for three seeds, where a normal has 2.0). Part of the spread of the seeds is that
    each errs on other images, which the groups' deviations have in them already; that part is taken out of the
    variance, up to half of it, since the variance of a few seeds may be small by luck. The tests simulate it: this
    covers, seeds that are merely resampled do not.
    """
    counts = terms[0].counts
    truth = counts[0].sum(axis=-1)  # [G, C]
    if any(each.counts.shape[1] != len(truth) or (each.counts.sum(axis=-1) != truth).any() for each in terms):
        raise ValueError("the terms are of different test images")
    k = effective_groups(counts)
    observed = per_seed(terms, np.ones((1, len(truth)), dtype=np.float32))[0]
    resampled = per_seed(terms, draws.weights)
    of_groups = scale.forward(resampled.mean(axis=1)) - scale.forward(observed.mean())
    of_groups *= np.sqrt(k / chdtri(k - 1, draws.scale))
    seeds = len(observed)
    if seeds == 1:
        return Moves(observed, of_groups, np.zeros_like(of_groups))
    variance = scale.forward(observed).var(ddof=1)
    scaled = scale.forward(resampled)
    own_images = (scaled - scaled.mean(axis=1, keepdims=True)).var(axis=0).sum() / (seeds - 1) * k / (k - 1)
    error = np.sqrt(max(variance - own_images, variance / 2) / seeds)
    return Moves(observed, of_groups, error * stdtrit(seeds - 1, draws.seeds))


def per_seed(terms: Sequence[Term], weights: Weights) -> Floats:
    """The sum of the terms for each draw of groups, weights [draws, G], and each seed: float64 [draws, S]."""
    values: Floats = np.zeros((1, 1))
    for term in terms:
        values = values + term.factor * metric(weighted(weights, term.counts), term.name)
    return values


def weighted(weights: Weights, counts: Counts) -> Floats:
    """Sums over the groups: weights [draws, G], counts [S, G, C, C] -> float64 [draws, S, C, C]."""
    return np.tensordot(weights, counts.astype(np.float32), axes=(1, 1)).astype(np.float64)


def effective_groups(counts: Counts) -> float:
    """How many groups of one size would say as much (Kish): images^2 / sum of squared sizes; 2 at least."""
    sizes = counts[0].sum(axis=(1, 2)).astype(np.float64)
    return max(2.0, float(sizes.sum() ** 2 / (sizes**2).sum()))
