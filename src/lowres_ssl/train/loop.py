"""Train in a loop: views of each image, the method's loss, a step. Every epoch enters the history; any step resumes.

It knows no folder beyond the checkpoint it is given, and labels only if it is given them, for a supervised method.
Every draw of a view derives from (seed, epoch, image), the order of the images from (seed, epoch), what a model drops
from (seed, step), so that a checkpoint needs no generator's state.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from lowres_ssl.augment.augmentation import Augmentation
from lowres_ssl.console import TrainingProgress
from lowres_ssl.device import MEMORY_FORMATS
from lowres_ssl.encoders.from_config import set_training_mode
from lowres_ssl.methods.base import Method
from lowres_ssl.seeding import seed_torch
from lowres_ssl.train.batches import BatchReader, iter_training_batches
from lowres_ssl.train.checkpoint import CheckpointWriter
from lowres_ssl.train.forward import ForwardPass
from lowres_ssl.train.optimizers import get_learning_rate, set_learning_rates
from lowres_ssl.train.signals import DeferredSignals
from lowres_ssl.train.state import (
    BestEncoder,
    Execution,
    TrainingData,
    TrainingObserver,
    TrainingOptions,
    TrainingResult,
    TrainingState,
    compute_chance_loss,
)


def pretrain(
    *,
    encoder: nn.Module,
    method: Method,
    data: TrainingData,
    options: TrainingOptions,
    execution: Execution,
    checkpoint: Path,
    name: str,
    observer: TrainingObserver | None = None,
) -> TrainingResult:
    """Train `encoder` and `method` in place, from `checkpoint` on if it is there; `name` is for the progress display.

    The best encoder is the one with the highest score of `observer.validate`, of equals the latest, as in the paper's
    released code. At the end no checkpoint is written: the encoder is there.

    Raises `TrainingError` if a loss or a weight is not finite, leaving the checkpoint before, or if a GPU's memory does
    not hold the images beside a step; `Interrupted` on SIGINT, SIGTERM and `execution.preemption`, after writing a
    checkpoint; `OSError` where one could not be written; `CheckpointError` for one of another number of processes.
    """
    if method.takes_labels != (data.labels is not None):
        raise ValueError(f"{type(method).__name__} is given labels if it takes them, and only then")
    compute, processes = execution.compute, execution.processes
    # The first process writes and scores for all.
    observer = observer if observer and processes.is_main else TrainingObserver()
    method.prepare(encoder)
    steps = options.steps_per_epoch(len(data.rows))
    chance_loss = compute_chance_loss(method, options, len(data.rows))
    views_per_epoch = options.views_per_epoch(len(data.rows))
    model = nn.ModuleDict({"encoder": encoder, "method": method}).to(compute.device)
    model.to(memory_format=MEMORY_FORMATS[compute.layout])
    set_training_mode(model)
    if execution.sync_batch_norm and processes.size > 1:
        nn.SyncBatchNorm.convert_sync_batchnorm(model)
    optimiser = options.optimizer.build(model, method.predictor_parameters() if options.constant_predictor_rate else ())
    scaler = torch.amp.GradScaler(compute.device.type, enabled=compute.precision == "fp16")
    forward = ForwardPass(encoder, method, compute, joint=options.joint, processes=processes)
    # Once the model is there: what is left is for steps and images.
    read = BatchReader(data.store, compute.device, data.place)
    writer = CheckpointWriter(checkpoint, options.checkpoint_seconds if processes.is_main else math.inf)
    state = TrainingState(model, optimiser, scaler, options.batch_size, compute.layout)

    def content() -> dict[str, Any]:
        observer.check_may_save()
        return state.content(compute.device, processes.size)

    def save_and_stop(where: str) -> NoReturn:
        if processes.is_main:
            writer.save(content())
        processes.all_reduce_max(0)  # none leaves before it is written
        raise stop.interrupted(f"{where} is saved")

    if state.load(checkpoint, compute.device, processes.size):
        observer.record(state.history)  # what was recorded of it may have been lost, or be ahead

    begun, done = state.epoch, state.epoch * steps + state.meter.steps
    total, warmup = options.epochs * steps, round(options.warmup_epochs * steps)
    with (
        read.explain_out_of_memory(options.batch_size),
        DeferredSignals(execution.preemption) as stop,
        writer,
        TrainingProgress(
            name=name,
            epochs=options.epochs,
            steps_per_epoch=steps,
            done=done,
            views_per_step=views_per_epoch / steps,
        ) as progress,
    ):
        while state.epoch < options.epochs:
            epoch, meter = state.epoch, state.meter
            if epoch > begun:
                read.copy_if_room(compute_memory_growth(epoch, data.views))
            meter.start()
            batches = iter_training_batches(
                data,
                read,
                method.view_kinds(),
                epoch=epoch,
                first_step=meter.steps,
                options=options,
                processes=processes,
                layout=state.layout,
            )
            for views, labels in batches:
                rate = get_learning_rate(
                    done, peak=options.learning_rate, steps=total, warmup=warmup, schedule=options.schedule
                )
                set_learning_rates(optimiser, rate, options.learning_rate)
                compiling = forward.prepare(views, labels)
                with seed_torch(options.seed, "step", done, processes.rank):  # what drops branches or units draws there
                    losses, embeddings = forward(views, labels)
                optimiser.zero_grad()
                scaler.scale(losses["loss"]).backward()
                scaler.step(optimiser)
                scaler.update()
                done += 1
                method.after_step(encoder, done / total)
                meter.leave_out(compiling)
                meter.add(losses, embeddings)
                progress.leave_out(compiling)
                progress.step()
                looking, saving, stopping = processes.agree_on_stop(stop, progress.is_due(), writer.is_due())
                if looking or saving or stopping:
                    loss = meter.means()["loss"]  # waits for the device, so that the seconds are of finished steps
                    meter.stop()
                if looking:
                    state.check_finite(options, execution)
                    progress.show(loss)
                if (saving or stopping) and meter.steps < steps:
                    state.check_finite(options, execution, weights=True)
                    if stopping:
                        save_and_stop(f"epoch {epoch + 1}, step {meter.steps} of {steps}")
                    if processes.is_main:
                        writer.begin(content())

            state.check_finite(options, execution, weights=True)
            meter.stop()
            line = state.end_epoch(views=views_per_epoch, learning_rate=optimiser.param_groups[0]["lr"])
            line["image_size"] = data.views[epoch].image_size
            kept = method.encoder_to_keep(encoder)
            accuracy = observer.validate(kept, read)
            if accuracy is not None:
                line["validation_knn_accuracy"] = accuracy
                if state.best is None or accuracy >= state.best.accuracy:
                    classifier = copy_state_to_cpu(method) if method.sees_labels else {}
                    state.best = BestEncoder(state.epoch, accuracy, copy_state_to_cpu(kept), classifier)
            state.history = [*state.history, line]
            observer.record(state.history)
            is_last = state.epoch == options.epochs
            if progress.is_due() or is_last:
                progress.show(line["loss"])
            if is_last:
                writer.wait()
            _, saving, stopping = processes.agree_on_stop(stop, False, writer.is_due())
            if stopping:
                save_and_stop(f"epoch {state.epoch} of {options.epochs}")
            if saving and processes.is_main and not is_last:
                writer.begin(content())
    used = replace(compute, compiled=forward.compiled, layout=state.layout)
    return TrainingResult(method.encoder_to_keep(encoder), state.history, state.best, used, chance_loss)


def copy_state_to_cpu(module: nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().cpu().clone() for key, value in module.state_dict().items()}


def compute_memory_growth(epoch: int, views: Sequence[Augmentation]) -> float:
    """Compute how many times the memory of a step of the last epoch the steps to come need at most: it grows with a
    view's area, and what is captured for one size stays while the next is trained."""
    sizes = {augmentation.image_size for augmentation in views[epoch - 1 :]}
    return float(sum((size / views[epoch - 1].image_size) ** 2 for size in sizes))
