"""Time the parts of a benchmark on this machine, on noise: the training loop, features, probes. Nothing is kept."""

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

from lowres_ssl.benchmark.schedule import BenchmarkCosts
from lowres_ssl.config.experiment_schema import RANDOM_BASELINES, PretrainConfig
from lowres_ssl.data.decode import decode_image
from lowres_ssl.data.prepare import DataSummary, summarise_data
from lowres_ssl.errors import ConfigError, is_out_of_memory
from lowres_ssl.experiment.estimate import estimate_training_seconds, measure_epoch_time, measure_inference_speed
from lowres_ssl.experiment.plan import TrainingSetup, build_training_setup, make_checked_split
from lowres_ssl.probes.base import Features, build_probe

RUN_OVERHEAD_SHARE = 0.5  # of what starting takes: a run beside all that is measured, composing, building, writing
TSNE_SECONDS_PER_IMAGE = 0.006  # seconds of a t-SNE in the report, a test image
REPORT_SECONDS = 10.0  # seconds of tables, comparison and report beside starting, which takes them a third as long
DECODED_SAMPLE_SIZE = 24  # images decoded
MAX_PROBE_ROWS = 512  # training features that a probe is timed on, at most
TIMED_PROBE_EPOCHS = 10  # of a probe that has epochs


@dataclass(frozen=True)
class CostRequest:
    """What is to be run: a config a method, in order, the probes of the extra "linear" and fractions of "labels"."""

    configs: Mapping[str, PretrainConfig]
    linear: Mapping[str, Any] | None
    fewer_labels: Sequence[float]


def measure_in_subprocess(asked: CostRequest) -> BenchmarkCosts:
    """Measure in a process of its own, so that its memory is free before the first run, and a kill ends it alone.

    Raises whatever is wrong with the configs or the images, as pre-training would.
    """
    config = next(iter(asked.configs.values()))
    with ProcessPoolExecutor(max_workers=1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(measure_costs, asked, time.time()).result()
        except (BrokenProcessPool, RuntimeError, MemoryError) as error:
            if not isinstance(error, BrokenProcessPool) and not is_out_of_memory(error):
                raise
            raise ConfigError(
                f"a step of batch_size={config.batch_size} at image_size={config.image_size} needs more memory than "
                "there is; type a smaller batch_size or image_size"
            ) from error


def measure_costs(asked: CostRequest, begun: float) -> BenchmarkCosts:
    """Measure everything; `begun`: when this process was asked for, by the system's clock."""
    start = time.time() - begun
    plans = {name: build_training_setup(config) for name, config in asked.configs.items()}
    first = next(iter(plans.values()))
    first.compute.set_up_process()
    outline, to_decode = summarise_data(first.config, partial(make_checked_split, first))
    trained = {name: plan for name, plan in plans.items() if plan.method is not None}
    epoch = {name: estimate_training_seconds(plan, outline) / plan.config.epochs for name, plan in trained.items()}
    features = len(outline.catalogue.records) / measure_inference_speed(next(iter(trained.values()), first), outline)
    scored = {name: time_probe(name, arguments, first, outline) for name, arguments in first.config.probe.items()}
    calibration = features * len(outline.split.train) / len(outline.catalogue.records)  # a pass of its own
    calibration *= "random_calibrated" in plans
    runs, of_a_run = len(plans), RUN_OVERHEAD_SHARE * start
    each_run = of_a_run + features + sum(scored.values())
    extras = {}
    if asked.fewer_labels:
        share = sum(asked.fewer_labels) * first.config.label_draws
        extras["labels"] = start + runs * (of_a_run + share * sum(scored.values()))
    if asked.linear is not None:
        extras["linear"] = start + runs * (of_a_run + time_probe("linear", asked.linear, first, outline))
    return BenchmarkCosts(
        epoch=epoch,
        round_base=start + runs * each_run + calibration,
        run=each_run,
        prepare=estimate_decoding_seconds(outline, first.config) if to_decode else 0.0,
        report=start + REPORT_SECONDS + runs * TSNE_SECONDS_PER_IMAGE * len(outline.split.test),
        start=start,
        random_seed=sum(each_run for name in plans if name in RANDOM_BASELINES) + calibration,
        extras=extras,
        views={name: measure_epoch_time(plan, outline, plan.views[-1]).views for name, plan in trained.items()},
        device=first.compute.describe(),
    )


def estimate_decoding_seconds(outline: DataSummary, config: PretrainConfig) -> float:
    """Estimate the seconds of decoding all images from some of them."""
    catalogue = outline.catalogue
    records = catalogue.records[:: max(1, len(catalogue.records) // DECODED_SAMPLE_SIZE)]
    started = time.perf_counter()
    for record in records:
        decode_image(record.path, colour=config.images.colour, size=outline.store_shape[2])
    each = (time.perf_counter() - started) / len(records)
    return each * len(catalogue.records + catalogue.unlabelled) / (os.cpu_count() or 1)


def time_probe(name: str, arguments: Mapping[str, Any], plan: TrainingSetup, outline: DataSummary) -> float:
    """Estimate the seconds of fitting a probe on all training labels and scoring it, from a fit on fewer features of
    noise, as wide as the encoder's, and in fewer epochs if it has any."""
    train = len(outline.split.train)
    rows = min(train, MAX_PROBE_ROWS)
    fewer = {"k": rows, "epochs": TIMED_PROBE_EPOCHS}
    timed = dict(arguments) | {key: min(arguments[key], most) for key, most in fewer.items() if key in arguments}
    probe, given = build_probe(name, timed), make_noise_features(plan, outline, rows)
    probe.fit_predict(given, seed=0)  # the first time is slower
    started = time.perf_counter()
    probe.fit_predict(given, seed=0)
    seconds = time.perf_counter() - started
    return seconds * train / rows * float(arguments.get("epochs", 1) / timed.get("epochs", 1))


def make_noise_features(plan: TrainingSetup, outline: DataSummary, rows: int) -> Features:
    """Draw features of noise on the plan's device, `rows` of them to train on."""
    classes, generator, split = len(outline.catalogue.classes), torch.Generator().manual_seed(0), outline.split
    drawn = []
    for count in (rows, max(classes, min(len(split.validation), rows)), min(max(1, len(split.test)), rows)):
        labels = torch.arange(count) % classes
        # Classes that lie apart a little: on pure noise a logistic regression takes unusually long.
        features = torch.randn(count, plan.width, generator=generator) + labels[:, None] / classes
        drawn.append((features.to(plan.compute.device), labels.to(plan.compute.device)))
    (train, train_labels), (validation, validation_labels), (test, _) = drawn
    return Features(train, train_labels, validation, validation_labels, test, classes)
