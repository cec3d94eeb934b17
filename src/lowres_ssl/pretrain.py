"""THE loop: two views of each image, the method's loss, a step; every epoch into the history, resumable at any step.

It knows no folder beyond the checkpoint it is given, and labels only if it is given them, for a supervised method.
Every draw derives from (seed, epoch, image) and the order of the images from (seed, epoch), so that a checkpoint needs
no generator's state.
"""

import math
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lowres_ssl.batches import make_batches
from lowres_ssl.checkpoint import latest_state, save_state
from lowres_ssl.data.store import ImageStore
from lowres_ssl.device import Compute, check_same_device
from lowres_ssl.distributed import ALONE, Processes, check_same_number
from lowres_ssl.errors import ConfigError, TrainingError
from lowres_ssl.forward import make_forward
from lowres_ssl.history import Line, Meter
from lowres_ssl.interruption import Deferred
from lowres_ssl.methods import Method
from lowres_ssl.optimisation import learning_rate_at, make_optimiser
from lowres_ssl.progress import Progress
from lowres_ssl.residence import reader
from lowres_ssl.views.maker import ViewMaker


@dataclass(frozen=True)
class Training:
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
    checkpoint_every: int
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
class Trained:
    """What training came to. `best`: where a validation was asked for, the encoder it liked best."""

    history: list[Line]
    best: "Best | None"


@dataclass(frozen=True)
class Best:
    """The encoder's weights after `epoch` epochs, and the validation KNN accuracy they had; of a method that sees
    labels its own as well, since they are the encoder's classifier."""

    epoch: int
    accuracy: float
    encoder: dict[str, Tensor]
    classifier: dict[str, Tensor]


def pretrain(
    *,
    encoder: nn.Module,
    method: Method,
    store: ImageStore,
    rows: Sequence[int],
    views: Sequence[ViewMaker],
    training: Training,
    compute: Compute,
    place: str,
    checkpoint: Path,
    name: str,
    on_epoch: Callable[[list[Line]], None],
    validate: Callable[[nn.Module], float] | None = None,
    labels: NDArray[np.int64] | None = None,
    processes: Processes = ALONE,
    sync_batch_norm: bool = False,
    preemption: signal.Signals | None = None,
) -> Trained:
    """Train `encoder` and `method`'s heads in place on the store's `rows`, from `checkpoint` on if it is there.

    `views`: their maker in each epoch. `labels`: [N], one a row of the store, for a method that sees them. `place`:
    where the images are, see `residence.reader`. `on_epoch` is given the history after each epoch. `validate` scores
    the encoder after each; the best is the one with the highest score, of equals the latest, as in the paper's released
    code. Raises `TrainingError` if a loss or a weight is not finite, leaving the checkpoint before; `Interrupted` on
    SIGINT, SIGTERM and `preemption`, the signal by which a scheduler asks for its machine, after writing one.

    `processes`: that share each batch, all called alike; the first alone writes. `sync_batch_norm`: its statistics are
    the whole batch's, on GPUs. Raises `CheckpointError` for a checkpoint that another number of them would change.
    """
    if not method.trains:
        raise ValueError(f"{type(method).__name__} trains nothing: its encoder is the one that training starts from")
    if method.sees_labels != (labels is not None):
        raise ValueError(f"{type(method).__name__} is given labels if it sees them, and only then")
    if not processes.leads:  # the first process writes and scores for all
        on_epoch, validate = ignore, None
    images = np.asarray(rows, dtype=np.int64)
    targets = None if labels is None else torch.from_numpy(labels)
    steps = training.steps_per_epoch(len(images))
    views_per_epoch = training.views_per_epoch(len(images))
    warmup = round(training.warmup_epochs * steps)
    take = reader(store, compute.device, place)
    encoder.to(compute.device).train()
    method.to(compute.device).train()
    model = nn.ModuleDict({"encoder": encoder, "method": method})
    if sync_batch_norm and processes.size > 1:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    optimiser = make_optimiser(model, training.momentum, training.weight_decay, training.decay_norm_and_bias)
    scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.precision == "fp16")
    epoch, history, best, meter = 0, list[Line](), None, Meter(training.batch_size)

    forward = make_forward(encoder, method, compute, joint=training.joint, processes=processes)

    def save() -> None:
        parts: dict[str, Any] = {"model": model, "optimiser": optimiser, "scaler": scaler}
        state = {name: part.state_dict() for name, part in parts.items()}
        progress = {"epoch": epoch, "history": history, "best": best and vars(best), "meter": meter.state()}
        if processes.leads:
            made_by = {"device": compute.device.type, "processes": 1 if sync_batch_norm else processes.size}
            save_state(checkpoint, state | progress | made_by)
        processes.largest(0)  # none leaves before it is written

    content = latest_state(checkpoint)
    if content is not None:
        check_same_number(content.get("processes", 1), 1 if sync_batch_norm else processes.size, checkpoint)
        check_same_device(content.get("device", compute.device.type), compute.device.type, checkpoint)
        model.load_state_dict(content["model"])
        optimiser.load_state_dict(content["optimiser"])
        scaler.load_state_dict(content["scaler"])
        epoch, history, best = content["epoch"], content["history"], content["best"] and Best(**content["best"])
        meter.load_state(content["meter"], compute.device)
        if history:  # what was told of it may have been lost, or be ahead
            on_epoch(history)

    done = epoch * steps + meter.steps
    with (
        Deferred(preemption) as stop,
        Progress(
            name=name,
            epochs=training.epochs,
            steps_per_epoch=steps,
            done=done,
            views_per_step=views_per_epoch / steps,
        ) as progress,
    ):
        while epoch < training.epochs:
            seconds_before, started = meter.seconds, time.perf_counter()
            batches = make_batches(
                store,
                take,
                images,
                views[epoch],
                epoch=epoch,
                steps=range(meter.steps, steps),
                batch_size=training.batch_size,
                seed=training.seed,
                # On a CPU a second thread takes the cores from the step, and was measured to be slower.
                ahead=compute.device.type == "cuda",
                labels=targets,
                processes=processes,
            )
            for first, second, own in batches:
                rate = learning_rate_at(
                    epoch * steps + meter.steps,
                    peak=training.learning_rate,
                    steps=training.epochs * steps,
                    warmup=warmup,
                    schedule=training.schedule,
                )
                for group in optimiser.param_groups:
                    group["lr"] = rate
                losses, embeddings = forward(first, second, own)
                optimiser.zero_grad()
                scaler.scale(losses["loss"]).backward()
                scaler.step(optimiser)
                scaler.update()
                meter.add(losses, embeddings)
                progress.step()
                due, stopping = agreed(progress.is_due(), stop, processes)
                if due:
                    means = meter.means()  # waits for the device, so that the seconds are those of finished steps
                    meter.seconds = seconds_before + time.perf_counter() - started
                    check_finite(means, epoch, meter.steps, training, compute, processes)
                    progress.show(means["loss"])
                if stopping and meter.steps < steps:
                    check_finite(meter.means(), epoch, meter.steps, training, compute, processes, model)
                    meter.seconds = seconds_before + time.perf_counter() - started
                    save()
                    raise stop.interrupted(f"epoch {epoch + 1}, step {meter.steps} of {steps} is saved")

            check_finite(meter.means(), epoch, meter.steps, training, compute, processes, model)
            meter.seconds = seconds_before + time.perf_counter() - started
            epoch += 1
            line = meter.line(epoch=epoch, views=views_per_epoch, learning_rate=optimiser.param_groups[0]["lr"])
            line["image_size"] = views[epoch - 1].image_size
            meter = Meter(training.batch_size)
            if validate is not None:
                accuracy = validate(encoder)
                line["validation_knn_accuracy"] = accuracy
                if best is None or accuracy >= best.accuracy:
                    best = Best(epoch, accuracy, copied(encoder), copied(method) if method.sees_labels else {})
            history = [*history, line]
            on_epoch(history)
            if progress.is_due() or epoch == training.epochs:
                progress.show(line["loss"])
            _, stopping = agreed(False, stop, processes)
            if stopping or epoch % training.checkpoint_every == 0 or epoch == training.epochs:
                save()
                _, stopping = agreed(False, stop, processes)
                if stopping:  # asked only where it was saved: a signal may come at any time
                    raise stop.interrupted(f"epoch {epoch} of {training.epochs} is saved")
    return Trained(history, best)


def copied(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().cpu().clone() for key, value in module.state_dict().items()}


def ignore(_: list[Line]) -> None:
    pass


def agreed(due: bool, stop: Deferred, processes: Processes) -> tuple[bool, bool]:
    """Whether any process finds it time to look at the loss, and whether any was asked to stop: all do as one does."""
    look, number = processes.largest(due, stop.received or 0)
    if number:
        stop.received = signal.Signals(number)
    return look > 0, number > 0


def check_finite(
    means: Line,
    epoch: int,
    step: int,
    training: Training,
    compute: Compute,
    processes: Processes,
    model: nn.Module | None = None,
) -> None:
    """Raises `TrainingError` if a term's mean or, where the model is given, one of its weights is NaN or infinite in
    any process."""
    bad = next((f"the {term}" for term, mean in means.items() if not math.isfinite(mean)), None)
    if bad is None and model is not None:
        floats = [tensor for tensor in model.state_dict().values() if tensor.is_floating_point()]
        if not torch.stack([tensor.isfinite().all() for tensor in floats]).all():
            bad = "a weight"
    if not processes.largest(bad is not None)[0]:
        return
    bad = bad or "a weight of another process"
    terms = ", ".join(f"{term} {mean:.4g}" for term, mean in means.items())
    advice = "" if compute.precision == "fp32" else ", or precision=fp32"
    raise TrainingError(
        f"epoch {epoch + 1}, step {step}: {bad} is no longer finite (means of the epoch: {terms}); what was saved "
        f"before it is kept; try learning_rate={training.learning_rate / 10:g}, "
        f"a longer warm-up such as warmup_epochs={min(training.epochs, max(5, 2 * training.warmup_epochs)):g}{advice}"
    )
