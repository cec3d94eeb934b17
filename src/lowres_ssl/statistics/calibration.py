"""Calibrate probabilities: temperature scaling, fitted on validation; the expected calibration error, beside chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Scores = NDArray[np.floating[Any]]
Labels = NDArray[np.int64]

BINS = 15
FLOOR = 1e-6  # a share of the vote may be 0, and has a logarithm only from here on
COOLEST, HOTTEST = 0.05, 100.0
CHANCE_DRAWS = 200  # the mean of so many is known to 1 or 2% of its value
NEAR = 1.05  # as a factor: no minimum, but the end of the range
FEW = 100


@dataclass(frozen=True)
class CalibrationError:
    """The expected calibration error of some probabilities, and what chance alone gives.

    value: the error. chance, chance_high: mean and 95% quantile of the error that the same probabilities have if they
    are exactly right (see `error_by_chance`). It is far above 0 on a small set, so only an error above `chance_high`
    shows that probabilities are off.
    """

    value: float
    chance: float
    chance_high: float


@dataclass(frozen=True)
class CalibrationErrors:
    """The errors on `n` images `before` and `after` temperature scaling."""

    n: int
    before: CalibrationError
    after: CalibrationError


@dataclass(frozen=True)
class Calibration:
    """`temperature`: what the logarithms of the scores are divided by; 1 leaves them as they are. `chosen` says how.

    `errors`: of "validation" and "test", where there are images. That on validation after is flattered: the temperature
    was fitted there.
    """

    temperature: float
    chosen: str
    errors: dict[str, CalibrationErrors]

    def applied(self, scores: Scores) -> Scores:
        """Float [n, C] -> float [n, C]; the order of the classes stays."""
        return at_temperature(scores, self.temperature)


def calibrate(predictions: Mapping[str, NDArray[Any]]) -> Calibration:
    """From the stored predictions of a probe (see `results.read_predictions`).

    The temperature with the least cross-entropy of the validation labels (Guo et al., On Calibration of Modern Neural
    Networks, 2017, arXiv 1706.04599, section 4.2). It stays 1 where nothing can be fitted: without validation images,
    or where all of them are right, since any cooling would then look better; likewise where the coolest temperature
    that is tried looks best. Where the hottest does, the scores tell next to nothing, and what they say is even.
    """
    scores, labels = predictions["validation_scores"], predictions["validation_labels"]
    if not len(labels):
        temperature, chosen = 1.0, "not fitted: there are no validation images"
    elif (scores.argmax(axis=1) == labels).all():
        temperature, chosen = 1.0, "not fitted: every validation image is right"
    else:
        temperature, chosen = best_temperature(scores, labels), "least cross-entropy on validation"
        if temperature < COOLEST * NEAR:
            temperature, chosen = 1.0, f"not fitted: the least cross-entropy on validation lies below {COOLEST}"
        elif temperature > HOTTEST / NEAR:
            chosen += ", at the end of what is tried: these scores tell the classes apart no better than chance"
        elif len(labels) < FEW:
            chosen += f", which is only {len(labels)} images: it may be far off"
    errors = {}
    for side in ("validation", "test"):
        scores, labels = predictions[f"{side}_scores"], predictions[f"{side}_labels"]
        if len(labels):
            scaled = at_temperature(scores, temperature)
            errors[side] = CalibrationErrors(
                len(labels), calibration_error(scores, labels), calibration_error(scaled, labels)
            )
    return Calibration(temperature, chosen, errors)


def best_temperature(scores: Scores, labels: Labels) -> float:
    def loss(log_temperature: float) -> float:
        return cross_entropy(at_temperature(scores, exp(log_temperature)), labels)

    return float(exp(minimize_scalar(loss, bounds=(log(COOLEST), log(HOTTEST)), method="bounded").x))


def at_temperature(scores: Scores, temperature: float) -> Scores:
    """softmax(log(scores) / temperature), float64 [n, C]; at 1 the scores themselves, none below `FLOOR`."""
    logits = np.log(np.maximum(scores.astype(np.float64), FLOOR)) / temperature
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: Scores = shares / shares.sum(axis=1, keepdims=True)
    return result


def cross_entropy(scores: Scores, labels: Labels) -> float:
    return float(-np.log(scores[np.arange(len(labels)), labels]).mean())


def calibration_error(scores: Scores, labels: Labels) -> CalibrationError:
    """Measure the error of scores, float [n, C], and what chance gives for just these scores."""
    by_chance = error_by_chance(scores)
    high = float(np.quantile(by_chance, 0.95))
    return CalibrationError(expected_calibration_error(scores, labels), float(by_chance.mean()), high)


def expected_calibration_error(scores: Scores, labels: Labels) -> float:
    """Measure how far the predicted class's probability is from how often it is right (Guo et al., equation 3).

    scores: float [n, C], probabilities; labels: int64 [n]. The mean over `BINS` bins of one width, each with the weight
    of its images. It is biased upwards: in a bin of few images the share that is right differs from a probability that
    is exact (Roelofs et al., Mitigating Bias in Calibration Error Estimation, 2022, arXiv 2012.08668).
    """
    right = scores.argmax(axis=1) == labels
    return binned_error(scores.max(axis=1).astype(np.float64), right)


def error_by_chance(scores: Scores, *, draws: int = CHANCE_DRAWS, seed: int = 0) -> NDArray[np.float64]:
    """Simulate the expected calibration error of scores that are exactly right: float64 [draws].

    In each draw an image has its predicted class with the probability that the scores say. The same scores and seed
    give the same errors.
    """
    random = np.random.default_rng(seed)
    confidence = scores.max(axis=1).astype(np.float64)
    return np.array([binned_error(confidence, random.random(len(confidence)) < confidence) for _ in range(draws)])


def binned_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """The mean distance of confidence [n] and share that is right, over bins of confidence of one width."""
    place = np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))
