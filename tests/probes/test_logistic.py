"""The strictly linear probe: scikit-learn's logistic regression, its strength chosen on validation."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from test_linear import without_validation_of_class_0

from lowres_ssl.probes.base import Features
from lowres_ssl.probes.logistic import LogisticProbe

Clouds = Callable[..., Features]
STRENGTHS = [0.001, 0.1, 10.0]


def stretched(features: Features) -> Features:
    """The same features with columns of very different means and spreads."""
    width = features.train.shape[1]
    spread, middle = torch.logspace(-2, 3, width), torch.linspace(-50, 50, width)
    return replace(
        features,
        **{side: getattr(features, side) * spread + middle for side in ("train", "validation", "test")},
    )


def cold(features: Features, strength: float) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Test and validation scores of a model fitted from nothing."""
    scaler = StandardScaler().fit(features.train.double().numpy())
    model = LogisticRegression(C=1 / (strength * len(features.train)), max_iter=1000)
    model.fit(scaler.transform(features.train.double().numpy()), features.train_labels.numpy())
    test, validation = (
        model.predict_proba(scaler.transform(each.double().numpy())) for each in (features.test, features.validation)
    )
    return test, validation


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("strength", STRENGTHS)
def test_scores_are_those_of_scikit_learn_fitted_from_nothing(clouds: Clouds, classes: int, strength: float) -> None:
    features = stretched(clouds(classes=classes))
    prediction = LogisticProbe([strength], 1000).fit_predict(features, seed=0)
    test, validation = cold(features, strength)
    np.testing.assert_allclose(prediction.test_scores, test, atol=1e-9)
    np.testing.assert_allclose(prediction.validation_scores, validation, atol=1e-9)
    assert prediction.details["unconverged"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_strength_is_the_best_on_validation_and_its_scores_those_of_a_cold_fit(clouds: Clouds, seed: int) -> None:
    features = stretched(clouds(train=10, validation=4, width=12, apart=0.6, seed=seed))
    labels = features.validation_labels.numpy()
    ranks = {}
    for strength in STRENGTHS:
        shares = cold(features, strength)[1]
        accuracy = float((shares.argmax(axis=1) == labels).mean())
        ranks[strength] = (accuracy, -log_loss(labels, shares), strength)
    best = max(STRENGTHS, key=lambda strength: ranks[strength])
    prediction = LogisticProbe(STRENGTHS, 1000).fit_predict(features, seed=0)
    assert prediction.details["strength"] == best
    assert prediction.details["validation_accuracy"] == pytest.approx(ranks[best][0])
    assert prediction.details["chosen"] == "best validation accuracy"
    np.testing.assert_allclose(prediction.test_scores, cold(features, best)[0], atol=5e-3)


def test_of_equal_accuracy_and_loss_the_stronger_penalty_is_taken(clouds: Clouds) -> None:
    """Features that are all constant leave nothing to penalise."""
    features = clouds()
    flat = replace(features, **{s: torch.ones_like(getattr(features, s)) for s in ("train", "validation", "test")})
    assert LogisticProbe([0.1, 10.0, 1.0], 1000).fit_predict(flat, seed=0).details["strength"] == 10.0


@pytest.mark.parametrize(
    ("strengths", "middle"), [([5.0], 5.0), ([3.0, 1.0, 2.0], 2.0), ([1.0, 2.0], 2.0), ([1.0, 4.0, 3.0, 2.0], 3.0)]
)
def test_middle_strength_where_a_class_has_no_validation_image(
    clouds: Clouds, strengths: list[float], middle: float
) -> None:
    features = without_validation_of_class_0(clouds())
    prediction = LogisticProbe(strengths, 1000).fit_predict(features, seed=0)
    assert prediction.details == {
        "strength": middle,
        "chosen": "middle strength: a class has no validation image",
        "unconverged": 0,
    }
    np.testing.assert_allclose(prediction.test_scores, cold(features, middle)[0], atol=2e-3)


def test_unconverged_strengths_are_counted_and_used(clouds: Clouds) -> None:
    features = clouds()
    assert LogisticProbe([0.001, 0.01, 0.1], 1).fit_predict(features, seed=0).details["unconverged"] == 3
    alone = LogisticProbe([0.001, 0.01, 0.1], 1).fit_predict(without_validation_of_class_0(features), seed=0)
    assert alone.details["unconverged"] == 1
    assert np.isfinite(alone.test_scores).all()
    assert LogisticProbe([0.001, 0.01, 0.1], 1000).fit_predict(features, seed=0).details["unconverged"] == 0
