"""Calibrate probabilities: temperature scaling, fitted on validation; the expected calibration error, beside chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

ProbabilityScores = NDArray[np.floating[Any]]
LabelArray = NDArray[np.int64]

ERROR_BINS = 15
MIN_PROBABILITY = 1e-6  # a share of the vote may be 0, and has a logarithm only from here on
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 100.0
CHANCE_DRAWS = 200  # the mean of so many is known to 1 or 2% of its value
RANGE_END_FACTOR = 1.05  # as a factor: no minimum, but the end of the range
MIN_CALIBRATION_IMAGES = 100


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
class ProbeCalibration:
    """`temperature`: what the logarithms of the scores are divided by; 1 leaves them as they are. `chosen` says how.

    `errors`: of "validation" and "test", where there are images. That on validation after is flattered: the temperature
    was fitted there.
    """

    temperature: float
    chosen: str
    errors: dict[str, CalibrationErrors]

    def apply(self, scores: ProbabilityScores) -> ProbabilityScores:
        """Float [n, C] -> float [n, C]; the order of the classes stays."""
        return scale_by_temperature(scores, self.temperature)


def calibrate(predictions: Mapping[str, NDArray[Any]]) -> ProbeCalibration:
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
        temperature, chosen = fit_temperature(scores, labels), "least cross-entropy on validation"
        if temperature < MIN_TEMPERATURE * RANGE_END_FACTOR:
            temperature, chosen = 1.0, f"not fitted: the least cross-entropy on validation lies below {MIN_TEMPERATURE}"
        elif temperature > MAX_TEMPERATURE / RANGE_END_FACTOR:
            chosen += ", at the end of what is tried: these scores tell the classes apart no better than chance"
        elif len(labels) < MIN_CALIBRATION_IMAGES:
            chosen += f", which is only {len(labels)} images: it may be far off"
    errors = {}
    for side in ("validation", "test"):
        scores, labels = predictions[f"{side}_scores"], predictions[f"{side}_labels"]
        if len(labels):
            scaled = scale_by_temperature(scores, temperature)
            errors[side] = CalibrationErrors(
                len(labels), measure_calibration_error(scores, labels), measure_calibration_error(scaled, labels)
            )
    return ProbeCalibration(temperature, chosen, errors)


def fit_temperature(scores: ProbabilityScores, labels: LabelArray) -> float:
    def loss(log_temperature: float) -> float:
        return compute_cross_entropy(scale_by_temperature(scores, exp(log_temperature)), labels)

    return float(exp(minimize_scalar(loss, bounds=(log(MIN_TEMPERATURE), log(MAX_TEMPERATURE)), method="bounded").x))


def scale_by_temperature(scores: ProbabilityScores, temperature: float) -> ProbabilityScores:
    """softmax(log(scores) / temperature), float64 [n, C]; at 1 the scores themselves, none below `FLOOR`."""
    logits = np.log(np.maximum(scores.astype(np.float64), MIN_PROBABILITY)) / temperature
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    result: ProbabilityScores = shares / shares.sum(axis=1, keepdims=True)
    return result


def compute_cross_entropy(scores: ProbabilityScores, labels: LabelArray) -> float:
    return float(-np.log(scores[np.arange(len(labels)), labels]).mean())


def measure_calibration_error(scores: ProbabilityScores, labels: LabelArray) -> CalibrationError:
    """Measure the error of scores, float [n, C], and what chance gives for just these scores."""
    by_chance = simulate_chance_error(scores)
    high = float(np.quantile(by_chance, 0.95))
    return CalibrationError(compute_ece(scores, labels), float(by_chance.mean()), high)


def compute_ece(scores: ProbabilityScores, labels: LabelArray) -> float:
    """Measure how far the predicted class's probability is from how often it is right (Guo et al., equation 3).

    scores: float [n, C], probabilities; labels: int64 [n]. The mean over `BINS` bins of one width, each with the weight
    of its images. It is biased upwards: in a bin of few images the share that is right differs from a probability that
    is exact (Roelofs et al., Mitigating Bias in Calibration Error Estimation, 2022, arXiv 2012.08668).
    """
    right = scores.argmax(axis=1) == labels
    return compute_binned_error(scores.max(axis=1).astype(np.float64), right)


def simulate_chance_error(
    scores: ProbabilityScores, *, draws: int = CHANCE_DRAWS, seed: int = 0
) -> NDArray[np.float64]:
    """Simulate the expected calibration error of scores that are exactly right: float64 [draws].

    In each draw an image has its predicted class with the probability that the scores say. The same scores and seed
    give the same errors.
    """
    random = np.random.default_rng(seed)
    confidence = scores.max(axis=1).astype(np.float64)
    return np.array(
        [compute_binned_error(confidence, random.random(len(confidence)) < confidence) for _ in range(draws)]
    )


def compute_binned_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """The mean distance of confidence [n] and share that is right, over bins of confidence of one width."""
    place = np.clip(np.ceil(confidence * ERROR_BINS).astype(np.int64) - 1, 0, ERROR_BINS - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=ERROR_BINS)
    return float(np.abs(gaps).sum() / len(confidence))
