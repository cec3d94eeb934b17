"""KNN: the uniform vote is scikit-learn's to the last bit, the softmax vote that of a slow loop."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from lowres_ssl.errors import ConfigError
from lowres_ssl.probes.base import Features
from lowres_ssl.probes.knn import KNNProbe

Clouds = Callable[..., Features]


def knn(**changes: Any) -> KNNProbe:
    arguments: dict[str, Any] = {"k": 5, "vote": "uniform", "temperature": 0.1, "metric": "euclidean"}
    return KNNProbe(**arguments | {"encoder": "selected"} | changes)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("k", [1, 2, 6, 60])  # 2 and 6: votes are equal now and then
@pytest.mark.parametrize("seed", range(3))
def test_uniform_vote_is_that_of_scikit_learn(clouds: Clouds, metric: str, k: int, seed: int) -> None:
    features = clouds(seed=seed, apart=0.5)
    theirs = KNeighborsClassifier(n_neighbors=k, metric=metric).fit(
        features.train.numpy(), features.train_labels.numpy()
    )
    ours = knn(k=k, metric=metric).fit_probe(features, seed=0).scores(features.test)
    np.testing.assert_array_equal(ours.argmax(axis=1), theirs.predict(features.test.numpy()))
    np.testing.assert_array_equal(ours, theirs.predict_proba(features.test.numpy()))


def slow_softmax_shares(features: Features, k: int, temperature: float, metric: str) -> list[list[float]]:
    """Wu et al. 2018, section 3.4: each of the k nearest adds exp(similarity / temperature) to its class."""
    shares = []
    for query in features.test.double().tolist():
        found = []
        for row, label in zip(features.train.double().tolist(), features.train_labels.tolist(), strict=True):
            if metric == "cosine":
                dot = sum(a * b for a, b in zip(query, row, strict=True))
                similarity = dot / math.sqrt(sum(a * a for a in query) * sum(b * b for b in row))
            else:
                similarity = -sum((a - b) ** 2 for a, b in zip(query, row, strict=True)) / 2
            found.append((similarity, label))
        votes = [0.0] * features.classes
        for similarity, label in sorted(found, reverse=True)[:k]:
            votes[label] += math.exp(similarity / temperature)
        shares.append([vote / sum(votes) for vote in votes])
    return shares


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize(("k", "temperature"), [(1, 0.1), (7, 0.5), (60, 0.1), (60, 2.0)])
def test_softmax_vote_equals_the_slow_loop(clouds: Clouds, metric: str, k: int, temperature: float) -> None:
    features = clouds()
    probe = knn(k=k, vote="softmax", temperature=temperature, metric=metric)
    ours = probe.fit_probe(features, seed=0).scores(features.test)
    np.testing.assert_allclose(ours, slow_softmax_shares(features, k, temperature, metric), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("size", [0.0, 1e-6, 1e6])
def test_softmax_vote_stays_finite(clouds: Clouds, metric: str, size: float) -> None:
    features = clouds()
    scaled = replace(features, train=features.train * size)
    probe = knn(vote="softmax", temperature=1e-3, metric=metric)
    scores = probe.fit_probe(scaled, seed=0).scores(features.test * size)
    np.testing.assert_allclose(scores.sum(axis=1), 1)


def test_k_above_the_training_set_is_refused_and_above_a_class_is_doubtful() -> None:
    with pytest.raises(ConfigError, match=r"^probe\.knn\.k=41: .*: probe\.knn\.k=40;.* such as probe\.knn\.k=5$"):
        knn(k=41).check(train_counts=[30, 10], class_names=["a", "b"])
    (warning,) = knn(k=11).check(train_counts=[30, 10, 3, 11], class_names=["a", "b", "c", "d"])
    assert "2 classes: b (10), c (3)" in warning
