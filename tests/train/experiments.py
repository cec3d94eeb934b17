"""A training with an encoder of three convolutions on 40 images of noise, and what it is compared by."""

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_training import CPU, SIMCLR, TRAINING, VIEWS
from torch import Tensor, nn

from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.device import CHANNELS_LAST, DevicePrecision
from lowres_ssl.errors import Interrupted
from lowres_ssl.methods.base import Method, build_method
from lowres_ssl.train.history import EpochLog
from lowres_ssl.train.loop import pretrain
from lowres_ssl.train.state import Execution, ReadBatch, TrainingData, TrainingObserver, TrainingOptions, TrainingResult

Arguments = dict[str, Any]


Encoders = Callable[[int], nn.Module]
Threads = Callable[[int], None]


STEPS = 4  # an epoch, of 33 images


VICREG = {
    "name": "vicreg",
    "expander_hidden": 16,
    "expander_output": 16,
    "invariance": 25.0,
    "variance": 25.0,
    "covariance": 1.0,
    "average_variance": True,
}


@dataclass
class Experiment:
    """One training and what it needs; `run` goes on from its checkpoint, as a new process would."""

    encoders: Encoders
    store: ImageStore
    checkpoint: Path
    arguments: Arguments = field(default_factory=lambda: dict(SIMCLR))
    precision: str = "fp32"
    rows: range = range(3, 36)  # 33 of the 40
    training: TrainingOptions = TRAINING
    before_saving: Callable[[], None] | None = None
    after_epoch: Callable[[], None] | None = None  # once the history has its line
    validate: Callable[[nn.Module, ReadBatch], float] | None = None
    labels: NDArray[np.int64] | None = None
    preemption: signal.Signals | None = None
    layout: str = CHANNELS_LAST
    seed: int = 0
    encoder: nn.Module = field(init=False)
    method: Method = field(init=False)
    histories: list[list[EpochLog]] = field(default_factory=list)

    def prepare(self) -> "Experiment":
        """New modules, with other weights each time: what is resumed has to come from the checkpoint."""
        self.encoder = self.encoders(self.seed)
        self.method = build_method(self.arguments, features=8, images=40, seed=self.seed)
        if self.method.separates_images:
            self.labels = np.arange(40)
        self.seed += 1
        return self

    def run(self) -> TrainingResult:
        return pretrain(
            encoder=self.encoder,
            method=self.method,
            data=TrainingData(self.store, np.array(self.rows), [VIEWS] * self.training.epochs, labels=self.labels),
            options=self.training,
            execution=Execution(DevicePrecision(CPU, self.precision, layout=self.layout), preemption=self.preemption),
            checkpoint=self.checkpoint,
            name="simclr on noise",
            observer=Recorder(self),
        )

    def at_call(self, number: int, act: Callable[[Tensor], Tensor | None]) -> None:
        """Do something to the output of the encoder's call of this number, from 1; a step makes two (joint: one)."""
        calls = 0

        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> Tensor | None:
            nonlocal calls
            calls += 1
            return act(output) if calls == number else None

        self.encoder.register_forward_hook(hook)

    def stop_in_step(self, step: int, number: signal.Signals = signal.SIGTERM) -> Interrupted:
        """Run until this step, counted from 1 where this run starts; send the signal in the middle of it."""
        self.at_call(step if self.training.joint else 2 * step - 1, lambda _: os.kill(os.getpid(), number))
        with pytest.raises(Interrupted) as caught:
            self.run()
        return caught.value

    def weights(self) -> dict[str, Tensor]:
        model = nn.ModuleDict({"encoder": self.encoder, "method": self.method})
        return {key: value.clone() for key, value in model.state_dict().items()}


class Recorder(TrainingObserver):
    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment

    def check_may_save(self) -> None:
        if self.experiment.before_saving is not None:
            self.experiment.before_saving()

    def record(self, history: list[EpochLog]) -> None:
        self.experiment.histories.append(list(history))
        if self.experiment.after_epoch is not None:
            self.experiment.after_epoch()

    def validate(self, encoder: nn.Module, read: ReadBatch) -> float | None:
        return None if self.experiment.validate is None else self.experiment.validate(encoder, read)


Make = Callable[..., Experiment]


def timeless(history: list[EpochLog]) -> list[EpochLog]:
    return [
        {key: value for key, value in line.items() if key not in ("seconds", "views_per_second", "compile_seconds")}
        for line in history
    ]


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[key]) for key, value in one.items())


def check_resumed(through: Experiment, stopped: Experiment, stops: list[int]) -> None:
    """The same weights and history, one run through and one stopped at these steps, each counted from its start."""
    expected = through.run()
    for step in stops:
        stopped.stop_in_step(step)
        stopped.prepare()
    got = stopped.run()
    assert same(stopped.weights(), through.weights())
    assert timeless(got.history) == timeless(expected.history)


def first_norm(encoder: nn.Module) -> nn.BatchNorm2d:
    assert isinstance(encoder[1], nn.BatchNorm2d)
    return encoder[1]
