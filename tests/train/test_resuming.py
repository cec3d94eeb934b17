"""Stopped, killed, damaged and gone on with: the same bits as a training that nothing happened to."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from experiments import STEPS, Arguments, Encoders, Make, check_resumed, first_norm, same, timeless
from torch import Tensor, nn

from lowres_ssl.device import MEMORY_FORMATS
from lowres_ssl.errors import CheckpointError, Interrupted
from lowres_ssl.train.checkpoint import load_state, save_state
from lowres_ssl.train.optimizers import SGD
from lowres_ssl.train.state import ReadBatch


def test_a_run_stopped_and_resumed_is_bit_identical(experiment: Make, trained_method: Arguments) -> None:
    settings = {"arguments": trained_method, "training": {"epochs": 2}}
    check_resumed(experiment(**settings), experiment(**settings), [STEPS + 2])


def test_a_run_does_not_depend_on_the_global_generators(experiment: Make) -> None:
    one, other = experiment(), experiment()
    torch.manual_seed(1)
    one.run()
    torch.manual_seed(2)
    other.run()
    assert same(one.weights(), other.weights())


def test_what_a_model_drops_belongs_to_seed_and_step(experiment: Make, tiny_encoder: Encoders) -> None:
    def encoders(seed: int) -> nn.Module:
        return tiny_encoder(seed).append(nn.Dropout(0.5))

    through, stopped, other = (experiment(encoders=encoders, training={"seed": seed}) for seed in (0, 0, 1))
    check_resumed(through, stopped, [STEPS + 2])
    other.run()
    assert not same(other.weights(), through.weights())


@pytest.mark.parametrize("stops", [[1], [3 * STEPS], [2, 1], [STEPS, STEPS], [6, 3, 2]], ids=str)
def test_a_resumed_run_is_bit_identical_wherever_and_however_often_it_stopped(
    experiment: Make, stops: list[int]
) -> None:
    check_resumed(experiment(), experiment(), stops)


@pytest.mark.parametrize(
    "settings",
    [
        {"training": {"joint": True}},
        {"training": {"keep_last_batch": True, "batch_size": 10}},
        {"training": {"optimizer": SGD(momentum=0.0, weight_decay=0.01, decay_norm_and_bias=False)}},
        {"training": {"schedule": "constant"}},
        {"precision": "bf16"},
        {"arguments": {"name": "supervised"}, "labels": np.zeros(40, dtype=np.int64)},  # its classifier has one class
    ],
    ids=str,
)
def test_a_resumed_run_is_bit_identical_under_every_setting(experiment: Make, settings: Arguments) -> None:
    check_resumed(experiment(**settings), experiment(**settings), [3])


@pytest.mark.parametrize("layout", MEMORY_FORMATS)
def test_a_resumed_run_keeps_the_memory_layout_it_was_begun_with(experiment: Make, layout: str) -> None:
    """And so its digits, whatever would be chosen now."""
    (other,) = MEMORY_FORMATS.keys() - {layout}
    through, stopped = experiment(layout=layout), experiment(layout=layout)
    expected = through.run()
    stopped.stop_in_step(STEPS + 2)
    stopped.layout = other
    got = stopped.prepare().run()
    assert expected.compute.layout == got.compute.layout == layout
    kernel = next(weight for weight in stopped.encoder.parameters() if weight.dim() == 4)
    assert kernel.is_contiguous(memory_format=MEMORY_FORMATS[layout])
    assert same(stopped.weights(), through.weights())
    assert timeless(got.history) == timeless(expected.history)


@pytest.mark.parametrize("step", [STEPS + 2, 2 * STEPS + 1])
def test_a_checkpoint_that_nobody_asked_for_is_gone_on_from(experiment: Make, step: int) -> None:
    """As after a crash."""
    through, crashed = experiment(), experiment(training={"checkpoint_seconds": 0})
    expected = through.run()

    def crash(_: Tensor) -> None:
        raise MemoryError

    crashed.at_call(2 * step, crash)
    with pytest.raises(MemoryError):
        crashed.run()
    assert load_state(crashed.checkpoint)["meter"]["steps"] or load_state(crashed.checkpoint)["epoch"]
    got = crashed.prepare().run()
    assert same(crashed.weights(), through.weights())
    assert timeless(got.history) == timeless(expected.history)


def test_a_run_stopped_in_its_last_step_is_loaded_and_not_trained_again(experiment: Make) -> None:
    through, run = experiment(), experiment()
    expected = through.run()
    run.stop_in_step(3 * STEPS)
    run.prepare().at_call(1, lambda _: pytest.fail("a step was made"))
    assert timeless(run.run().history) == timeless(expected.history)
    assert same(run.weights(), through.weights())


@pytest.mark.parametrize(
    ("step", "said"),
    [(6, "epoch 2, step 2 of 4 is saved"), (8, "epoch 2 of 3 is saved"), (12, "epoch 3 of 3 is saved")],
)
@pytest.mark.parametrize(
    ("number", "word", "code"), [(signal.SIGTERM, "terminated", 143), (signal.SIGINT, "interrupted", 130)]
)
def test_a_signal_stops_after_the_step_and_says_what_is_saved(
    experiment: Make, step: int, said: str, number: signal.Signals, word: str, code: int
) -> None:
    caught = experiment().stop_in_step(step, number)
    assert str(caught) == f"{word}; {said}; the same command (without force=true) goes on from there"
    assert caught.exit_code == code


def test_a_signal_after_the_last_checkpoint_is_not_lost_with_what_came_since(experiment: Make) -> None:
    """While the history is written: the epoch just finished is saved all the same."""
    run = experiment(after_epoch=lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Interrupted, match="epoch 1 of 3 is saved"):
        run.run()
    assert load_state(run.checkpoint)["epoch"] == 1


@pytest.mark.parametrize("late", [False, True])
def test_a_signal_while_a_checkpoint_is_written_is_not_swallowed(
    experiment: Make, late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the thread that writes; `late`: when the last epoch has nothing left to do but to wait for that."""
    written = threading.Event()

    def save(path: Path, state: dict[str, Any]) -> None:
        if threading.current_thread() is not threading.main_thread():
            if late:
                written.wait()
            os.kill(os.getpid(), signal.SIGTERM)
        save_state(path, state)

    monkeypatch.setattr("lowres_ssl.train.checkpoint.save_state", save)
    run = experiment(training={"epochs": 1, "checkpoint_seconds": 0}, after_epoch=written.set)
    with pytest.raises(Interrupted, match="epoch 1 of 1 is saved" if late else "is saved"):
        run.run()
    assert not late or load_state(run.checkpoint)["epoch"] == 1


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "half": lambda content: content[: len(content) // 2],
    "a bit": lambda content: content[:3000] + bytes([content[3000] ^ 1]) + content[3001:],
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_checkpoint_without_one_before_is_refused(experiment: Make, damage: Callable[[bytes], bytes]) -> None:
    run = experiment()
    run.stop_in_step(2)
    run.checkpoint.write_bytes(damage(run.checkpoint.read_bytes()))
    with pytest.raises(CheckpointError, match=r"^.*checkpoint.pt: the checkpoint is damaged; start .* force=true$"):
        run.prepare().run()


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_run_with_a_damaged_checkpoint_goes_on_from_the_one_before(
    experiment: Make, damage: Callable[[bytes], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    through, damaged = experiment(), experiment()
    expected = through.run()
    damaged.stop_in_step(STEPS)
    damaged.prepare().stop_in_step(2)
    damaged.checkpoint.write_bytes(damage(damaged.checkpoint.read_bytes()))
    capsys.readouterr()
    damaged.prepare().stop_in_step(1)  # the one before takes no harm from the damaged one
    assert f"{damaged.checkpoint}: the checkpoint is damaged; going on from the one before" in capsys.readouterr().err
    damaged.checkpoint.write_bytes(damage(damaged.checkpoint.read_bytes()))
    got = damaged.prepare().run()
    assert same(damaged.weights(), through.weights())
    assert timeless(got.history) == timeless(expected.history)


def test_a_checkpoint_of_another_device_is_refused(experiment: Make) -> None:
    run = experiment()
    run.stop_in_step(2)
    save_state(run.checkpoint, load_state(run.checkpoint) | {"device": "cuda"})
    with pytest.raises(CheckpointError, match=r"begun with device=cuda, got cpu; type device=cuda to go on, or force"):
        run.prepare().run()


@pytest.mark.parametrize("change", [{"model": {}}, {"meter": {}}, {"optimiser": {}}], ids=str)
def test_a_checkpoint_of_another_training_is_refused_in_one_line(experiment: Make, change: Arguments) -> None:
    run = experiment()
    run.stop_in_step(STEPS + 2)
    save_state(run.checkpoint, load_state(run.checkpoint) | change)
    with pytest.raises(CheckpointError, match=r"not a checkpoint of this training") as caught:
        run.prepare().run()
    assert "\n" not in str(caught.value)


def test_the_history_is_told_again_when_a_run_goes_on(experiment: Make) -> None:
    """Its file may have been damaged meanwhile, or be ahead of the checkpoint."""
    run = experiment()
    run.stop_in_step(STEPS + 2)
    told = run.histories[-1]
    run.histories.clear()
    run.prepare().stop_in_step(1)
    assert run.histories == [told]


@pytest.mark.parametrize("step", [STEPS, STEPS + 2])
def test_the_best_encoder_survives_a_stop(experiment: Make, step: int) -> None:
    """The first epoch's is the best, and the run is stopped after it."""

    def score(encoder: nn.Module, _: ReadBatch) -> float:
        return 1 / float(first_norm(encoder).num_batches_tracked)

    through, stopped = experiment(validate=score), experiment(validate=score)
    expected = through.run().best
    stopped.stop_in_step(step)
    got = stopped.prepare().run().best
    assert expected is not None
    assert got is not None
    assert (got.epoch, got.accuracy) == (expected.epoch, expected.accuracy) == (1, 1 / (2 * STEPS))
    assert same(got.encoder, expected.encoder)
