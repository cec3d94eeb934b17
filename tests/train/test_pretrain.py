"""The loop, with an encoder of three convolutions on 40 images of noise: what it is given, and what it tells."""

import os
import signal

import numpy as np
import pytest
import torch
from experiments import STEPS, VICREG, Arguments, Make, same
from method_files import METHODS, shrunk
from tiny_training import CPU, SIMCLR, TRAINING
from torch import Tensor, nn

from lowres_ssl.device import DevicePrecision
from lowres_ssl.errors import ConfigError, TrainingError
from lowres_ssl.evaluate.features import EvaluationView, extract_features
from lowres_ssl.train.checkpoint import load_state
from lowres_ssl.train.state import ReadBatch, TrainingOptions

COLUMNS = [
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


def test_kept_encoder_is_the_teacher_where_the_method_has_it_so(experiment: Make) -> None:
    scored = list[nn.Module]()

    def validate(encoder: nn.Module, take: ReadBatch) -> float:
        scored.append(encoder)
        return 0.5

    run = experiment(arguments=shrunk(METHODS["dino"]), validate=validate)
    result, teacher = run.run(), run.method.teacher.network[0]
    assert all(encoder is teacher for encoder in [result.encoder, *scored])
    assert not torch.equal(teacher[0].weight, run.encoder[0].weight)


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
    """A validation's accuracy comes last; the observer gets the history so far."""
    run = experiment(arguments=arguments)
    history = run.run().history
    assert [list(line) for line in history] == [["epoch", "loss", *terms, *COLUMNS]] * 3
    assert run.histories == [history[:1], history[:2], history]
    for line in experiment(arguments=arguments, validate=lambda *_: 0.25).run().history:
        assert list(line) == ["epoch", "loss", *terms, *COLUMNS, "validation_knn_accuracy"]
        assert line["validation_knn_accuracy"] == 0.25


@pytest.mark.parametrize(("precision", "advice"), [("fp32", ""), ("bf16", ", or precision=fp32")])
def test_a_nan_names_the_epoch_the_terms_and_what_to_try(experiment: Make, precision: str, advice: str) -> None:
    run = experiment(arguments=VICREG, precision=precision)
    run.at_call(2 * STEPS + 3, lambda output: output * torch.nan)
    with pytest.raises(TrainingError) as caught:
        run.run()
    assert str(caught.value) == (
        "epoch 2, step 4: the loss is no longer finite (means of the epoch: loss nan, invariance nan, variance nan, "
        "covariance nan); what was saved before it is kept; try learning_rate=0.005, a longer warm-up such as "
        f"warmup_epochs=3{advice}"
    )


def test_a_nan_is_not_saved_by_time_and_the_run_can_be_gone_on_from_what_was(experiment: Make) -> None:
    run, through = experiment(training={"checkpoint_seconds": 0}), experiment()
    run.at_call(2 * STEPS + 3, lambda output: output * torch.nan)
    with pytest.raises(TrainingError, match=r"^epoch 2, step \d: the loss is no longer finite"):
        run.run()
    assert all(weight.isfinite().all() for weight in load_state(run.checkpoint)["model"].values())
    run.prepare().run()
    through.run()
    assert same(run.weights(), through.weights())


def test_a_nan_is_not_saved_when_stopped_either(experiment: Make) -> None:
    run = experiment()
    run.at_call(1, lambda output: output * torch.nan)
    run.at_call(3, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(TrainingError, match=r"^epoch 1, step 2: "):
        run.run()
    assert not run.checkpoint.exists()


def test_a_weight_that_is_not_finite_is_noticed_though_the_loss_is(experiment: Make) -> None:
    """The last step's gradient is infinite: the loss before it was fine."""
    run = experiment(training={"epochs": 1})
    run.at_call(2 * STEPS, lambda output: output.register_hook(lambda gradient: gradient * torch.inf) and None)
    with pytest.raises(TrainingError, match=r"^epoch 1, step 4: a weight is no longer finite \(.*loss \d"):
        run.run()
    assert not run.checkpoint.exists()
