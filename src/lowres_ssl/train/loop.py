"""THE loop: two views of each image, the method's loss, a step; every epoch into the history, resumable at any step.

It knows no folder beyond the checkpoint it is given, and labels only if it is given them, for a supervised method.
Every draw derives from (seed, epoch, image) and the order of the images from (seed, epoch), so that a checkpoint needs
no generator's state.
"""

import math
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lowres_ssl.augment.augmentation import Augmentation
from lowres_ssl.console import TrainingProgress
from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.device import MEMORY_FORMATS, DevicePrecision
from lowres_ssl.methods import Method
from lowres_ssl.train.batch_reader import BatchReader, ReadBatch
from lowres_ssl.train.batches import iter_training_batches
from lowres_ssl.train.checkpoint import CheckpointWriter
from lowres_ssl.train.forward import make_forward
from lowres_ssl.train.history import EpochLog
from lowres_ssl.train.optimizers import get_learning_rate, make_optimiser
from lowres_ssl.train.signals import DeferredSignals
from lowres_ssl.train.state import BestEncoder, TrainingOptions, TrainingResult, TrainingState
from lowres_ssl.train.world import SINGLE_PROCESS, World


def pretrain(
    *,
    encoder: nn.Module,
    method: Method,
    store: ImageStore,
    rows: Sequence[int],
    views: Sequence[Augmentation],
    training: TrainingOptions,
    compute: DevicePrecision,
    place: str,
    checkpoint: Path,
    name: str,
    on_epoch: Callable[[list[EpochLog]], None],
    before_saving: Callable[[], None] | None = None,
    validate: Callable[[nn.Module, ReadBatch], float] | None = None,
    labels: NDArray[np.int64] | None = None,
    processes: World = SINGLE_PROCESS,
    sync_batch_norm: bool = False,
    preemption: signal.Signals | None = None,
) -> TrainingResult:
    """Train `encoder` and `method`'s heads in place on the store's `rows`, from `checkpoint` on if it is there.

    `views`: their maker in each epoch. `labels`: [N], one a row of the store, for a method that sees them. `place`:
    where the images are, see `residence.BatchReader`. `on_epoch` is given the history after each epoch. `before_saving`
    is called before each checkpoint, and raises where this process may not write one any more. `validate` scores the
    encoder after each epoch, and may read images where the loop does; the best is the one with the highest score, of
    equals the latest, as in the paper's released code. Raises `TrainingError` if a loss or a weight is not finite,
    leaving the checkpoint before, or if a GPU's memory does not hold the images beside a step; `Interrupted` on SIGINT,
    SIGTERM and `preemption`, the signal by which a scheduler asks for its machine, after writing one; `OSError` where
    one could not be written. At the end none is written: the encoder is there.

    `processes`: that share each batch, all called alike; the first alone writes. `sync_batch_norm`: its statistics are
    the whole batch's, on GPUs. Raises `CheckpointError` for a checkpoint of another number of them.
    """
    if not method.trains:
        raise ValueError(f"{type(method).__name__} trains nothing: its encoder is the one that training starts from")
    if method.sees_labels != (labels is not None):
        raise ValueError(f"{type(method).__name__} is given labels if it sees them, and only then")
    if not processes.is_main:  # the first process writes and scores for all
        on_epoch, validate = do_nothing, None
    images = np.asarray(rows, dtype=np.int64)
    targets = None if labels is None else torch.from_numpy(labels).to(compute.device)
    steps = training.steps_per_epoch(len(images))
    views_per_epoch = training.views_per_epoch(len(images))
    warmup = round(training.warmup_epochs * steps)
    encoder.to(compute.device).train()
    method.to(compute.device).train()
    model = nn.ModuleDict({"encoder": encoder, "method": method}).to(memory_format=MEMORY_FORMATS[compute.layout])
    if sync_batch_norm and processes.size > 1:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    optimiser = make_optimiser(model, training.momentum, training.weight_decay, training.decay_norm_and_bias)
    scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.precision == "fp16")
    forward = make_forward(encoder, method, compute, joint=training.joint, processes=processes)
    state = TrainingState(model, optimiser, scaler, training.batch_size, compute.layout)
    take = BatchReader(store, compute.device, place)  # once the model is there: what is left is for steps and images
    saver = CheckpointWriter(checkpoint, training.checkpoint_seconds if processes.is_main else math.inf)

    def content() -> dict[str, Any]:
        if before_saving is not None:
            before_saving()
        return state.content(compute.device, processes.size)

    def save_and_stop(where: str) -> NoReturn:
        if processes.is_main:
            saver.save(content())
        processes.all_reduce_max(0)  # none leaves before it is written
        raise stop.interrupted(f"{where} is saved")

    if state.load(checkpoint, compute.device, processes.size, steps):
        on_epoch(state.history)  # what was told of it may have been lost, or be ahead

    begun, done = state.epoch, state.epoch * steps + state.meter.steps
    with (
        take.explain_out_of_memory(training.batch_size),
        DeferredSignals(preemption) as stop,
        saver,
        TrainingProgress(
            name=name,
            epochs=training.epochs,
            steps_per_epoch=steps,
            done=done,
            views_per_step=views_per_epoch / steps,
        ) as progress,
    ):
        while state.epoch < training.epochs:
            epoch, meter = state.epoch, state.meter
            if epoch > begun:
                take.copy_if_room(compute_memory_growth(epoch, views))
            meter.start()
            batches = iter_training_batches(
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
                layout=state.layout,
            )
            for first, second, own in batches:
                compiling = forward.prepare(first, second, own)
                meter.leave_out(compiling)
                progress.leave_out(compiling)
                rate = get_learning_rate(
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
                looking, saving, stopping = agree_on_stop(progress.is_due(), saver.is_due(), stop, processes)
                if looking or saving or stopping:
                    means = meter.means()  # waits for the device, so that the seconds are those of finished steps
                    meter.stop()
                if looking:
                    state.check_finite(means, training, compute, processes)
                    progress.show(means["loss"])
                if (saving or stopping) and meter.steps < steps:
                    state.check_finite(means, training, compute, processes, weights=True)
                    if stopping:
                        save_and_stop(f"epoch {epoch + 1}, step {meter.steps} of {steps}")
                    if processes.is_main:
                        saver.begin(content())

            state.check_finite(meter.means(), training, compute, processes, weights=True)
            meter.stop()
            line = state.end_epoch(views=views_per_epoch, learning_rate=optimiser.param_groups[0]["lr"])
            line["image_size"] = views[epoch].image_size
            if validate is not None:
                accuracy = validate(encoder, take)
                line["validation_knn_accuracy"] = accuracy
                if state.best is None or accuracy >= state.best.accuracy:
                    classifier = copy_state_to_cpu(method) if method.sees_labels else {}
                    state.best = BestEncoder(state.epoch, accuracy, copy_state_to_cpu(encoder), classifier)
            state.keep(line)
            on_epoch(state.history)
            is_last = state.epoch == training.epochs
            if progress.is_due() or is_last:
                progress.show(line["loss"])
            if is_last:
                saver.wait()
            _, saving, stopping = agree_on_stop(False, saver.is_due(), stop, processes)
            if stopping:
                save_and_stop(f"epoch {state.epoch} of {training.epochs}")
            if saving and processes.is_main and not is_last:
                saver.begin(content())
    return TrainingResult(state.history, state.best, replace(compute, compiled=forward.compiled, layout=state.layout))


def copy_state_to_cpu(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().cpu().clone() for key, value in module.state_dict().items()}


def compute_memory_growth(epoch: int, views: Sequence[Augmentation]) -> float:
    """How many times the memory of a step of the last epoch the steps to come need at most: it grows with a view's
    area, and what is captured for one size stays while the next is trained."""
    sizes = {maker.image_size for maker in views[epoch - 1 :]}
    return float(sum((size / views[epoch - 1].image_size) ** 2 for size in sizes))


def do_nothing(_: list[EpochLog]) -> None:
    pass


def agree_on_stop(looking: bool, saving: bool, stop: DeferredSignals, processes: World) -> tuple[bool, bool, bool]:
    """Whether any process finds it time to look at the loss or to save, and whether any was asked to stop: all do as
    one does."""
    look, save, number = processes.all_reduce_max(looking, saving, stop.received or 0)
    if number:
        stop.received = signal.Signals(number)
    return look > 0, save > 0, number > 0
