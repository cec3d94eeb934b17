"""Calibrate probabilities: temperature scaling, fitted on validation; the expected calibration error, beside chance."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import softmax

ProbabilityScores = NDArray[np.floating[Any]]
LabelArray = NDArray[np.int64]

ERROR_BINS = 15
MIN_PROBABILITY = 1e-6  # a share of the votes may be 0, which has no logarithm
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 100.0
CHANCE_DRAWS = 200  # their mean is known to 1 or 2% of its value
RANGE_END_FACTOR = 1.05  # a temperature this close to the end of its range is no minimum
MIN_CALIBRATION_IMAGES = 100


@dataclass(frozen=True)
class CalibrationError:
    """Hold the expected calibration error of some probabilities.

    chance, chance_high: mean and 95% quantile of the error that the same probabilities have if they are exactly right
    and each image is independent of the others. On a small set it is far above 0, so an error below `chance_high` shows
    nothing. One above it shows that probabilities are off, unless patients have several images: these err together,
    which makes the error of right probabilities larger than is simulated here.
    """

    value: float
    chance: float
    chance_high: float


@dataclass(frozen=True)
class CalibrationErrors:
    """Hold the errors on `n` images `before` and `after` temperature scaling."""

    n: int
    before: CalibrationError
    after: CalibrationError


@dataclass(frozen=True)
class ProbeCalibration:
    """Hold how a probe is calibrated. temperature: the divisor of the scores' logarithms, 1 for none; chosen: how it
    was chosen. errors: of "validation" and "test", where there are images; the temperature was fitted on validation,
    which flatters that."""

    temperature: float
    chosen: str
    errors: dict[str, CalibrationErrors]

    def apply(self, scores: ProbabilityScores) -> ProbabilityScores:
        """Scale scores, float [n, C] -> float [n, C]; the order of the classes stays."""
        return scale_by_temperature(scores, self.temperature)


def calibrate(predictions: Mapping[str, NDArray[Any]]) -> ProbeCalibration:
    """Fit the temperature to the stored predictions of a probe (see `read_predictions`).

    It is the one with the least cross-entropy of the validation labels (Guo et al., On Calibration of Modern Neural
    Networks, 2017, arXiv 1706.04599, section 4.2), and stays 1 where nothing can be fitted: without validation images,
    or where cooling without end looks best, as where every image is right.
    """
    temperature, chosen = choose_temperature(predictions["validation_scores"], predictions["validation_labels"])
    errors = {}
    for subset in ("validation", "test"):
        scores, labels = predictions[f"{subset}_scores"], predictions[f"{subset}_labels"]
        if len(labels):
            before, after = (
                measure_calibration_error(each, labels) for each in (scores, scale_by_temperature(scores, temperature))
            )
            errors[subset] = CalibrationErrors(len(labels), before, after)
    return ProbeCalibration(temperature, chosen, errors)


def choose_temperature(scores: ProbabilityScores, labels: LabelArray) -> tuple[float, str]:
    """Choose the temperature for validation scores, and say how it was chosen."""
    if not len(labels):
        return 1.0, "not fitted: there are no validation images"
    if (scores.argmax(axis=1) == labels).all():
        return 1.0, "not fitted: every validation image is right"
    temperature, chosen = fit_temperature(scores, labels), "least cross-entropy on validation"
    if temperature < MIN_TEMPERATURE * RANGE_END_FACTOR:
        return 1.0, f"not fitted: the least cross-entropy on validation lies below {MIN_TEMPERATURE}"
    if temperature > MAX_TEMPERATURE / RANGE_END_FACTOR:
        chosen += ", at the end of what is tried: these scores tell the classes apart no better than chance"
    elif len(labels) < MIN_CALIBRATION_IMAGES:
        chosen += f", which is only {len(labels)} images: it may be far off"
    return temperature, chosen


def fit_temperature(scores: ProbabilityScores, labels: LabelArray) -> float:
    """Search for the temperature of the least cross-entropy, on a logarithmic scale."""

    def loss(log_temperature: float) -> float:
        scaled = scale_by_temperature(scores, exp(log_temperature))
        return float(-np.log(scaled[np.arange(len(labels)), labels]).mean())

    return float(exp(minimize_scalar(loss, bounds=(log(MIN_TEMPERATURE), log(MAX_TEMPERATURE)), method="bounded").x))


def scale_by_temperature(scores: ProbabilityScores, temperature: float) -> ProbabilityScores:
    """Compute softmax(log(scores) / temperature), float64 [n, C], from scores of at least `MIN_PROBABILITY`."""
    logits = np.log(np.maximum(scores.astype(np.float64), MIN_PROBABILITY)) / temperature
    return np.asarray(softmax(logits, axis=1))


def measure_calibration_error(scores: ProbabilityScores, labels: LabelArray) -> CalibrationError:
    """Measure the error of scores, float [n, C], and simulate what chance gives for just these scores: an image has
    its predicted class with the probability that the scores give it. The same scores give the same errors.

    The error is how far the predicted class's probability is from how often it is right, the mean over `ERROR_BINS`
    bins of one width, weighted by their images (Guo et al., equation 3). It is biased upwards, since a bin has few
    images (Roelofs et al., Mitigating Bias in Calibration Error Estimation, 2022, arXiv 2012.08668).
    """
    random = np.random.default_rng(0)
    confidence = scores.max(axis=1).astype(np.float64)
    value = compute_binned_error(confidence, scores.argmax(axis=1) == labels)
    by_chance = np.array(
        [compute_binned_error(confidence, random.random(len(confidence)) < confidence) for _ in range(CHANCE_DRAWS)]
    )
    return CalibrationError(value, float(by_chance.mean()), float(np.quantile(by_chance, 0.95)))


def compute_binned_error(confidence: NDArray[np.float64], right: NDArray[np.bool_]) -> float:
    """Average the distance of confidence [n] and share that is right, over bins of confidence of one width."""
    place = np.clip(np.ceil(confidence * ERROR_BINS).astype(np.int64) - 1, 0, ERROR_BINS - 1)
    gaps = np.bincount(place, weights=right - confidence, minlength=ERROR_BINS)
    return float(np.abs(gaps).sum() / len(confidence))
