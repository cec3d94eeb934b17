"""A loss, a weight or a term that is no number: what is said, and what is left."""

import os
import signal

import pytest
import torch
from experiments import STEPS, VICREG, Make, same

from lowres_ssl.errors import TrainingError
from lowres_ssl.train.checkpoint import load_state


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
