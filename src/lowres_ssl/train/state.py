"""How to train, and how far a training is: what the loop of `pretrain.py` is told, carries along, and leaves."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from torch import Tensor, nn

from lowres_ssl.device import CHANNELS_LAST, MEMORY_FORMATS, DevicePrecision, check_device_unchanged
from lowres_ssl.encoders.weights_file import RESTART_HINT, all_finite, is_machine_error, load_latest_state
from lowres_ssl.errors import CheckpointError, ConfigError, TrainingError
from lowres_ssl.methods import Method
from lowres_ssl.train.checkpoint import (
    check_dense_tensors,
    check_loaded_optimiser,
    check_saved_best,
    check_saved_options,
    check_saved_progress,
)
from lowres_ssl.train.history import EpochLog, EpochMeter
from lowres_ssl.train.world import World, check_checkpoint_world_size


@dataclass(frozen=True)
class TrainingOptions:
    """How to train; `conf/recipe/*.yaml` says what each is. `joint`: both views in one forward pass."""

    epochs: int
    batch_size: int
    keep_last_batch: bool
    joint: bool
    learning_rate: float
    momentum: float
    weight_decay: float
    decay_norm_and_bias: bool
    schedule: str
    warmup_epochs: float
    checkpoint_seconds: float
    seed: int

    def steps_per_epoch(self, images: int) -> int:
        """Raises `ConfigError` if there would be none."""
        full, rest = divmod(images, self.batch_size)
        # A batch of one image has nothing to be compared with.
        steps = full + int(self.keep_last_batch and rest > 1)
        if steps == 0:
            raise ConfigError(
                f"batch_size={self.batch_size}: the training set has {images} images, so no batch would be full and "
                f"the whole epoch would be dropped; wanted at most {images}; "
                f"try batch_size={2 ** int(math.log2(images))}"
            )
        return steps

    def views_per_epoch(self, images: int) -> int:
        """Two of each image that is in a batch."""
        return 2 * min(self.steps_per_epoch(images) * self.batch_size, images)


@dataclass(frozen=True)
class BestEncoder:
    """The encoder's weights after `epoch` epochs, and the validation KNN accuracy they had; of a method that sees
    labels its own as well, since they are the encoder's classifier."""

    epoch: int
    accuracy: float
    encoder: dict[str, Tensor]
    classifier: dict[str, Tensor]


@dataclass(frozen=True)
class TrainingResult:
    """What training came to. `best`: where a validation was asked for, the encoder it liked best. `compute`: as it was,
    in the layout of a checkpoint, say, or uncompiled where it could not be compiled."""

    history: list[EpochLog]
    best: BestEncoder | None
    compute: DevicePrecision


class TrainingState:
    """What a training carries from step to step: model, optimiser and scaler, and how far it is. A checkpoint is all of
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
        self.layout = layout
        self.model = model
        self.optimiser = optimiser
        self.batch_size = batch_size
        self.epoch = 0
        self.history: list[EpochLog] = []
        self.best: BestEncoder | None = None
        self.meter = EpochMeter(batch_size)

    def content(self, device: torch.device, processes: int) -> dict[str, Any]:
        """All that a checkpoint holds; the next step changes its tensors. `processes`: that it is bound to."""
        state = {name: part.state_dict() for name, part in self.parts.items()}
        done = {"epoch": self.epoch, "history": self.history, "best": self.best and vars(self.best)}
        made_by = {"device": device.type, "processes": processes, "layout": self.layout}
        return state | done | {"meter": self.meter.state()} | made_by

    def load(self, checkpoint: Path, device: torch.device, processes: int, steps: int) -> bool:
        """Go on from what was saved; False if nothing was. `steps`: of an epoch. Raises `CheckpointError` for a damaged
        checkpoint, one that another kind of device or number of processes wrote, or one of another training."""
        content = load_latest_state(checkpoint)
        if content is None:
            return False
        try:
            check_checkpoint_world_size(content.get("processes", 1), processes, checkpoint)
            check_device_unchanged(content.get("device", device.type), device.type, checkpoint)
            self.take(content, device, steps)
        except (KeyError, IndexError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            if is_machine_error(error):
                raise
            why = str(error).strip().splitlines()
            raise CheckpointError(
                f"{checkpoint}: not a checkpoint of this training ({why[0] if why else repr(error)}); {RESTART_HINT}"
            ) from error
        return True

    def take(self, content: Mapping[str, Any], device: torch.device, steps: int) -> None:
        """All of a checkpoint. Raises whatever it stumbles over where that is not of this training."""
        check_dense_tensors(content)
        check_saved_progress(content, steps)
        check_saved_options(content["optimiser"])
        method = self.model.get_submodule("method")
        assert isinstance(method, Method)
        classifier = method.state_dict() if method.sees_labels else {}
        check_saved_best(
            content["best"], content["epoch"], self.model.get_submodule("encoder").state_dict(), classifier
        )
        self.layout = content["layout"]
        self.model.to(memory_format=MEMORY_FORMATS[self.layout])
        options = [dict(group) for group in self.optimiser.param_groups]
        for name, part in self.parts.items():
            part.load_state_dict(content[name])
        check_loaded_optimiser(self.optimiser, options)
        self.epoch, self.history = content["epoch"], content["history"]
        self.best = content["best"] and BestEncoder(**content["best"])
        self.meter.load_state(content["meter"], device)

    def end_epoch(self, **about: Any) -> EpochLog:
        """The next epoch is done: its line, which has to go into the history."""
        self.epoch += 1
        line = self.meter.line(epoch=self.epoch, **about)
        self.meter = EpochMeter(self.batch_size)
        return line

    def keep(self, line: EpochLog) -> None:
        """Add a line to the history. Raises `CheckpointError` if it has other columns than those that were saved."""
        if self.history and self.history[-1].keys() != line.keys():
            raise CheckpointError(f"the checkpoint's history has other columns than this training's; {RESTART_HINT}")
        self.history = [*self.history, line]

    def check_finite(
        self,
        means: EpochLog,
        training: TrainingOptions,
        compute: DevicePrecision,
        processes: World,
        *,
        weights: bool = False,
    ) -> None:
        """Raises `TrainingError` if the mean of a term in this epoch, or with `weights` one of the model's, is NaN or
        infinite in any process."""
        bad = next((f"the {term}" for term, mean in means.items() if not math.isfinite(mean)), None)
        if bad is None and weights:
            floats = [tensor for tensor in self.model.state_dict().values() if tensor.is_floating_point()]
            if not torch.stack([all_finite(tensor) for tensor in floats]).all():
                bad = "a weight"
        if not processes.all_reduce_max(bad is not None)[0]:
            return
        bad = bad or "a weight of another process"
        terms = ", ".join(f"{term} {mean:.4g}" for term, mean in means.items())
        advice = "" if compute.precision == "fp32" else ", or precision=fp32"
        raise TrainingError(
            f"epoch {self.epoch + 1}, step {self.meter.steps}: {bad} is no longer finite (means of the epoch: {terms});"
            f" what was saved before it is kept; try learning_rate={training.learning_rate / 10:g}, a longer warm-up "
            f"such as warmup_epochs={min(training.epochs, max(5, 2 * training.warmup_epochs)):g}{advice}"
        )


def compute_chance_loss(method: Method, training: TrainingOptions, images: int) -> float | None:
    """The mean over an epoch's batches, the last of which may be smaller, of `Method.chance_loss`."""
    full, rest = divmod(images, training.batch_size)
    sizes = [training.batch_size] * full + [rest] * (training.steps_per_epoch(images) - full)
    losses = [loss for size in sizes if (loss := method.chance_loss(size)) is not None]
    return mean(losses) if losses else None
