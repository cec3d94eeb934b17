"""The k-nearest-neighbour classifier: scikit-learn's, with a softmax vote beside the uniform one."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.config.check import require
from lowres_ssl.data.catalogue_subset import format_classes
from lowres_ssl.errors import ConfigError
from lowres_ssl.probes.base import Features, FittedProbe, Probe


@dataclass(eq=False)
class KNNProbe(Probe):
    """The classes of the `k` nearest training images vote.

    `vote="uniform"`: each counts 1 (the paper's KNN, with `metric="euclidean"` and k = 200: exactly scikit-learn's
    `KNeighborsClassifier`). `vote="softmax"`: each counts exp(similarity / temperature) (Wu et al., Instance
    Discrimination, 2018, arXiv 1805.01978, section 3.4; their temperature is 0.07). The similarity is the cosine, or
    minus half the squared distance for `metric="euclidean"`: on rows of length 1 that is the cosine but for a constant,
    on others it depends on their length, and the temperature must fit that.

    Equal votes go to the first class, equal distances as scikit-learn orders them. Memory is bounded by scikit-learn's
    chunks. No random numbers.
    """

    depends_on_seed: ClassVar[bool] = False

    k: int
    vote: Literal["uniform", "softmax"]
    temperature: float
    metric: Literal["cosine", "euclidean"]
    encoder: Literal["selected", "last"] = field()  # its default is the file's

    def __post_init__(self) -> None:
        require(self.k >= 1, "probe.knn.k", self.k, "at least 1")
        require(self.temperature > 0, "probe.knn.temperature", self.temperature, "a number above 0")
        self.label = f"KNN (k={self.k})"

    def check(self, *, train_counts: Sequence[int], class_names: Sequence[str]) -> list[str]:
        warnings = super().check(train_counts=train_counts, class_names=class_names)
        images = sum(train_counts)
        if self.k > images:
            raise ConfigError(
                f"probe.knn.k={self.k}: the training set has {images} images; the largest that would do: "
                f"probe.knn.k={images}; a small set wants a small k, such as probe.knn.k={min(5, images)}"
            )
        small = {name: n for name, n in zip(class_names, train_counts, strict=True) if n < self.k}
        if small:
            warnings.append(
                f"probe.knn.k={self.k} is above the number of training images of {format_classes(small)}: larger "
                "classes can outvote them"
            )
        return warnings

    def at_fraction(self, fraction: float) -> "KNNProbe":
        """k shrinks with the labels: k times the fraction, rounded, at least 1, so that the same share of the training
        images votes."""
        probe = copy(self)
        probe.k = max(1, round(self.k * fraction))
        return probe

    def fit_probe(self, features: Features, *, seed: int) -> FittedProbe:
        return self.restore({"labels": features.train_labels}, lambda: features.train, features.classes)

    def restore(self, tensors: Mapping[str, Tensor], train: Callable[[], Tensor], classes: int) -> FittedProbe:
        # Importing it takes a second, for which a training without scores need not wait.
        from sklearn.neighbors import KNeighborsClassifier

        weights = "uniform" if self.vote == "uniform" else self.softmax_weights
        classifier = KNeighborsClassifier(self.k, metric=self.metric, weights=weights)
        classifier.fit(train().cpu().numpy(), tensors["labels"].cpu().numpy())

        def shares(queries: Tensor) -> NDArray[np.floating[Any]]:
            scores = np.zeros((len(queries), classes))
            if len(queries):
                # classes_: a class without a training image has no column.
                scores[:, classifier.classes_] = classifier.predict_proba(queries.cpu().numpy())
            return scores

        return FittedProbe(shares, {"labels": tensors["labels"]}, {"k": self.k})

    def softmax_weights(self, distances: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        """The vote of each neighbour, [n, K] from distances [n, K], the nearest counting 1: only shares matter."""
        distances = distances.astype(np.float64)
        similarities = 1 - distances if self.metric == "cosine" else -(distances**2) / 2
        weights: NDArray[np.floating[Any]] = np.exp(
            (similarities - similarities.max(axis=1, keepdims=True)) / self.temperature
        )
        return weights
