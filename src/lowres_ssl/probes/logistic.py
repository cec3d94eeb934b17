"""The strictly linear probe: scikit-learn's logistic regression on standardised features."""

import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from lowres_ssl.config.check import require
from lowres_ssl.probes.base import Details, Features, FittedProbe, Probe


class LogisticProbe(Probe):
    """Multinomial logistic regression; the strength of its L2 penalty is chosen on the validation images.

    Each strength s of `strengths` is tried: the mean cross-entropy over the n training images plus s / 2 times the
    squared weights, scikit-learn's C = 1 / (s n), so that a strength means the same whatever n is. Taken is the best
    validation accuracy, of equals the lower log loss, then the stronger penalty; the middle strength (of an even number
    the stronger of the two) where a class has no validation image. Features are standardised with the mean and spread
    of the training images, constant ones only centred.

    Strengths are tried from strong to weak, each starting from the solution before, which is much faster. One that has
    not converged after `max_iterations` of L-BFGS is used as it then is, and counted in the details. No random numbers.
    """

    label = "logistic"
    depends_on_seed: ClassVar[bool] = False

    def __init__(self, strengths: list[float], max_iterations: int) -> None:
        require(len(strengths) > 0, "probe.logistic.strengths", strengths, "at least one, such as [0.001,0.01,0.1]")
        require(all(s > 0 for s in strengths), "probe.logistic.strengths", strengths, "numbers above 0")
        require(max_iterations >= 1, "probe.logistic.max_iterations", max_iterations, "at least 1; try 1000")
        self.strengths = sorted(set(strengths), reverse=True)
        self.max_iterations = max_iterations

    def fit_probe(self, features: Features, *, seed: int) -> FittedProbe:
        scaler = StandardScaler()
        train = scaler.fit_transform(features.train.cpu().double().numpy())
        labels, validation_labels = features.train_labels.cpu().numpy(), features.validation_labels.cpu().numpy()
        model = LogisticRegression(max_iter=self.max_iterations, warm_start=True)
        strengths, why = self.strengths, "best validation accuracy"
        if not features.can_validate:
            strengths = [self.strengths[(len(self.strengths) - 1) // 2]]
            why = "middle strength: a class has no validation image"
        best, unconverged = (-1.0, 0.0), 0  # accuracy, minus the log loss: the order of preference
        for strength in strengths:
            unconverged += not fit_model(model, train, labels, strength)
            rank = (0.0, 0.0)
            if features.can_validate:
                shares = build_fitted_probe(scaler, model, features.classes, {}).scores(features.validation)
                accuracy = float((shares.argmax(axis=1) == validation_labels).mean())
                rank = accuracy, -log_loss(validation_labels, shares, labels=range(features.classes))
            if rank > best:
                chosen, best = deepcopy(model), rank
                details: Details = {"strength": strength, "chosen": why}
        if features.can_validate:
            details["validation_accuracy"] = best[0]
        return build_fitted_probe(scaler, chosen, features.classes, details | {"unconverged": unconverged})

    def restore(self, tensors: Mapping[str, Tensor], train: Callable[[], Tensor], classes: int) -> FittedProbe:
        arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
        scaler, model = StandardScaler(), LogisticRegression()
        scaler.mean_, scaler.scale_ = arrays["mean"], arrays["scale"]
        model.coef_, model.intercept_, model.classes_ = arrays["weight"], arrays["bias"], arrays["classes"]
        return build_fitted_probe(scaler, model, classes, {})


def build_fitted_probe(
    scaler: StandardScaler, model: LogisticRegression, classes: int, details: Details
) -> FittedProbe:
    """The model on standardised features; a class that it has not seen has a probability of 0."""

    def shares(features: Tensor) -> NDArray[np.floating[Any]]:
        scores = np.zeros((len(features), classes))
        if len(features):
            rows = scaler.transform(features.cpu().double().numpy())
            scores[:, model.classes_] = model.predict_proba(rows)
        return scores

    arrays = {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "weight": model.coef_,
        "bias": model.intercept_,
        "classes": model.classes_,
    }
    return FittedProbe(shares, {name: torch.from_numpy(np.array(values)) for name, values in arrays.items()}, details)


def fit_model(
    model: LogisticRegression, train: NDArray[np.float64], labels: NDArray[np.int64], strength: float
) -> bool:
    """Fit from where the model stands; whether it converged."""
    model.set_params(C=1 / (strength * len(train)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train, labels)
    return bool(model.n_iter_.max() < model.max_iter)
