"""Estimate what runs would take for `dry_run=true`: views to go, seconds (by steps on noise), disk."""

import time
from collections import Counter
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from lowres_ssl.augment.augmentation import Augmentation
from lowres_ssl.console import log_info
from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.data.prepare import DataSummary, summarise_data
from lowres_ssl.errors import Interrupted
from lowres_ssl.evaluate.features import EXTRACTION_BATCH, EvaluationView, extract_features
from lowres_ssl.experiment.plan import (
    TrainingSetup,
    choose_step_settings,
    count_training_images,
    identify_run,
    make_checked_split,
)
from lowres_ssl.experiment.sweep import RunEstimate
from lowres_ssl.io.atomic import make_temp_folder
from lowres_ssl.train.batch_reader import BatchReader
from lowres_ssl.train.checkpoint import read_epochs_done
from lowres_ssl.train.history import EpochLog
from lowres_ssl.train.loop import pretrain
from lowres_ssl.train.state import Execution, TrainingData, TrainingObserver

# A CPU may take half a minute for a step of 64 images, so a few images are timed first.
CPU_TRIAL_BATCH = 16
MAX_STEP_SECONDS = 5.0  # a step of the whole batch is timed too if it takes no longer: it is a little faster an image
# Steps of a timed epoch, at most. A GPU makes the first views alone, a cost that a longer epoch spreads.
MAX_TIMED_STEPS = {"cpu": 2, "cuda": 16}
WARM_UP_EPOCHS = {"cpu": 1, "cuda": 2}  # not counted; a GPU gets the images before the second
MIN_TIMED_SECONDS = 1.0
MAX_TIMED_EPOCHS = 4

MEASURED: dict[object, object] = {}  # in this process, by everything that changes it
Measurement = TypeVar("Measurement")


def measure_once(key: object, measure: Callable[[], Measurement]) -> Measurement:
    if key not in MEASURED:
        MEASURED[key] = measure()
    return MEASURED[key]  # type: ignore[return-value]  # a key is of one measurement


@dataclass(frozen=True)
class EpochTime:
    """views: of an epoch's steps, a second. epoch_end: seconds of an epoch beside its steps, for the monitors."""

    views: float
    epoch_end: float

    def epoch(self, views: int) -> float:
        """Return the seconds of an epoch of `views` views."""
        return views / self.views + self.epoch_end


class TimingFinished(Exception):  # noqa: N818  # nothing is wrong
    """Enough epochs have been timed."""


class EpochStopwatch(TrainingObserver):
    """Note the end of each epoch of a training, and end it by `TimingFinished`. `counted`: seconds of steps."""

    def __init__(self, warm_up: int) -> None:
        self.warm_up = warm_up
        self.counted: list[float] = []
        self.ends: list[float] = []

    def record(self, history: list[EpochLog]) -> None:
        self.ends.append(time.perf_counter())
        self.counted = [line["seconds"] for line in history[self.warm_up :]]
        if sum(self.counted) >= MIN_TIMED_SECONDS or len(self.counted) == MAX_TIMED_EPOCHS:
            raise TimingFinished


def estimate_training_seconds(plan: TrainingSetup, outline: DataSummary, done: int = 0) -> float:
    """Estimate the seconds of training after epoch `done`, with the validation after each epoch.

    A plan that compiles is timed uncompiled, since compiling takes minutes. With several processes each trains on its
    share; communication is not counted.
    """
    views = plan.training.views_per_epoch(count_training_images(plan, outline.catalogue, outline.split))
    by_size = {each.image_size: each for each in plan.views[done:]}
    epochs = Counter(each.image_size for each in plan.views[done:])
    seconds = sum(
        epochs[size] * measure_epoch_time(plan, outline, each).epoch(views // plan.processes.size)
        for size, each in by_size.items()
    )
    if plan.config.select_encoder.name == "best_validation_knn":
        validated = len(outline.split.train) + len(outline.split.validation)
        seconds += (plan.config.epochs - done) * validated / measure_inference_speed(plan, outline)
    return seconds


def measure_epoch_time(plan: TrainingSetup, outline: DataSummary, views: Augmentation) -> EpochTime:
    """Time epochs with these `views`, once in a process. Seed, rate and number of epochs do not matter."""
    batch = plan.config.batch_size // plan.processes.size
    few = min(batch, CPU_TRIAL_BATCH) if plan.compute.device.type == "cpu" else batch

    def measure() -> EpochTime:
        found = time_training_loop(plan, outline, views, few)
        is_quick = few < batch <= MAX_STEP_SECONDS * found.views / 2
        return time_training_loop(plan, outline, views, batch) if is_quick else found

    how = (str(plan.config.views), views.image_size, batch, plan.training.joint, plan.training.optimizer)
    return measure_once((*make_timing_key(plan, outline), how), measure)


def make_timing_key(plan: TrainingSetup, outline: DataSummary) -> tuple[object, ...]:
    config, compute = plan.config, plan.compute
    where = (compute.device, compute.precision, compute.layout, compute.deterministic, config.store.name)
    return (str(config.backbone), str(config.method), str(config.images), outline.store_shape, *where)


def time_training_loop(plan: TrainingSetup, outline: DataSummary, views: Augmentation, batch: int) -> EpochTime:
    """Run the training loop, uncompiled, for some epochs on noise, on copies of encoder and heads."""
    device = plan.compute.device.type
    images = count_training_images(plan, outline.catalogue, outline.split)
    batch, warm_up = min(batch, images), WARM_UP_EPOCHS[device]
    store = make_noise_store(outline)
    rows = np.resize(np.arange(len(store.ids)), batch * min(MAX_TIMED_STEPS[device], images // batch))
    epochs = warm_up + MAX_TIMED_EPOCHS + 1  # the last one is never reached
    assert plan.method is not None
    labels = np.zeros(len(store.ids), dtype=np.int64) if plan.method.takes_labels else None
    stopwatch = EpochStopwatch(warm_up)
    with make_temp_folder(Path(plan.config.output_dir) / "timing") as folder:
        try:
            pretrain(
                encoder=deepcopy(plan.encoder),
                method=deepcopy(plan.method),
                data=TrainingData(store, rows, [views] * epochs, plan.config.store.name, labels),
                # On noise, a rate above 0 might end in NaN.
                options=replace(
                    plan.training, epochs=epochs, batch_size=batch, learning_rate=0.0, warmup_epochs=0.0, seed=0
                ),
                execution=Execution(replace(plan.compute, compiled=False)),
                checkpoint=folder / "checkpoint.pt",
                name=f"timing {plan.config.method['name']}",
                observer=stopwatch,
            )
        except TimingFinished:
            pass
        except Interrupted as stop:
            raise Interrupted("stopped while a few steps were timed; nothing is saved", stop.exit_code) from None
    counted, whole = stopwatch.counted, stopwatch.ends[-1] - stopwatch.ends[warm_up - 1]
    return EpochTime(2 * len(rows) * len(counted) / sum(counted), max(0.0, whole - sum(counted)) / len(counted))


def measure_inference_speed(plan: TrainingSetup, outline: DataSummary) -> float:
    """Measure the images a second from the store to their features, once in a process."""
    compute = replace(plan.compute, compiled=False)

    def measure() -> float:
        encoder = deepcopy(plan.encoder).to(compute.device)
        take = BatchReader(make_noise_store(outline), compute.device, "host")
        view = EvaluationView.from_config(plan.config)
        rows = [0] * (CPU_TRIAL_BATCH if compute.device.type == "cpu" else EXTRACTION_BATCH)
        seconds = list[float]()
        while len(seconds) <= 1 or (sum(seconds[1:]) < MIN_TIMED_SECONDS and len(seconds) <= MAX_TIMED_EPOCHS):
            started = time.perf_counter()
            extract_features(encoder, take, rows, view, compute)
            seconds.append(time.perf_counter() - started)
        return len(rows) * (len(seconds) - 1) / sum(seconds[1:])  # the first time warms up

    return measure_once((*make_timing_key(plan, outline), plan.config.image_size), measure)


def make_noise_store(outline: DataSummary) -> ImageStore:
    """Make a store of the plan's shape of one image of noise, which takes the memory of one on the host."""
    records = outline.catalogue.records + outline.catalogue.unlabelled
    noise = np.random.default_rng(0).integers(0, 256, outline.store_shape[1:], dtype=np.uint8)
    return ImageStore(
        images=np.broadcast_to(noise, outline.store_shape),
        sizes=np.array([[record.height, record.width] for record in records], dtype=np.int32),
        ids=tuple(record.id for record in records),
        path=Path("noise"),
    )


def estimate_run(plan: TrainingSetup) -> RunEstimate:
    """Estimate what running this plan would take."""
    config = plan.config
    if plan.method is None:
        return RunEstimate(f"{config.dataset.name}-{config.method['name']}-s{config.seed}", "nothing to train")
    outline, to_decode = summarise_data(config, partial(make_checked_split, plan))
    run, _ = identify_run(plan, outline)
    record = run.find_record()
    done = min(config.epochs, read_epochs_done(run.checkpoint))
    if done == config.epochs or (record is not None and record.outcome is not None):
        return RunEstimate(run.name, "finished")
    images = count_training_images(plan, outline.catalogue, outline.split)
    compute = choose_step_settings(plan, images, time_layouts=False)
    if compute.compiled:
        log_info("timed uncompiled, since compiling takes minutes: compiled steps begin later and may be faster")
    weights = sum(value.numel() * value.element_size() for value in plan.encoder.state_dict().values())
    return RunEstimate(
        run=run.name,
        state="not begun" if record is None else f"epoch {done} of {config.epochs}",
        views=plan.training.views_per_epoch(images) * (config.epochs - done),
        seconds=estimate_training_seconds(replace(plan, compute=compute), outline, done),
        size=weights + 4 * plan.width * len(outline.catalogue.records),
        store=str((outline.catalogue.digest, outline.store_shape)),
        store_size=to_decode,
    )
