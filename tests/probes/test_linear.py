"""The MLP probe: which epoch's weights, which learning rate, which randomness."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import Tensor, nn

from lowres_ssl.errors import TrainingError
from lowres_ssl.probes import linear
from lowres_ssl.probes.base import Features
from lowres_ssl.probes.batched_mlp import HeadTraining
from lowres_ssl.probes.linear import MLPProbe, copy_weights

Clouds = Callable[..., Features]
Weights = dict[str, Tensor]


def mlp(**changes: Any) -> MLPProbe:
    arguments: dict[str, Any] = {
        "hidden": 8,
        "batch_size": 16,
        "learning_rate": 0.05,
        "epochs": 3,
        "step_size": 25,
        "gamma": 0.5,
        "encoder": "selected",
        "restart_from_best": False,
        "schedule_delay": 0,
    }
    return MLPProbe(**arguments | changes)


def as_pytorch_has_it(weights: Mapping[str, Tensor], place: int) -> nn.Sequential:
    """One of `BatchedMLP`, from their `state_dict`, in evaluation mode."""
    own = {name: values[place] for name, values in weights.items()}
    (features, hidden), classes = own["first"].shape, len(own["last_bias"])
    head = nn.Sequential(
        nn.Linear(features, hidden), nn.BatchNorm1d(hidden), nn.LeakyReLU(), nn.Linear(hidden, classes)
    )
    state = {
        "0.weight": own["first"].T,
        "0.bias": own["first_bias"],
        "1.weight": own["scale"],
        "1.bias": own["shift"],
        "1.running_mean": own["mean"],
        "1.running_var": own["variance"],
        "1.num_batches_tracked": torch.tensor(0),
        "3.weight": own["last"].T,
        "3.bias": own["last_bias"],
    }
    head.load_state_dict(state)
    return head.eval()


def without_validation_of_class_0(features: Features) -> Features:
    kept = features.validation_labels != 0
    return replace(features, validation=features.validation[kept], validation_labels=features.validation_labels[kept])


def validation_scores_by_epoch(features: Features, epochs: int, **changes: Any) -> list[np.ndarray[Any, Any]]:
    """Softmax scores of the validation images after each epoch: runs of growing length that take the last epoch."""
    asked = without_validation_of_class_0(features)
    fits = [mlp(epochs=n, **changes).fit_probe(asked, seed=0) for n in range(1, epochs + 1)]
    return [fitted.scores(features.validation) for fitted in fits]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What stood at the start and the end of each epoch: weights, learning rate, Adam's steps."""
    epochs: list[dict[str, Any]] = []
    really = HeadTraining.epoch

    def watch(self: HeadTraining, orders: Tensor) -> None:
        group = self.groups[0]
        seen: dict[str, Any] = {"start": copy_weights(self.heads), "rate": group.rate}
        really(self, orders)
        epochs.append(seen | {"end": copy_weights(self.heads), "steps": group.steps[0].item()})

    monkeypatch.setattr(HeadTraining, "epoch", watch)
    return epochs


def loss_of(labels: np.ndarray[Any, Any], scores: np.ndarray[Any, Any]) -> float:
    """Cross-entropy; scikit-learn wants rows that sum to 1 in float64."""
    rows = scores.astype(np.float64)
    return float(log_loss(labels, rows / rows.sum(axis=1, keepdims=True)))


def same(one: Weights, other: Weights) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("seed", [0, 3, 5])  # in each of these, two epochs share the best accuracy
def test_weights_of_the_best_validation_epoch_are_taken_and_of_equals_the_lower_loss(clouds: Clouds, seed: int) -> None:
    features = clouds(validation=2, apart=0.7, seed=seed)
    labels = features.validation_labels.numpy()
    by_epoch = validation_scores_by_epoch(features, 8)
    accuracies = [float((scores.argmax(axis=1) == labels).mean()) for scores in by_epoch]
    losses = [loss_of(labels, scores) for scores in by_epoch]
    best = max(range(8), key=lambda epoch: (accuracies[epoch], -losses[epoch]))
    fitted = mlp(epochs=8).fit_probe(features, seed=0)
    assert accuracies.count(max(accuracies)) > 1, "an example without equals shows nothing"
    assert fitted.details["epoch"] == best + 1
    assert fitted.details["validation_accuracy"] == pytest.approx(accuracies[best])
    assert fitted.details["chosen"] == "best validation accuracy"
    np.testing.assert_array_equal(fitted.scores(features.validation), by_epoch[best])


@pytest.mark.parametrize(
    "thin",
    [
        without_validation_of_class_0,
        lambda f: replace(f, validation=f.validation[:0], validation_labels=f.validation_labels[:0]),
    ],
    ids=["class missing", "none"],
)
def test_last_epoch_where_a_class_has_no_validation_image(
    clouds: Clouds, watched: list[dict[str, Any]], thin: Callable[[Features], Features]
) -> None:
    features = thin(clouds(apart=0.7))
    fitted = mlp(epochs=5).fit_probe(features, seed=0)
    assert fitted.details == {"epoch": 5, "chosen": "last epoch: a class has no validation image"}
    wanted = scores_of(watched[-1]["end"], features.test)
    np.testing.assert_allclose(fitted.scores(features.test), wanted, atol=1e-6)


def scores_of(weights: Weights, inputs: Tensor) -> np.ndarray[Any, Any]:
    """What the first head says by PyTorch's own layers, softmax scores [n, C]."""
    head = as_pytorch_has_it(weights, 0)
    with torch.no_grad():
        return head(inputs).softmax(dim=1).numpy()


@pytest.mark.parametrize("delay", [0, 4])
@pytest.mark.parametrize(("step_size", "gamma"), [(1, 0.5), (3, 0.1), (2, 1.0)])
def test_rate_is_multiplied_by_gamma_every_step_size_epochs_after_the_delay(
    clouds: Clouds, watched: list[dict[str, Any]], step_size: int, gamma: float, delay: int
) -> None:
    mlp(epochs=9, step_size=step_size, gamma=gamma, schedule_delay=delay).fit_probe(clouds(), seed=0)
    wanted = [0.05 * gamma ** (max(0, epoch - delay) // step_size) for epoch in range(9)]
    assert [epoch["rate"] for epoch in watched] == pytest.approx(wanted)


def test_restart_from_best_begins_each_epoch_with_the_best_weights_so_far(
    clouds: Clouds, watched: list[dict[str, Any]]
) -> None:
    features = clouds(validation=2, apart=0.5)
    fitted = mlp(epochs=10, restart_from_best=True).fit_probe(features, seed=0)
    labels = features.validation_labels.numpy()
    standing: tuple[float, float, Weights] | None = None
    turned_back = 0
    for number, epoch in enumerate(watched):
        if standing is not None:
            assert same(epoch["start"], standing[2])
            turned_back += not same(epoch["start"], watched[number - 1]["end"])
        scores = scores_of(epoch["end"], features.validation)
        rank = float((scores.argmax(axis=1) == labels).mean()), -loss_of(labels, scores)
        if standing is None or rank > standing[:2]:
            standing = (*rank, epoch["end"])
    assert 0 < turned_back < 9, "an example that always or never turns back shows nothing"
    assert [epoch["steps"] for epoch in watched] == [4 * n for n in range(1, 11)], "Adam's state runs on"
    assert standing is not None
    np.testing.assert_allclose(fitted.scores(features.test), scores_of(standing[2], features.test), atol=1e-6)


@pytest.mark.parametrize("validation", [0, 6])
def test_divergence_names_a_tenth_of_the_learning_rate(clouds: Clouds, validation: int) -> None:
    features = clouds(validation=validation)
    with pytest.raises(TrainingError, match=r"learning_rate=1e\+30; try probe\.linear\.learning_rate=1e\+29$"):
        mlp(learning_rate=1e30).fit_probe(features, seed=0).scores(features.test)


@pytest.mark.parametrize(("batch_size", "steps"), [(2, 4), (4, 2), (8, 1), (5, 2), (3, 3), (9, 1), (50, 1)])
def test_last_batch_is_kept_unless_it_is_a_single_image(
    clouds: Clouds, watched: list[dict[str, Any]], batch_size: int, steps: int
) -> None:
    mlp(batch_size=batch_size, epochs=1).fit_probe(clouds(train=3), seed=0)  # of three classes
    assert watched[0]["steps"] == steps


@pytest.mark.parametrize(("width", "threads"), [(8, 1), (linear.FEW_FEATURES, 1), (linear.FEW_FEATURES + 1, 2)])
def test_few_features_are_one_threads_work_and_the_others_come_back(width: int, threads: int) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with linear.limit_threads(torch.zeros(3, width)):
            assert torch.get_num_threads() == threads
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
