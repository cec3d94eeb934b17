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
from torch import Tensor

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


def cold(features: Features, strength: float, asked: Tensor) -> np.ndarray[Any, Any]:
    """Scores of the features that are `asked`, by a model fitted from nothing."""
    scaler = StandardScaler().fit(features.train.double().numpy())
    model = LogisticRegression(C=1 / (strength * len(features.train)), max_iter=1000)
    model.fit(scaler.transform(features.train.double().numpy()), features.train_labels.numpy())
    scores: np.ndarray[Any, Any] = model.predict_proba(scaler.transform(asked.double().numpy()))
    return scores


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("strength", STRENGTHS)
def test_scores_are_those_of_scikit_learn_fitted_from_nothing(clouds: Clouds, classes: int, strength: float) -> None:
    features = stretched(clouds(classes=classes))
    fitted = LogisticProbe([strength], 1000).fit_probe(features, seed=0)
    np.testing.assert_allclose(fitted.scores(features.test), cold(features, strength, features.test), atol=1e-9)
    assert fitted.details["unconverged"] == 0


@pytest.mark.parametrize("seed", range(3))
def test_strength_is_the_best_on_validation_and_its_scores_those_of_a_cold_fit(clouds: Clouds, seed: int) -> None:
    features = stretched(clouds(train=10, validation=4, width=12, apart=0.6, seed=seed))
    labels = features.validation_labels.numpy()
    ranks = {}
    for strength in STRENGTHS:
        shares = cold(features, strength, features.validation)
        accuracy = float((shares.argmax(axis=1) == labels).mean())
        ranks[strength] = (accuracy, -log_loss(labels, shares), strength)
    best = max(STRENGTHS, key=lambda strength: ranks[strength])
    fitted = LogisticProbe(STRENGTHS, 1000).fit_probe(features, seed=0)
    assert fitted.details["strength"] == best
    assert fitted.details["validation_accuracy"] == pytest.approx(ranks[best][0])
    assert fitted.details["chosen"] == "best validation accuracy"
    np.testing.assert_allclose(fitted.scores(features.test), cold(features, best, features.test), atol=5e-3)


def test_of_equal_accuracy_and_loss_the_stronger_penalty_is_taken(clouds: Clouds) -> None:
    """Features that are all constant leave nothing to penalise."""
    features = clouds()
    flat = replace(features, **{s: torch.ones_like(getattr(features, s)) for s in ("train", "validation", "test")})
    assert LogisticProbe([0.1, 10.0, 1.0], 1000).fit_probe(flat, seed=0).details["strength"] == 10.0


@pytest.mark.parametrize(
    ("strengths", "middle"), [([5.0], 5.0), ([3.0, 1.0, 2.0], 2.0), ([1.0, 2.0], 2.0), ([1.0, 4.0, 3.0, 2.0], 3.0)]
)
def test_middle_strength_where_a_class_has_no_validation_image(
    clouds: Clouds, strengths: list[float], middle: float
) -> None:
    features = without_validation_of_class_0(clouds())
    fitted = LogisticProbe(strengths, 1000).fit_probe(features, seed=0)
    why = "middle strength: a class has no validation image"
    assert fitted.details == {"strength": middle, "chosen": why, "unconverged": 0}
    np.testing.assert_allclose(fitted.scores(features.test), cold(features, middle, features.test), atol=2e-3)


def test_unconverged_strengths_are_counted_and_used(clouds: Clouds) -> None:
    features = clouds()
    fitted = LogisticProbe([0.001, 0.01, 0.1], 1).fit_probe(features, seed=0)
    assert fitted.details["unconverged"] == 3
    assert np.isfinite(fitted.scores(features.test)).all()
    alone = LogisticProbe([0.001, 0.01, 0.1], 1).fit_probe(without_validation_of_class_0(features), seed=0)
    assert alone.details["unconverged"] == 1
