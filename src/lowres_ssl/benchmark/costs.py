"""What the parts of a benchmark cost on this machine: steps, features and probes timed on noise. Nothing is kept."""

import multiprocessing
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from lowres_ssl.ahead.pace import speed_of_whole_batches
from lowres_ssl.benchmark.allotment import Costs
from lowres_ssl.config import PretrainConfig
from lowres_ssl.data.decode import decode
from lowres_ssl.data.records import Catalogue
from lowres_ssl.errors import ConfigError
from lowres_ssl.evaluation.probing import without_origin
from lowres_ssl.planning.plan import Plan, divide, images_to_train, plan_of
from lowres_ssl.planning.preparation import Outline, foresee
from lowres_ssl.probes import Features, build_probe
from lowres_ssl.schemas.experiment import RANDOM_STARTS

# Views, optimiser and checkpoints beside the timed step: the whole loop was measured at 0.94 to 0.97 of the bare step.
BESIDE_THE_STEP = 1.1
FORWARD = 0.5  # of what a view costs in a step, at most: the backward pass is about two forward passes
OF_A_RUN = 0.5  # of what starting takes: a run beside all that is measured, composing, building, writing
OF_A_MAP = 0.006  # seconds of a t-SNE in the report, a test image
OF_A_REPORT = 10.0  # seconds of tables, comparison and report beside starting, which takes them a third as long
SAMPLE = 24  # images decoded
ROWS = 512  # training features that a probe is timed on, at most
EPOCHS = 2  # of a probe that has epochs


@dataclass(frozen=True)
class Asked:
    """What is to be run: a config a method, in order, the probes of the extra "linear" and fractions of "labels"."""

    configs: Mapping[str, PretrainConfig]
    linear: Mapping[str, Any] | None
    fewer_labels: Sequence[float]


@dataclass(frozen=True)
class Measured:
    """`views`: a second, by method, of those that train; `device`: the machine, and the precision, in words."""

    costs: Costs
    views: Mapping[str, float]
    device: str


def measure(asked: Asked) -> Measured:
    """In a process of its own, so that what it takes is free before the first run, and its end is no one else's.

    Raises whatever is wrong with the configs or the images, as pre-training would.
    """
    context = multiprocessing.get_context("spawn")
    begun = time.time()
    with ProcessPoolExecutor(max_workers=1, mp_context=context) as pool:
        try:
            return pool.submit(measured_here, asked, begun).result()
        except BrokenProcessPool as error:
            config = next(iter(asked.configs.values()))
            raise ConfigError(
                f"a step of batch_size={config.batch_size} at image_size={config.image_size} ended its process, out of "
                "memory most likely; type a smaller batch_size or image_size"
            ) from error


def measured_here(asked: Asked, begun: float) -> Measured:
    """`begun`: when this process was asked for, by the system's clock: what a command takes to start."""
    start = time.time() - begun
    plans = {name: plan_of(config) for name, config in asked.configs.items()}
    first = next(iter(plans.values()))
    outline, to_decode = foresee(first.config, partial(divide, first))
    views = {name: speed_of_whole_batches(plan) for name, plan in plans.items() if plan.method.trains}
    images = {name: images_to_train(plans[name], outline.catalogue, outline.split) for name in views}
    epoch = {name: plans[name].training.views_per_epoch(images[name]) / views[name] * BESIDE_THE_STEP for name in views}
    fastest = max(views.values(), default=0.0)
    features = FORWARD * len(outline.catalogue.records) / fastest if fastest else 0.0
    scored = {name: seconds_of(name, arguments, first, outline) for name, arguments in first.config.probe.items()}
    calibration = features * len(outline.split.train) / len(outline.catalogue.records)  # a pass of its own
    calibration *= "random_calibrated" in plans
    runs, of_a_run = len(plans), OF_A_RUN * start
    each_run = of_a_run + features + sum(scored.values())
    extras = {}
    if asked.fewer_labels:
        share = sum(asked.fewer_labels) * first.config.label_draws
        extras["labels"] = start + runs * (of_a_run + share * sum(scored.values()))
    if asked.linear is not None:
        extras["linear"] = start + runs * (of_a_run + seconds_of("linear", asked.linear, first, outline))
    costs = Costs(
        epoch=epoch,
        round_base=start + runs * each_run + calibration,
        prepare=decoding(outline.catalogue, first.config) if to_decode else 0.0,
        report=start + OF_A_REPORT + runs * OF_A_MAP * len(outline.split.test),
        start=start,
        random_seed=sum(each_run for name in plans if name in RANDOM_STARTS) + calibration,
        extras=extras,
    )
    return Measured(costs, views, first.compute.describe())


def decoding(catalogue: Catalogue, config: PretrainConfig) -> float:
    """Seconds of decoding all images, from some of them."""
    records = catalogue.records[:: max(1, len(catalogue.records) // SAMPLE)]
    started = time.perf_counter()
    for record in records:
        decode(record.path, colour=config.images.colour, size=2 * config.image_size)
    each = (time.perf_counter() - started) / len(records)
    return each * len(catalogue.records + catalogue.unlabelled) / (os.cpu_count() or 1)


def seconds_of(name: str, arguments: Mapping[str, Any], plan: Plan, outline: Outline) -> float:
    """Of a probe fitted on all training labels, from a fit on fewer random features, in fewer epochs if it has any."""
    train, classes = len(outline.split.train), len(outline.catalogue.classes)
    rows = min(train, ROWS)
    scale = train / rows
    settings = without_origin({key: value for key, value in arguments.items() if key != "name"})
    if "epochs" in settings:
        scale *= settings["epochs"] / min(settings["epochs"], EPOCHS)
        settings["epochs"] = min(settings["epochs"], EPOCHS)
    if "k" in settings:
        settings["k"] = min(settings["k"], rows)
    generator = torch.Generator().manual_seed(0)

    def noise(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = torch.arange(count) % classes
        # Classes that lie apart a little: on pure noise a logistic regression takes unusually long.
        return torch.randn(count, plan.width, generator=generator) + labels[:, None] / classes, labels

    features, labels = noise(rows)
    validation, validation_labels = noise(max(classes, min(len(outline.split.validation), rows)))
    test, _ = noise(min(max(1, len(outline.split.test)), rows))
    given = Features(features, labels, validation, validation_labels, test, classes)
    probe = build_probe(name, settings)
    started = time.perf_counter()
    probe.fit_predict(given, seed=0)
    return (time.perf_counter() - started) * scale
