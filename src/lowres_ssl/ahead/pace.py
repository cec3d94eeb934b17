"""Time a plan's training on this machine: the loop itself, for a few steps on images of noise. Nothing is kept."""

import time
from collections import Counter
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np

from lowres_ssl.data.store import ImageStore
from lowres_ssl.device import Compute
from lowres_ssl.errors import Interrupted
from lowres_ssl.features import BATCH, extract
from lowres_ssl.files.leftovers import new_folder
from lowres_ssl.planning.encoders import normalisation
from lowres_ssl.planning.plan import Plan, images_to_train
from lowres_ssl.planning.preparation import Outline
from lowres_ssl.pretrain import pretrain
from lowres_ssl.terminal import say
from lowres_ssl.training.history import Line
from lowres_ssl.training.residence import BatchReader
from lowres_ssl.views.maker import ViewMaker

# On a CPU a step of 64 images may take half a minute, so that a few images tell first how long one would.
FEW_ON_A_CPU = 16
SLOWEST_STEP = 5.0  # seconds; a slower one is not timed: a large step is hardly faster an image than one of a few
# Of an epoch, at most. A GPU's first views have no step to be made beside, which a longer epoch shares out.
STEPS = {"cpu": 2, "cuda": 16}
# Epochs that are not counted. A GPU has the images copied to it before the second.
WARM_UP = {"cpu": 1, "cuda": 2}
ENOUGH = 1.0  # seconds of counted steps
MOST_EPOCHS = 4  # that are counted
LITTLE = 100  # times as long as timing a training is before which that is done

PACES: dict[tuple[object, ...], "Pace"] = {}
SPEEDS: dict[tuple[object, ...], float] = {}


@dataclass(frozen=True)
class Pace:
    """views: a second, of an epoch's steps. epoch_end: seconds that an epoch takes beside its steps, for the monitors;
    a checkpoint is written beside them, once a minute."""

    views: float
    epoch_end: float

    def epoch(self, views: int) -> float:
        """Seconds of an epoch of so many views."""
        return views / self.views + self.epoch_end


class Enough(Exception):  # noqa: N818  # nothing is wrong
    """Enough epochs have been timed."""


class Stopwatch:
    """What the loop calls after each epoch. It ends the loop by `Enough`."""

    def __init__(self, warm_up: int) -> None:
        self.warm_up = warm_up
        self.history: list[Line] = []
        self.ends: list[float] = []

    def __call__(self, history: list[Line]) -> None:
        self.history = history
        self.ends.append(time.perf_counter())
        if sum(self.seconds) >= ENOUGH or len(self.seconds) == MOST_EPOCHS:
            raise Enough

    @property
    def seconds(self) -> list[float]:
        """Of the steps of each epoch that counts."""
        return [line["seconds"] for line in self.history[self.warm_up :]]

    def pace(self, views: int) -> Pace:
        """`views`: of an epoch."""
        counted = len(self.seconds)
        whole = self.ends[-1] - self.ends[self.warm_up - 1]
        return Pace(views * counted / sum(self.seconds), max(0.0, whole - sum(self.seconds)) / counted)


def training_seconds(plan: Plan, outline: Outline, done: int = 0) -> float:
    """Seconds of training from the epoch after `done` to the end, a validation after each epoch included.

    What is computed is timed once in a process. A plan that compiles is timed uncompiled: compiling takes minutes. Of
    several processes each trains on its share; what they send to one another is not counted.
    """
    views = plan.training.views_per_epoch(images_to_train(plan, outline.catalogue, outline.split))
    views //= plan.processes.size
    makers = {maker.image_size: maker for maker in plan.views[done:]}
    epochs = Counter(maker.image_size for maker in plan.views[done:])
    seconds = sum(epochs[size] * pace(plan, outline, maker).epoch(views) for size, maker in makers.items())
    if plan.config.select_encoder.name == "best_validation_knn":
        validated = len(outline.split.train) + len(outline.split.validation)
        seconds += (plan.config.epochs - done) * validated / frozen_speed(plan, outline)
    return seconds


def quick_speed(plan: Plan, outline: Outline, views: int) -> float | None:
    """Views a second over the whole training, if measuring it is little beside training on so many views; None also
    for what is compiled, or shared by several processes."""
    device = plan.compute.device.type
    timed = 2 * sum(batches_of(plan)) * STEPS[device] * (1 + WARM_UP[device])
    if plan.compute.compiled or plan.processes.size > 1 or views < LITTLE * timed:
        return None
    images = images_to_train(plan, outline.catalogue, outline.split)
    return plan.config.epochs * plan.training.views_per_epoch(images) / training_seconds(plan, outline)


def pace(plan: Plan, outline: Outline, maker: ViewMaker) -> Pace:
    """Of the epochs whose views `maker` makes."""
    few, *whole = batches_of(plan)
    found = remembered_pace(plan, outline, maker, few)
    for batch in whole:
        if 2 * batch / found.views <= SLOWEST_STEP:
            found = remembered_pace(plan, outline, maker, batch)
    return found


def batches_of(plan: Plan) -> list[int]:
    """How many images a step to time has: as many as the run's on this process; on a CPU few of them before."""
    batch = plan.config.batch_size // plan.processes.size
    return [FEW_ON_A_CPU, batch] if plan.compute.device.type == "cpu" and batch > FEW_ON_A_CPU else [batch]


def remembered_pace(plan: Plan, outline: Outline, maker: ViewMaker, batch: int) -> Pace:
    config, training = plan.config, plan.training
    # Neither seed, rate nor the number of epochs changes how long a step takes.
    how = (training.joint, training.momentum, training.weight_decay, training.decay_norm_and_bias)
    key = (*what_is_computed(plan, outline), str(config.views), maker.image_size, batch, how)
    if key not in PACES:
        PACES[key] = timed(plan, outline, maker, batch)
    return PACES[key]


def what_is_computed(plan: Plan, outline: Outline) -> tuple[object, ...]:
    config, compute = plan.config, plan.compute
    where = (compute.device, compute.precision, compute.layout, compute.deterministic, config.store.name)
    return (str(config.backbone), str(config.method), str(config.images), outline.store_shape, *where)


def timed(plan: Plan, outline: Outline, maker: ViewMaker, batch: int) -> Pace:
    """On copies: what is trained next keeps its weights, statistics and random numbers."""
    compute, device = uncompiled(plan.compute), plan.compute.device.type
    images = images_to_train(plan, outline.catalogue, outline.split)
    batch = min(batch, images)  # a set that is smaller than its batch
    store = store_of_noise(outline)
    rows = np.resize(np.arange(len(store.ids)), batch * min(STEPS[device], images // batch))
    epochs = WARM_UP[device] + MOST_EPOCHS + 1  # the last one is never reached
    watch = Stopwatch(WARM_UP[device])
    with new_folder(Path(plan.config.output_dir) / "timing") as folder:
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
        except Enough:
            pass
        except Interrupted as stop:
            raise Interrupted(
                "stopped while a few steps were timed; the same command begins again", stop.exit_code
            ) from None
    return watch.pace(2 * len(rows))


def frozen_speed(plan: Plan, outline: Outline) -> float:
    """Images a second from the store to their features, by the plan's encoder as it is."""
    key = (*what_is_computed(plan, outline), plan.config.image_size)
    if key in SPEEDS:
        return SPEEDS[key]
    compute = uncompiled(plan.compute)
    encoder = deepcopy(plan.encoder).to(compute.device)
    mean, std = normalisation(plan.config)
    take = BatchReader(store_of_noise(outline), compute.device, "host")
    rows = [0] * (FEW_ON_A_CPU if compute.device.type == "cpu" else BATCH)
    seconds, images = 0.0, -len(rows)  # the first time warms up
    while seconds < ENOUGH and images < MOST_EPOCHS * len(rows):
        started = time.perf_counter()
        extract(encoder, take, rows, image_size=plan.config.image_size, mean=mean, std=std, compute=compute)
        seconds += time.perf_counter() - started if images >= 0 else 0.0
        images += len(rows)
    SPEEDS[key] = images / seconds
    return SPEEDS[key]


def store_of_noise(outline: Outline) -> ImageStore:
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


def uncompiled(compute: Compute) -> Compute:
    if compute.compiled:
        say_uncompiled()
    return replace(compute, compiled=False)


@cache  # once in a process
def say_uncompiled() -> None:
    say(
        "timed uncompiled, since compiling takes minutes: a run that compiles begins later, and its steps may be faster"
    )
