"""Define what a training is given, what it carries from step to step, and what it leaves."""

import math
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lowres_ssl.augment.augmentation import Augmentation
from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.device import CHANNELS_LAST, MEMORY_FORMATS, DevicePrecision
from lowres_ssl.encoders.weights_file import is_machine_error
from lowres_ssl.errors import CheckpointError, ConfigError, TrainingError
from lowres_ssl.methods.base import Method
from lowres_ssl.train.checkpoint import RESTART_HINT, load_latest_state
from lowres_ssl.train.history import EpochLog, EpochMeter
from lowres_ssl.train.optimizers import Optimizer
from lowres_ssl.train.world import SINGLE_PROCESS, World

ReadBatch = Callable[[NDArray[np.int64]], Tensor]  # rows of a store [B] to their images, uint8 [B, C, R, R]


def count_steps(images: int, batch_size: int, *, keep_last_batch: bool) -> int:
    """Count the steps of an epoch; 0 where no batch is full."""
    full, rest = divmod(images, batch_size)
    # A batch of one image has nothing to be compared with.
    return full + int(keep_last_batch and rest > 1)


def count_views(images: int, batch_size: int, *, keep_last_batch: bool, views_per_image: int = 2) -> int:
    """Count the views of an epoch, of the images that are in a batch."""
    return views_per_image * min(count_steps(images, batch_size, keep_last_batch=keep_last_batch) * batch_size, images)


@dataclass(frozen=True)
class TrainingOptions:
    """Hold how to train; `conf/recipe/*.yaml` explains each. `joint`: all views of a size in one forward pass."""

    epochs: int
    batch_size: int
    keep_last_batch: bool
    joint: bool
    learning_rate: float
    optimizer: Optimizer
    schedule: str
    warmup_epochs: float
    checkpoint_seconds: float
    seed: int
    constant_predictor_rate: bool = False
    views_per_image: int = 2  # of the method, in a step

    def steps_per_epoch(self, images: int) -> int:
        """Count the steps of an epoch. Raises `ConfigError` if there would be none."""
        steps = count_steps(images, self.batch_size, keep_last_batch=self.keep_last_batch)
        if steps == 0:
            raise ConfigError(
                f"batch_size={self.batch_size}: the training set has {images} images, so no batch would be full and "
                f"the whole epoch would be dropped; wanted at most {images}; "
                f"try batch_size={2 ** int(math.log2(images))}"
            )
        return steps

    def views_per_epoch(self, images: int) -> int:
        """Count the views of the images that are in a batch. Raises as `steps_per_epoch`."""
        self.steps_per_epoch(images)
        return count_views(
            images,
            self.batch_size,
            keep_last_batch=self.keep_last_batch,
            views_per_image=self.views_per_image,
        )


@dataclass(frozen=True)
class TrainingData:
    """Name the images to train on: `rows` of the store, int64 [n].

    `views`: the augmentation of each epoch. `labels`: int64 [N], one a row of the store, for a method that takes them,
    else None. `place`: where the images are, see `BatchReader`. `groups`: int64 [N], the patient of each row of the
    store, -1 for an unknown one; with it the second view is one of another image of the same patient.
    """

    store: ImageStore
    rows: NDArray[np.int64]
    views: Sequence[Augmentation]
    place: str = "host"
    labels: NDArray[np.int64] | None = None
    groups: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Execution:
    """Hold what a training runs on: this process's device, and the `processes` that share each batch, all called alike.

    `sync_batch_norm`: BatchNorm's statistics are the whole batch's, on GPUs. `preemption`: the signal by which a
    scheduler asks for its machine.
    """

    compute: DevicePrecision
    processes: World = SINGLE_PROCESS
    sync_batch_norm: bool = False
    preemption: signal.Signals | None = None


class TrainingObserver:
    """Follow a training from outside, in the first process alone; by default it does nothing."""

    def check_may_save(self) -> None:
        """Raise, before a checkpoint is written, where this process may not write one any more."""

    def record(self, history: list[EpochLog]) -> None:
        """Take the history so far: once where a training is resumed, and after each epoch."""

    def validate(self, encoder: nn.Module, read: ReadBatch) -> float | None:
        """Score the encoder after an epoch, None not to; `read` has images where the loop has them."""
        return None


@dataclass(frozen=True)
class BestEncoder:
    """Keep the encoder's weights after `epoch` epochs, and the validation KNN accuracy they had; of a method that sees
    labels its own as well, since they are the encoder's classifier."""

    epoch: int
    accuracy: float
    encoder: dict[str, Tensor]
    classifier: dict[str, Tensor]


@dataclass(frozen=True)
class TrainingResult:
    """Hold what training came to. `encoder`: the one to keep as of the last epoch. `best`: the one that validation
    scored highest, if any was scored. `compute`: as it was, for example in the layout of a checkpoint, or uncompiled
    where it could not be compiled. `chance_loss`: the mean over an epoch's batches, None where nothing is
    contrasted."""

    encoder: nn.Module
    history: list[EpochLog]
    best: BestEncoder | None
    compute: DevicePrecision
    chance_loss: float | None


class TrainingState:
    """Carry from step to step model, optimiser and scaler of a training, and how far it is. A checkpoint is all of
    it, and no generator's state, since no draw needs one.

    `epoch`: how many are done; `meter`: sums over the steps of the next one; `history`: a line an epoch; `layout`: of
    the model in memory, which is that of the checkpoint, since another one has other digits.
    """

    def __init__(
        self,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        scaler: torch.amp.GradScaler,
        batch_size: int,
        layout: str = CHANNELS_LAST,
    ) -> None:
        self.parts: Mapping[str, Any] = {"model": model, "optimiser": optimiser, "scaler": scaler}
        self.model, self.layout, self.batch_size = model, layout, batch_size
        self.epoch = 0
        self.history: list[EpochLog] = []
        self.best: BestEncoder | None = None
        self.meter = EpochMeter(batch_size)

    def content(self, device: torch.device, processes: int) -> dict[str, Any]:
        """List all that a checkpoint holds; the next step changes its tensors. `processes`: that it is bound to."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        done = {"epoch": self.epoch, "history": self.history, "best": self.best and vars(self.best)}
        made_by = {"device": device.type, "processes": processes, "layout": self.layout}
        return state | done | {"meter": self.meter.state()} | made_by

    def load(self, checkpoint: Path, device: torch.device, processes: int) -> bool:
        """Go on from what was saved; False if nothing was. Raises `CheckpointError` for a damaged checkpoint, one that
        another kind of device or number of processes wrote, or one of another training."""
        content = load_latest_state(checkpoint)
        if content is None:
            return False
        try:
            check_same_machine(content, device, processes, checkpoint)
            self.layout = content["layout"]
            self.model.to(memory_format=MEMORY_FORMATS[self.layout])
            for name, part in self.parts.items():
                part.load_state_dict(content[name])
            self.epoch, self.history = content["epoch"], content["history"]
            self.best = content["best"] and BestEncoder(**content["best"])
            self.meter.load_state(content["meter"], device)
        except (KeyError, ValueError, TypeError, RuntimeError) as error:
            if is_machine_error(error):
                raise
            why = (str(error).strip() or repr(error)).splitlines()[0]
            raise CheckpointError(f"{checkpoint}: not a checkpoint of this training ({why}); {RESTART_HINT}") from error
        return True

    def end_epoch(self, *, views: int, learning_rate: float) -> EpochLog:
        """Count the next epoch as done and return its line, which has to go into the history."""
        self.epoch += 1
        line = self.meter.line(epoch=self.epoch, views=views, learning_rate=learning_rate)
        self.meter = EpochMeter(self.batch_size)
        return line

    def check_finite(self, options: TrainingOptions, execution: Execution, *, weights: bool = False) -> None:
        """Raise `TrainingError` if the mean of a term in this epoch, or with `weights` one of the model's, is NaN or
        infinite in any process."""
        means = self.meter.means()
        bad = next((f"the {term}" for term, mean in means.items() if not math.isfinite(mean)), None)
        if bad is None and weights:
            floats = [tensor for tensor in self.model.state_dict().values() if tensor.is_floating_point()]
            if not torch.stack([tensor.isfinite().all() for tensor in floats]).all():
                bad = "a weight"
        if not execution.processes.all_reduce_max(bad is not None)[0]:
            return
        terms = ", ".join(f"{term} {mean:.4g}" for term, mean in means.items())
        advice = "" if execution.compute.precision == "fp32" else ", or precision=fp32"
        raise TrainingError(
            f"epoch {self.epoch + 1}, step {self.meter.steps}: {bad or 'a weight of another process'} is no longer "
            f"finite (means of the epoch: {terms}); what was saved before it is kept; "
            f"try learning_rate={options.learning_rate / 10:g}, a longer warm-up such as "
            f"warmup_epochs={min(options.epochs, max(5, 2 * options.warmup_epochs)):g}{advice}"
        )


def check_same_machine(content: Mapping[str, Any], device: torch.device, processes: int, checkpoint: Path) -> None:
    """Raise `CheckpointError` for a checkpoint of another kind of device or number of processes: going on would not be
    exact, be it for kernels, for BatchNorm's statistics of each share or for the order of sums."""
    if content["processes"] != processes:
        raise CheckpointError(
            f"{checkpoint}: written by {content['processes']} processes, got {processes}, which would not go on "
            f"exactly; go on with torchrun --nproc-per-node={content['processes']}, or from scratch with force=true"
        )
    if content["device"] != device.type:
        raise CheckpointError(
            f"{checkpoint}: begun with device={content['device']}, got {device.type}; type "
            f"device={content['device']} to go on, or force=true to start again"
        )


def compute_chance_loss(method: Method, options: TrainingOptions, images: int) -> float | None:
    """Average `Method.chance_loss` over an epoch's batches, the last of which may be smaller."""
    full, rest = divmod(images, options.batch_size)
    sizes = [options.batch_size] * full + [rest] * (options.steps_per_epoch(images) - full)
    losses = [loss for size in sizes if (loss := method.chance_loss(size)) is not None]
    return mean(losses) if losses else None
