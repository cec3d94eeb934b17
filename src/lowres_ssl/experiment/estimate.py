"""Time a plan's training on this machine: the loop itself, for a few steps on images of noise. Nothing is kept."""

import time
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np

from lowres_ssl.augment.augmentation import Augmentation
from lowres_ssl.console import log_info
from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.data.prepare import DataSummary, summarise_data
from lowres_ssl.device import DevicePrecision
from lowres_ssl.encoders.weights_file import read_epochs_done
from lowres_ssl.errors import Interrupted
from lowres_ssl.evaluate.features import EXTRACTION_BATCH, extract_features
from lowres_ssl.experiment.forecast import RunEstimate
from lowres_ssl.experiment.plan import TrainingSetup, count_training_images, identify_run, make_checked_split
from lowres_ssl.experiment.step_options import choose_step_settings
from lowres_ssl.io.atomic import make_temp_folder
from lowres_ssl.train.batch_reader import BatchReader
from lowres_ssl.train.history import EpochLog
from lowres_ssl.train.loop import pretrain
from lowres_ssl.train.setup import get_normalisation

# On a CPU a step of 64 images may take half a minute, so that a few images tell first how long one would.
CPU_TRIAL_BATCH = 16
MAX_STEP_SECONDS = 5.0  # seconds; a slower one is not timed: a large step is hardly faster an image than one of a few
# Of an epoch, at most. A GPU's first views have no step to be made beside, which a longer epoch shares out.
MAX_TIMED_STEPS = {"cpu": 2, "cuda": 16}
# Epochs that are not counted. A GPU has the images copied to it before the second.
WARM_UP_EPOCHS = {"cpu": 1, "cuda": 2}
MIN_TIMED_SECONDS = 1.0  # seconds of counted steps
MAX_TIMED_EPOCHS = 4  # that are counted
MIN_SPEED_TEST_RATIO = 100  # times as long as timing a training is before which that is done

EPOCH_TIME_CACHE: dict[tuple[object, ...], "EpochTime"] = {}
INFERENCE_SPEED_CACHE: dict[tuple[object, ...], float] = {}


@dataclass(frozen=True)
class EpochTime:
    """views: a second, of an epoch's steps. epoch_end: seconds that an epoch takes beside its steps, for the monitors;
    a checkpoint is written beside them, once a minute."""

    views: float
    epoch_end: float

    def epoch(self, views: int) -> float:
        """Seconds of an epoch of so many views."""
        return views / self.views + self.epoch_end


class TimingFinished(Exception):  # noqa: N818  # nothing is wrong
    """Enough epochs have been timed."""


class EpochStopwatch:
    """What the loop calls after each epoch. It ends the loop by `Enough`."""

    def __init__(self, warm_up: int) -> None:
        self.warm_up = warm_up
        self.history: list[EpochLog] = []
        self.ends: list[float] = []

    def __call__(self, history: list[EpochLog]) -> None:
        self.history = history
        self.ends.append(time.perf_counter())
        if sum(self.seconds) >= MIN_TIMED_SECONDS or len(self.seconds) == MAX_TIMED_EPOCHS:
            raise TimingFinished

    @property
    def seconds(self) -> list[float]:
        """Of the steps of each epoch that counts."""
        return [line["seconds"] for line in self.history[self.warm_up :]]

    def pace(self, views: int) -> EpochTime:
        """`views`: of an epoch."""
        counted = len(self.seconds)
        whole = self.ends[-1] - self.ends[self.warm_up - 1]
        return EpochTime(views * counted / sum(self.seconds), max(0.0, whole - sum(self.seconds)) / counted)


def estimate_training_seconds(plan: TrainingSetup, outline: DataSummary, done: int = 0) -> float:
    """Seconds of training from the epoch after `done` to the end, a validation after each epoch included.

    What is computed is timed once in a process. A plan that compiles is timed uncompiled: compiling takes minutes. Of
    several processes each trains on its share; what they send to one another is not counted.
    """
    views = plan.training.views_per_epoch(count_training_images(plan, outline.catalogue, outline.split))
    views //= plan.processes.size
    makers = {maker.image_size: maker for maker in plan.views[done:]}
    epochs = Counter(maker.image_size for maker in plan.views[done:])
    seconds = sum(
        epochs[size] * measure_epoch_time(plan, outline, maker).epoch(views) for size, maker in makers.items()
    )
    if plan.config.select_encoder.name == "best_validation_knn":
        validated = len(outline.split.train) + len(outline.split.validation)
        seconds += (plan.config.epochs - done) * validated / measure_inference_speed(plan, outline)
    return seconds


def measure_speed_if_cheap(plan: TrainingSetup, outline: DataSummary, views: int) -> float | None:
    """Views a second over the whole training, if measuring it is little beside training on so many views; None also
    for what is compiled, or shared by several processes."""
    device = plan.compute.device.type
    timed = 2 * sum(choose_timing_batches(plan)) * MAX_TIMED_STEPS[device] * (1 + WARM_UP_EPOCHS[device])
    if plan.compute.compiled or plan.processes.size > 1 or views < MIN_SPEED_TEST_RATIO * timed:
        return None
    images = count_training_images(plan, outline.catalogue, outline.split)
    return plan.config.epochs * plan.training.views_per_epoch(images) / estimate_training_seconds(plan, outline)


def measure_epoch_time(plan: TrainingSetup, outline: DataSummary, maker: Augmentation) -> EpochTime:
    """Of the epochs whose views `maker` makes."""
    few, *whole = choose_timing_batches(plan)
    found = get_cached_epoch_time(plan, outline, maker, few)
    for batch in whole:
        if 2 * batch / found.views <= MAX_STEP_SECONDS:
            found = get_cached_epoch_time(plan, outline, maker, batch)
    return found


def choose_timing_batches(plan: TrainingSetup) -> list[int]:
    """How many images a step to time has: as many as the run's on this process; on a CPU few of them before."""
    batch = plan.config.batch_size // plan.processes.size
    return [CPU_TRIAL_BATCH, batch] if plan.compute.device.type == "cpu" and batch > CPU_TRIAL_BATCH else [batch]


def get_cached_epoch_time(plan: TrainingSetup, outline: DataSummary, maker: Augmentation, batch: int) -> EpochTime:
    config, training = plan.config, plan.training
    # Neither seed, rate nor the number of epochs changes how long a step takes.
    how = (training.joint, training.momentum, training.weight_decay, training.decay_norm_and_bias)
    key = (*make_timing_key(plan, outline), str(config.views), maker.image_size, batch, how)
    if key not in EPOCH_TIME_CACHE:
        EPOCH_TIME_CACHE[key] = time_training_loop(plan, outline, maker, batch)
    return EPOCH_TIME_CACHE[key]


def make_timing_key(plan: TrainingSetup, outline: DataSummary) -> tuple[object, ...]:
    config, compute = plan.config, plan.compute
    where = (compute.device, compute.precision, compute.layout, compute.deterministic, config.store.name)
    return (str(config.backbone), str(config.method), str(config.images), outline.store_shape, *where)


def time_training_loop(plan: TrainingSetup, outline: DataSummary, maker: Augmentation, batch: int) -> EpochTime:
    """On copies: what is trained next keeps its weights, statistics and random numbers."""
    compute, device = disable_compile(plan.compute), plan.compute.device.type
    images = count_training_images(plan, outline.catalogue, outline.split)
    batch = min(batch, images)  # a set that is smaller than its batch
    store = make_noise_store(outline)
    rows = np.resize(np.arange(len(store.ids)), batch * min(MAX_TIMED_STEPS[device], images // batch))
    epochs = WARM_UP_EPOCHS[device] + MAX_TIMED_EPOCHS + 1  # the last one is never reached
    watch = EpochStopwatch(WARM_UP_EPOCHS[device])
    with make_temp_folder(Path(plan.config.output_dir) / "timing") as folder:
        try:
            pretrain(
                encoder=deepcopy(plan.encoder),
                method=deepcopy(plan.method),
                store=store,
                rows=rows.tolist(),
                labels=np.zeros(len(store.ids), dtype=np.int64) if plan.method.sees_labels else None,
                views=[maker] * epochs,
                # On noise, a rate above 0 might end in NaN.
                training=replace(
                    plan.training, epochs=epochs, batch_size=batch, learning_rate=0.0, warmup_epochs=0.0, seed=0
                ),
                compute=compute,
                place=plan.config.store.name,
                checkpoint=folder / "checkpoint.pt",
                name=f"timing {plan.config.method['name']}",
                on_epoch=watch,
            )
        except TimingFinished:
            pass
        except Interrupted as stop:
            raise Interrupted(
                "stopped while a few steps were timed; the same command begins again", stop.exit_code
            ) from None
    return watch.pace(2 * len(rows))


def measure_inference_speed(plan: TrainingSetup, outline: DataSummary) -> float:
    """Images a second from the store to their features, by the plan's encoder as it is."""
    key = (*make_timing_key(plan, outline), plan.config.image_size)
    if key in INFERENCE_SPEED_CACHE:
        return INFERENCE_SPEED_CACHE[key]
    compute = disable_compile(plan.compute)
    encoder = deepcopy(plan.encoder).to(compute.device)
    mean, std = get_normalisation(plan.config)
    take = BatchReader(make_noise_store(outline), compute.device, "host")
    rows = [0] * (CPU_TRIAL_BATCH if compute.device.type == "cpu" else EXTRACTION_BATCH)
    seconds, images = 0.0, -len(rows)  # the first time warms up
    while seconds < MIN_TIMED_SECONDS and images < MAX_TIMED_EPOCHS * len(rows):
        started = time.perf_counter()
        extract_features(encoder, take, rows, image_size=plan.config.image_size, mean=mean, std=std, compute=compute)
        seconds += time.perf_counter() - started if images >= 0 else 0.0
        images += len(rows)
    INFERENCE_SPEED_CACHE[key] = images / seconds
    return INFERENCE_SPEED_CACHE[key]


def make_noise_store(outline: DataSummary) -> ImageStore:
    """A store of the shape that the plan's has, of images of their sizes. It is one image of noise over and over, which
    takes the memory of one on the host, and that of all on a GPU."""
    records = outline.catalogue.records + outline.catalogue.unlabelled
    noise = np.random.default_rng(0).integers(0, 256, outline.store_shape[1:], dtype=np.uint8)
    return ImageStore(
        images=np.broadcast_to(noise, outline.store_shape),
        sizes=np.array([[record.height, record.width] for record in records], dtype=np.int32),
        ids=tuple(record.id for record in records),
        path=Path("noise"),
    )


def disable_compile(compute: DevicePrecision) -> DevicePrecision:
    if compute.compiled:
        report_uncompiled_once()
    return replace(compute, compiled=False)


@cache  # once in a process
def report_uncompiled_once() -> None:
    log_info(
        "timed uncompiled, since compiling takes minutes: a run that compiles begins later, and its steps may be faster"
    )


def estimate_run(plan: TrainingSetup) -> RunEstimate:
    """What running this plan would come to."""
    config = plan.config
    if not plan.method.trains:
        return RunEstimate(
            f"{config.dataset.name}-{config.method['name']}-s{config.seed}", "nothing to train", 0, 0.0, 0, "", 0
        )
    outline, to_decode = summarise_data(config, partial(make_checked_split, plan))
    run, _ = identify_run(plan, outline)
    description = run.read()
    done = (
        config.epochs
        if description and description["finished"]
        else min(config.epochs, read_epochs_done(run.checkpoint))
    )
    state = "not begun" if description is None else f"epoch {done} of {config.epochs}"
    if done == config.epochs:
        return RunEstimate(run.name, "finished", 0, 0.0, 0, "", 0)
    images = count_training_images(plan, outline.catalogue, outline.split)
    views = plan.training.views_per_epoch(images) * (config.epochs - done)
    weights = sum(value.numel() * value.element_size() for value in plan.encoder.state_dict().values())
    features = 4 * plan.width * len(outline.catalogue.records)
    store = str((outline.catalogue.digest, outline.store_shape))
    compute = choose_step_settings(plan, images, time_layouts=False)
    seconds = estimate_training_seconds(replace(plan, compute=compute), outline, done)
    return RunEstimate(run.name, state, views, seconds, weights + features, store, to_decode)
