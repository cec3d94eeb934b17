"""Temperatures and calibration errors: against scores of which they are known, and a slow loop."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import softmax

from lowres_ssl.stats.calibration import ERROR_BINS, calibrate, measure_calibration_error

Arrays = dict[str, NDArray[Any]]


def honest(images: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits [n, 3] and labels drawn with the probabilities that they are of."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (images, 3))
    drawn = random.random((images, 1)) > softmax(logits, axis=1).cumsum(axis=1)
    return logits, np.minimum(drawn.sum(axis=1), 2)


def stored(factor: float, images: int = 4000) -> Arrays:
    """Predictions whose logits are `factor` times what they should be."""
    arrays: Arrays = {}
    for seed, side in enumerate(("validation", "test")):
        logits, labels = honest(images, seed)
        scores = softmax(factor * logits, axis=1).astype(np.float32)
        arrays |= {f"{side}_scores": scores, f"{side}_labels": labels}
    return arrays


def both(scores: NDArray[Any], labels: NDArray[np.int64]) -> Arrays:
    """The same predictions of the validation and the test images."""
    return {
        f"{side}_{name}": array
        for side in ("validation", "test")
        for name, array in (("scores", scores), ("labels", labels))
    }


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_temperature_undoes_what_the_scores_were_multiplied_by(factor: float) -> None:
    found = calibrate(stored(factor))
    assert found.temperature == pytest.approx(factor, rel=0.08)
    test = found.errors["test"]
    assert test.n == 4000
    assert test.after.value < 0.03
    assert (test.before.value > 0.1) == (factor != 1.0)
    assert (test.before.value > test.before.chance_high) == (factor != 1.0)


def test_error_is_that_of_a_slow_loop() -> None:
    logits, labels = honest(300, 7)
    scores, wanted = softmax(2 * logits, axis=1), 0.0
    for place in range(ERROR_BINS):
        inside = [row for row in range(300) if place / ERROR_BINS < scores[row].max() <= (place + 1) / ERROR_BINS]
        if inside:
            right = np.mean([scores[row].argmax() == labels[row] for row in inside])
            wanted += len(inside) / 300 * abs(right - np.mean([scores[row].max() for row in inside]))
    assert measure_calibration_error(scores, labels).value == pytest.approx(wanted)


@pytest.mark.parametrize("images", [64, 128, 256])
def test_chance_alone_gives_what_exact_scores_have(images: int) -> None:
    """Labels drawn with just the probabilities of the scores: the error is far from 0, and chance is right about it."""
    drawn = [honest(images, seed) for seed in range(200)]
    found = [measure_calibration_error(softmax(logits, axis=1), labels) for logits, labels in drawn]
    errors = np.array([each.value for each in found])
    assert errors.mean() > 0.06
    standard_error = errors.std() / len(errors) ** 0.5
    assert np.mean([each.chance for each in found]) == pytest.approx(errors.mean(), abs=3 * standard_error)
    # 5% in the long run; the 99.9% interval of 200.
    assert 0.01 <= np.mean([each.value > each.chance_high for each in found]) <= 0.105


@pytest.mark.parametrize("images", [0, 5])
def test_nothing_is_fitted_where_nothing_can_be(images: int) -> None:
    labels = np.arange(images) % 3
    found = calibrate(stored(3.0) | {"validation_labels": labels, "validation_scores": 0.7 * np.eye(3)[labels] + 0.1})
    assert found.temperature == 1
    assert found.chosen.startswith("not fitted")
    assert ("validation" in found.errors) == (images > 0)


def test_neighbours_that_all_agree_leave_a_finite_chance_to_the_others() -> None:
    labels = np.arange(100) % 2
    scores = np.eye(2)[labels]
    labels[:10] = 1 - labels[:10]  # a tenth is voted wrong, unanimously
    found = calibrate(both(scores, labels))
    assert found.apply(scores).max() == pytest.approx(0.9, abs=0.01)
    error = found.errors["test"]
    assert (error.n, error.before.value) == (100, pytest.approx(0.1))
    assert error.after.value == pytest.approx(0, abs=0.01)
    assert (error.before.chance, error.before.chance_high) == (0, 0)  # who is certain and right makes no error


def test_scores_that_are_always_wrong_become_even() -> None:
    labels = np.arange(200) % 2
    scores = np.where(labels[:, None] == [1, 0], 0.95, 0.05).astype(np.float32)
    found = calibrate(both(scores, labels))
    assert "no better than chance" in found.chosen
    assert found.apply(scores).max() < 0.52
