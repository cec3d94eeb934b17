"""The loop, with an encoder of three convolutions on 40 images of noise: what it is given, and what it tells."""

import numpy as np
import pytest
import torch
from experiments import VICREG, Arguments, Make, same
from tiny_training import CPU, SIMCLR, TRAINING
from torch import Tensor, nn

from lowres_ssl.device import DevicePrecision
from lowres_ssl.errors import ConfigError
from lowres_ssl.evaluate.features import EvaluationView, extract_features
from lowres_ssl.train.state import ReadBatch, TrainingOptions

COLUMNS = [
    "epoch",
    "loss",
    "learning_rate",
    "embedding_std",
    "effective_rank",
    "views_per_second",
    "seconds",
    "compile_seconds",
    "image_size",
]


@pytest.mark.parametrize(("images", "advised"), [(7, 4), (8, 8), (63, 32), (2, 2)])
def test_a_batch_larger_than_the_set_is_refused_with_the_largest_power_of_two(images: int, advised: int) -> None:
    training = TrainingOptions(**vars(TRAINING) | {"batch_size": 64})
    with pytest.raises(ConfigError) as caught:
        training.steps_per_epoch(images)
    assert str(caught.value).startswith(f"batch_size=64: the training set has {images} images, ")
    assert str(caught.value).endswith(f"; try batch_size={advised}")


@pytest.mark.parametrize(
    ("images", "keep", "steps"),
    [(8, False, 1), (8, True, 1), (15, False, 1), (15, True, 2), (16, True, 2), (17, True, 2), (18, True, 3)],
)
def test_an_incomplete_last_batch_is_dropped_or_kept_but_for_a_single_image(
    images: int, keep: bool, steps: int
) -> None:
    assert TrainingOptions(**vars(TRAINING) | {"keep_last_batch": keep}).steps_per_epoch(images) == steps


@pytest.mark.parametrize(
    ("rows", "keep", "sizes"),
    [(24, False, [8, 8, 8]), (27, False, [8, 8, 8]), (27, True, [8, 8, 8, 3]), (25, True, [8, 8, 8])],
)
def test_a_step_sees_two_views_of_each_image_of_its_batch(
    experiment: Make, rows: int, keep: bool, sizes: list[int]
) -> None:
    run = experiment(rows=range(rows), training={"keep_last_batch": keep, "epochs": 1})
    seen: list[int] = []
    run.encoder.register_forward_hook(lambda _module, inputs, _output: seen.append(len(inputs[0])))
    (line,) = run.run().history
    assert seen == [size for size in sizes for _ in range(2)]
    assert line["views_per_second"] * line["seconds"] == pytest.approx(sum(seen))


def test_a_method_gets_labels_if_it_sees_them_and_only_then(experiment: Make) -> None:
    with pytest.raises(ValueError, match="is given labels if it takes them, and only then"):
        experiment(labels=np.zeros(40, dtype=np.int64)).run()


def test_the_best_encoder_is_the_latest_of_equals(experiment: Make) -> None:
    scores, seen = iter([0.5, 0.75, 0.75, 0.25]), list[dict[str, Tensor]]()

    def validate(encoder: nn.Module, take: ReadBatch) -> float:
        seen.append({key: value.clone() for key, value in encoder.state_dict().items()})
        return next(scores)

    best = experiment(validate=validate, training={"epochs": 4}).run().best
    assert best is not None
    assert (best.epoch, best.accuracy) == (3, 0.75)
    assert same(best.encoder, seen[2])


def test_training_goes_on_in_training_mode_after_a_validation(experiment: Make) -> None:
    def validate(encoder: nn.Module, take: ReadBatch) -> float:
        view = EvaluationView(12, (0.5,) * 3, (0.25,) * 3)
        return float(extract_features(encoder, take, [0, 1, 2], view, DevicePrecision(CPU, "fp32")).std())

    run, seen = experiment(validate=validate), set[tuple[int, bool]]()
    run.encoder.register_forward_hook(lambda module, inputs, _: seen.add((len(inputs[0]), module.training)))
    run.run()
    assert seen == {(8, True), (3, False)}


def test_a_validation_changes_nothing_in_the_training(experiment: Make) -> None:
    plain, validated = experiment(), experiment(validate=lambda *_: float(torch.rand(())))
    plain.run()
    validated.run()
    assert same(plain.weights(), validated.weights())


@pytest.mark.parametrize(
    ("arguments", "terms"), [(SIMCLR, []), (VICREG, ["invariance", "variance", "covariance"])], ids=["simclr", "vicreg"]
)
def test_lines_of_the_history_have_the_documented_columns(
    experiment: Make, arguments: Arguments, terms: list[str]
) -> None:
    history = experiment(arguments=arguments).run().history
    assert [list(line) for line in history] == [[*COLUMNS[:2], *terms, *COLUMNS[2:]]] * 3


def test_lines_with_a_validation_have_its_accuracy_last(experiment: Make) -> None:
    history = experiment(validate=lambda *_: 0.25).run().history
    assert [list(line) for line in history] == [[*COLUMNS, "validation_knn_accuracy"]] * 3
    assert {line["validation_knn_accuracy"] for line in history} == {0.25}


def test_on_epoch_is_given_the_history_so_far(experiment: Make) -> None:
    run = experiment()
    history = run.run().history
    assert run.histories == [history[:1], history[:2], history]
