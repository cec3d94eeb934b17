"""The strictly linear probe: scikit-learn's logistic regression on standardised features."""

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler

from lowres_ssl.probes import Details, Features, Prediction, Probe, require


class Logistic(Probe):
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

    def __init__(self, strengths: list[float], max_iterations: int) -> None:
        require(len(strengths) > 0, "logistic.strengths", strengths, "at least one, such as [0.001,0.01,0.1]")
        require(all(s > 0 for s in strengths), "logistic.strengths", strengths, "numbers above 0")
        require(max_iterations >= 1, "logistic.max_iterations", max_iterations, "at least 1; try 1000")
        self.strengths = sorted(set(strengths), reverse=True)
        self.max_iterations = max_iterations

    def fit_predict(self, features: Features, *, seed: int) -> Prediction:
        scaler = StandardScaler()
        train = scaler.fit_transform(features.train.cpu().double().numpy())
        test, validation = (
            scaler.transform(side.cpu().double().numpy()) if len(side) else side.cpu().double().numpy()
            for side in (features.test, features.validation)
        )
        labels, validation_labels = features.train_labels.cpu().numpy(), features.validation_labels.cpu().numpy()
        model = LogisticRegression(max_iter=self.max_iterations, warm_start=True)

        def scores(rows: NDArray[np.float64]) -> NDArray[np.float64]:
            shares = np.zeros((len(rows), features.classes))
            if len(rows):
                shares[:, model.classes_] = model.predict_proba(rows)
            return shares

        if not features.can_validate:
            strength = self.strengths[(len(self.strengths) - 1) // 2]
            converged = fit(model, train, labels, strength)
            details: Details = {"strength": strength, "chosen": "middle strength: a class has no validation image"}
            return Prediction.from_scores(
                scores(test), scores(validation), details | {"unconverged": int(not converged)}
            )

        best = (-1.0, 0.0)  # accuracy, minus the log loss: the order of preference
        unconverged = 0
        for strength in self.strengths:
            unconverged += not fit(model, train, labels, strength)
            shares = scores(validation)
            accuracy = float((shares.argmax(axis=1) == validation_labels).mean())
            loss = log_loss(validation_labels, shares, labels=range(features.classes))
            if (accuracy, -loss) > best:
                best = (accuracy, -loss)
                details = {"strength": strength, "chosen": "best validation accuracy", "validation_accuracy": accuracy}
                prediction = Prediction.from_scores(scores(test), shares, details)
        prediction.details["unconverged"] = unconverged
        return prediction


def fit(model: LogisticRegression, train: NDArray[np.float64], labels: NDArray[np.int64], strength: float) -> bool:
    """Fit from where the model stands; whether it converged."""
    model.set_params(C=1 / (strength * len(train)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(train, labels)
    return bool(model.n_iter_.max() < model.max_iter)
