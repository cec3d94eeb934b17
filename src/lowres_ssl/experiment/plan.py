"""Config -> plan: everything of a pre-training that can be built, and so checked, without an image."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lowres_ssl.augment.augmentation import Augmentation
from lowres_ssl.augment.from_config import build_views
from lowres_ssl.config.check import PretrainConfig
from lowres_ssl.config.experiment_schema import RANDOM_BASELINES
from lowres_ssl.console import pluralise
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.label_subset import ALL_LABELS, LabelSubset, list_label_subsets, select_labelled
from lowres_ssl.data.prepare import DataSummary, make_configured_split
from lowres_ssl.data.splits import Split
from lowres_ssl.device import DevicePrecision, resolve_device
from lowres_ssl.encoders.weights_file import load_encoder_weights, load_weights
from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.evaluate.encoder_runs import (
    RANDOM_WEIGHTS,
    InitialWeights,
    build_encoder_name,
    build_run_labels,
    resolve_initial_weights,
)
from lowres_ssl.evaluate.evaluate import ProbeSet, TuningTarget, build_probe_set, check_probe_images, warn_of_settings
from lowres_ssl.methods import Method, build_method
from lowres_ssl.runs.run import Run, get_run_by_identity
from lowres_ssl.runs.run_hash import build_training_identity
from lowres_ssl.train.setup import WEIGHTS_METHOD, build_starting_encoder, init_encoder
from lowres_ssl.train.state import TrainingOptions
from lowres_ssl.train.world import SINGLE_PROCESS, World


@dataclass(frozen=True)
class TrainingSetup:
    """A config with everything built that can be built without an image, and so checked."""

    config: PretrainConfig
    encoder: nn.Module
    width: int  # of its features
    method: Method
    training: TrainingOptions
    views: list[Augmentation]  # of each epoch
    evaluation: ProbeSet
    compute: DevicePrecision
    source: InitialWeights | None  # of the weights that the encoder starts with
    draws: list[LabelSubset]  # of the labels that count, when it is scored
    seen: LabelSubset | None  # of the labels that a supervised method sees; its probes see the same
    processes: World  # that share each batch


def build_training_setup(config: PretrainConfig, processes: World = SINGLE_PROCESS) -> TrainingSetup:
    """Raises `ConfigError` for whatever is wrong with `config` and can be known without the images."""
    compute = resolve_training_device(config, processes)
    selects = config.select_encoder.name == "best_validation_knn"
    if selects and "knn" not in config.probe:
        raise ConfigError("select_encoder=best_validation_knn: wanted knn among the probes; type probe=[knn,linear]")
    # Foretelling needs no weights, and must not fetch any.
    encoder, width = init_encoder(config) if config.dry_run else build_starting_encoder(config)
    source = None
    if config.initial_weights != RANDOM_WEIGHTS:
        source = resolve_initial_weights(config.initial_weights, config)
        load_encoder_weights(encoder, load_weights(source.path), f"initial_weights={config.initial_weights}")
    training = TrainingOptions(
        epochs=config.epochs,
        batch_size=config.batch_size,
        keep_last_batch=config.keep_last_batch,
        joint=config.forward.name == "joint",
        learning_rate=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        decay_norm_and_bias=config.decay_norm_and_bias,
        schedule=config.schedule.name,
        warmup_epochs=config.warmup_epochs,
        checkpoint_seconds=config.checkpoint_seconds,
        seed=config.seed,
    )
    # The classes are known once the images are; until then a supervised method's classifier is a stand-in.
    method = build_method(config.method, features=width, classes=1, seed=config.seed)
    seen = choose_supervised_labels(config, method)
    draws = list_label_subsets(config.label_fraction, config.label_draws)
    return TrainingSetup(
        config=config,
        encoder=encoder,
        width=width,
        method=method,
        training=training,
        views=build_views(config),
        evaluation=build_probe_set(config) if config.evaluate or selects else ProbeSet({}, {}),
        compute=compute,
        source=source,
        draws=draws if seen is None else [seen],
        seen=seen,
        processes=processes,
    )


def resolve_training_device(config: PretrainConfig, processes: World) -> DevicePrecision:
    """This process's device. Raises `ConfigError` for what several processes cannot share, or do."""
    processes.check_batch(config.batch_size)
    compiled = config.compile.name == "always"  # what auto comes to depends on the number of steps
    if compiled and processes.size > 1:
        raise ConfigError("compile=always: not with several processes; type compile=auto")
    compute = resolve_device(
        config.device.name, config.precision.name, compiled=compiled, deterministic=config.deterministic
    )
    if processes.size == 1:
        return compute
    if compute.device.type == "cpu":
        if config.sync_batch_norm:
            raise ConfigError(
                "sync_batch_norm=true: PyTorch has it on GPUs only, got a CPU; type sync_batch_norm=false"
            )
        return compute
    gpus = torch.cuda.device_count()
    if processes.local_size > gpus:
        raise ConfigError(
            f"device=cuda: this machine has {pluralise(gpus, 'GPU')} for {processes.local_size} processes, wanted one "
            f"each; type torchrun --nproc-per-node={gpus}, or device=cpu"
        )
    return replace(compute, device=torch.device("cuda", processes.local_rank))


def choose_supervised_labels(config: PretrainConfig, method: Method) -> LabelSubset | None:
    """The draw of labels that a supervised method sees, by its seed. Raises `ConfigError` for what says something of
    labels or weights that a method has no use for."""
    name = config.method["name"]
    if config.initial_weights != RANDOM_WEIGHTS and not method.trains:
        raise ConfigError(
            f"initial_weights={config.initial_weights}: method={name} trains nothing; score weights as they are with "
            "lowres-ssl evaluate weights=FILE"
        )
    if not method.sees_labels:
        if config.select_encoder.name == "best_validation_knn" and any(each < 1 for each in config.label_fraction):
            raise ConfigError(
                f"label_fraction={config.label_fraction}: select_encoder=best_validation_knn chooses the encoder with "
                "all labels, so it cannot be scored with fewer; type select_encoder=last"
            )
        return None
    if config.pretrain_on.name == "all":
        raise ConfigError(f"pretrain_on=all: method={name} would see the test labels; leave it out")
    if len(config.label_fraction) != 1:
        raise ConfigError(
            f"label_fraction={config.label_fraction}: each fraction is a training of its own for method={name}; type "
            f"-m label_fraction={','.join(f'[{each}]' for each in config.label_fraction)}"
        )
    (fraction,) = config.label_fraction
    return ALL_LABELS if fraction == 1 else LabelSubset(fraction, config.seed)


def identify_run(plan: TrainingSetup, outline: DataSummary) -> tuple[Run, dict[str, Any]]:
    """The run of this plan with these images, wherever it stands, and its identity."""
    config = plan.config
    start = None if plan.source is None else plan.source.path
    identity = build_training_identity(config, outline, plan.compute.precision, start, plan.seen, plan.processes.size)
    return get_identified_run(config, identity), identity


def get_identified_run(config: PretrainConfig, identity: Mapping[str, Any]) -> Run:
    labels = build_run_labels(config, config.method["name"])
    return get_run_by_identity(Path(config.output_dir), "pretrain", labels, identity)


MAX_WORLD_SIZE = 64  # that an unfinished run is looked for of


def check_world_size_unchanged(plan: TrainingSetup, identity: Mapping[str, Any]) -> None:
    """Raises `CheckpointError` where the run of this identity is unfinished, as begun by another number of processes;
    where BatchNorm sees the whole batch it is the same run, and its checkpoint is what refuses them."""
    if plan.config.sync_batch_norm:
        return
    alike = {key: value for key, value in identity.items() if key != "processes"}
    for size in range(1, MAX_WORLD_SIZE + 1):
        run = get_identified_run(plan.config, alike if size == 1 else alike | {"processes": size})
        if size != plan.processes.size and run.checkpoint.exists():
            before, command = (
                ("one process", "lowres-ssl pretrain")
                if size == 1
                else (f"{size} processes", f"torchrun --nproc-per-node={size} -m lowres_ssl pretrain")
            )
            raise CheckpointError(
                f"{run.name}: begun by {before}, got {plan.processes.size}, whose BatchNorm statistics would be of "
                f"other images; go on with {command} and the same keys, or begin anew with force=true"
            )


def make_checked_split(plan: TrainingSetup, catalogue: Catalogue) -> Split:
    """The split. Raises `ConfigError` if the images will not do for this plan; says what is doubtful."""
    split = make_configured_split(plan.config, catalogue)
    selects = plan.method.trains and plan.config.select_encoder.name == "best_validation_knn"
    check_probe_images(plan.evaluation, catalogue, split, plan.draws)
    if plan.config.evaluate:
        trained = (plan.config.batch_size, plan.config.epochs) if plan.method.trains else ()
        started_from = [] if plan.source is None else [TuningTarget(f"{WEIGHTS_METHOD} of {plan.source.name}")]
        encoders = (
            TuningTarget(build_encoder_name(plan.config, plan.source), *trained),
            *started_from,
            *map(TuningTarget, RANDOM_BASELINES),
        )
        # Raises where nothing was tuned for one.
        warn_of_settings(build_probe_set(plan.config, encoder, split) for encoder in encoders)
    if selects and not len(split.validation):
        raise ConfigError("select_encoder=best_validation_knn: there are no validation images; try last")
    if plan.source is not None:
        plan.source.check_leakage(split, catalogue, plan.draws)
    if plan.method.trains:
        images = count_training_images(plan, catalogue, split)
        plan.training.steps_per_epoch(images)
        if plan.training.keep_last_batch:
            plan.processes.check_last_batch(images, plan.training.batch_size)
    return split


def count_training_images(plan: TrainingSetup, catalogue: Catalogue, split: Split) -> int:
    """How many images an epoch has."""
    if plan.seen is not None:
        return len(select_labelled(catalogue.labels, split.train, split.validation, plan.seen)[0])
    everything = plan.config.pretrain_on.name == "all"
    return len(catalogue.records if everything else split.train) + len(catalogue.unlabelled)
