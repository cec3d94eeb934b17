"""Build a training from its config as far as that needs no image; check the images; choose how its step runs."""

from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import torch
from torch import nn

from lowres_ssl.augment.augmentation import Augmentation
from lowres_ssl.augment.from_config import build_views
from lowres_ssl.augment.sampling import FULL_VIEW
from lowres_ssl.config.check import check_view_settings
from lowres_ssl.config.experiment_schema import SETTINGS_ORIGIN, TUNED_ORIGIN, PretrainConfig
from lowres_ssl.console import log_info, log_warning, pluralise
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.prepare import DataSummary, make_configured_split, select_pretraining_images
from lowres_ssl.data.splits import ALL_LABELS, LabelSubset, Split, list_label_subsets
from lowres_ssl.device import CHANNELS_LAST, MEMORY_FORMATS, NCHW, DevicePrecision, resolve_device
from lowres_ssl.encoders.base import build_fixed_encoder, find_fixed_encoder
from lowres_ssl.encoders.fit_weights import load_encoder_weights
from lowres_ssl.encoders.from_config import (
    build_starting_encoder,
    check_encoder_image_size,
    freeze_stages,
    init_encoder,
    list_random_baselines,
)
from lowres_ssl.encoders.weights_file import load_weights
from lowres_ssl.errors import ConfigError
from lowres_ssl.evaluate.encoder_runs import build_encoder_name
from lowres_ssl.evaluate.evaluate import ProbeSet, build_probe_set, check_probe_images, warn_of_settings
from lowres_ssl.evaluate.initial_weights import RANDOM_WEIGHTS, InitialWeights, resolve_initial_weights
from lowres_ssl.evaluate.tuned_settings import TunedEncoder
from lowres_ssl.methods.base import Method, build_method
from lowres_ssl.runs.records import RunIdentity, SplitSummary
from lowres_ssl.runs.run import WEIGHTS_PREFIX, Run, get_identified_run
from lowres_ssl.runs.run_hash import build_run_labels, build_training_identity
from lowres_ssl.train.batches import check_patients
from lowres_ssl.train.forward import TIMED_STEPS, time_steps_in
from lowres_ssl.train.optimizers import SHARED_SETTINGS, build_optimizer
from lowres_ssl.train.state import TrainingOptions
from lowres_ssl.train.world import SINGLE_PROCESS, World

# What compiling a step costs and saves on a GPU. Nobody has measured it on one; where the figures come from is in
# docs/decisions/12-what-decides-how-a-step-runs.md.
SECONDS_TO_COMPILE = 100.0  # a forward and backward pass, for each shape of a batch
SECONDS_SAVED = 0.01  # of each step
# How much faster the other layout has to be: a step differs by less than that from turn to turn on an idle machine.
LAYOUT_MARGIN = 1.05
MIN_LAYOUT_TEST_RATIO = 100  # a training is as many times as long as timing both layouts, at least, where that is done


@dataclass(frozen=True)
class TrainingSetup:
    """A config with everything built that can be built without an image, and so checked."""

    config: PretrainConfig
    encoder: nn.Module
    width: int  # of its features
    method: Method | None  # None of an encoder that is not trained
    training: TrainingOptions
    views: list[Augmentation]  # of each epoch
    baselines: list[str]  # the random encoders beside it
    evaluation: ProbeSet
    compute: DevicePrecision
    source: InitialWeights | None  # of the weights that the encoder starts with
    draws: list[LabelSubset]  # of the labels that count, when it is scored
    seen: LabelSubset | None  # of the labels that a supervised method sees; its probes see the same
    processes: World  # that share each batch

    @property
    def selects_epoch(self) -> bool:
        """Whether validation chooses the epoch whose encoder is kept."""
        return self.method is not None and self.config.select_encoder.name == "best_validation_knn"


def build_training_setup(config: PretrainConfig, processes: World = SINGLE_PROCESS) -> TrainingSetup:
    """Build what needs no image, on this process's device, which is set up. Raises `ConfigError` for whatever is wrong
    with `config` and can be known without the images."""
    compute = resolve_training_device(config, processes).set_up_process()
    selects = config.select_encoder.name == "best_validation_knn"
    if selects and "knn" not in config.probe:
        raise ConfigError("select_encoder=best_validation_knn: wanted knn among the probes; type probe=[knn,linear]")
    # Foretelling needs no weights that are not there yet.
    encoder, width = init_encoder(config) if config.dry_run else build_starting_encoder(config)
    source = None
    if config.initial_weights != RANDOM_WEIGHTS:
        source = resolve_initial_weights(config.initial_weights, config)
        where = f"initial_weights={config.initial_weights}"
        if not config.dry_run or source.path.exists():
            load_encoder_weights(encoder, load_weights(source.path), where, config.weights_part)
    baselines = list_random_baselines(encoder)
    epochs = build_views(config)
    # The classes are known once the images are; until then a supervised method's classifier is a stand-in.
    is_fixed = find_fixed_encoder(str(config.method["name"])) is not None
    method = None if is_fixed else build_method(config.method, features=width, seed=config.seed)
    views = () if method is None else [kind.size for kind in method.view_kinds()]
    if method is not None:
        check_view_settings(
            config,
            views,
            is_pair=tuple(method.view_kinds()) == (FULL_VIEW, FULL_VIEW) and not method.takes_labels,
            has_predictor=bool(method.predictor_parameters()),
        )
        if config.frozen_stages:
            freeze_stages(encoder, config.frozen_stages)
    if config.backbone.model is not None:
        named = f"{config.method['name']}, {config.backbone.title}"
        sizes = {config.image_size} if method is None else {each.image_size for each in epochs}
        for size, share in product(sorted(sizes), sorted({1.0, *views})):
            check_encoder_image_size(encoder, size, named, None, share=share)
    training = TrainingOptions(
        epochs=config.epochs,
        batch_size=config.batch_size,
        keep_last_batch=config.keep_last_batch,
        joint=config.forward.name == "joint",
        learning_rate=config.learning_rate,
        optimizer=build_optimizer(config.optimiser, **{key: getattr(config, key) for key in SHARED_SETTINGS}),
        schedule=config.schedule.name,
        warmup_epochs=config.warmup_epochs,
        checkpoint_seconds=config.checkpoint_seconds,
        seed=config.seed,
        views_per_image=len(views),
        constant_predictor_rate=config.predictor_rate.name == "constant",
    )
    seen = choose_supervised_labels(config, method)
    draws = list_label_subsets(config.label_fraction, config.label_draws)
    return TrainingSetup(
        config=config,
        encoder=encoder,
        width=width,
        method=method,
        training=training,
        views=epochs,
        baselines=baselines,
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


def choose_supervised_labels(config: PretrainConfig, method: Method | None) -> LabelSubset | None:
    """The draw of labels that a supervised method sees, by its seed. Raises `ConfigError` for a setting of
    labels or weights that a method has no use for."""
    name = config.method["name"]
    if config.initial_weights != RANDOM_WEIGHTS and method is None:
        raise ConfigError(
            f"initial_weights={config.initial_weights}: method={name} trains nothing; score weights as they are with "
            "lowres-ssl evaluate weights=FILE"
        )
    if method is None or not method.sees_labels:
        if config.select_encoder.name == "best_validation_knn" and any(each < 1 for each in config.label_fraction):
            raise ConfigError(
                f"label_fraction={config.label_fraction}: select_encoder=best_validation_knn chooses the encoder with "
                "all labels, so it cannot be scored with fewer; type select_encoder=last"
            )
        return None
    if config.pretrain_on.name != "training":
        reason = "would see the test labels; leave it out"
        if config.pretrain_on.name == "half":
            reason = "trains on a fraction of the labels; type label_fraction=[0.5]"
        raise ConfigError(f"pretrain_on={config.pretrain_on.name}: method={name} {reason}")
    if len(config.label_fraction) != 1:
        raise ConfigError(
            f"label_fraction={config.label_fraction}: each fraction is a training of its own for method={name}; type "
            f"-m label_fraction={','.join(f'[{each}]' for each in config.label_fraction)}"
        )
    (fraction,) = config.label_fraction
    return ALL_LABELS if fraction == 1 else LabelSubset(fraction, config.seed)


def identify_run(plan: TrainingSetup, outline: DataSummary) -> tuple[Run, RunIdentity]:
    """Return the run of this plan with these images, whatever its state, and its identity."""
    config = plan.config
    start = None if plan.source is None else plan.source.path
    there = start if start is not None and start.exists() else None
    identity = build_training_identity(config, outline, plan.compute.precision, there, plan.seen, plan.processes.size)
    if there != start:
        identity = replace(identity, initial_weights=f"not fetched: {config.initial_weights}")
    labels = build_run_labels(config, config.method["name"])
    return get_identified_run(Path(config.output_dir), "pretrain", labels, identity), identity


def make_checked_split(plan: TrainingSetup, catalogue: Catalogue) -> Split:
    """Split the images; warn of what is doubtful. Raise `ConfigError` if the images do not fit the plan."""
    config = plan.config
    split = make_configured_split(config, catalogue)
    if plan.seen is not None:
        catalogue.check_labelled(f"method={config.method['name']}")
    if catalogue.records:
        check_probe_images(plan.evaluation, catalogue, split, plan.draws)
    else:
        for note in catalogue.notes:
            log_warning(note)
    if catalogue.records and config.evaluate and config.probe.get("linear", {}).get(SETTINGS_ORIGIN) == TUNED_ORIGIN:
        summary, trained = SplitSummary(split.kind, split.seed, split.digest), plan.method is not None
        untrained = [*([] if plan.source is None else [f"{WEIGHTS_PREFIX}{plan.source.name}"]), *plan.baselines]
        own = TunedEncoder.build(config, build_encoder_name(config, plan.source), summary, config if trained else None)
        encoders = [own, *(TunedEncoder.build(config, entry, summary, None) for entry in untrained)]
        warn_of_settings(build_probe_set(config, encoder) for encoder in encoders)
    if plan.selects_epoch and not len(split.validation):
        raise ConfigError("select_encoder=best_validation_knn: there are no validation images; try last")
    store_dir = Path(config.store_dir)
    if plan.source is not None:
        plan.source.check_leakage(split, catalogue, plan.draws, store_dir)
    fixed = build_fixed_encoder(config.method) if plan.method is None else None
    if fixed is not None and fixed.file is not None:
        weights = InitialWeights.of_file(fixed.file, None, Path(config.output_dir))
        weights.check_leakage(split, catalogue, plan.draws, store_dir, "method.weights")
    if config.positives.name == "patient":
        check_patients(catalogue, split)
    if plan.method is not None:
        images = len(select_pretraining_images(catalogue, split, config.pretrain_on.name, plan.seen))
        plan.training.steps_per_epoch(images)
        if plan.training.keep_last_batch:
            plan.processes.check_last_batch(images, plan.training.batch_size)
    return split


def choose_step_settings(plan: TrainingSetup, images: int, *, time_layouts: bool) -> DevicePrecision:
    """Choose whether the step is compiled and its memory layout, for a training on `images` an epoch.

    Both follow from the whole training, so that a resumed one has the same digits. `time_layouts`: time both layouts
    where that is open and a hundredth of the training; not for a resumed one, whose checkpoint names its layout.
    """
    compute = replace(plan.compute, compiled=should_compile(plan, images))
    steps = plan.training.epochs * plan.training.steps_per_epoch(images)
    if time_layouts and is_layout_open(plan) and steps >= MIN_LAYOUT_TEST_RATIO * TIMED_STEPS:
        return use_faster_layout(plan, compute)
    return compute


def should_compile(plan: TrainingSetup, images: int) -> bool:
    """Return whether the step is compiled: as typed, or for `auto` if it saves more time than compiling takes.

    Each shape of a batch is compiled once for each of one or two passes: full and last batches, each image size.
    """
    if plan.config.compile.name != "auto" or plan.processes.size > 1 or plan.compute.device.type != "cuda":
        return plan.compute.compiled
    last = images % plan.training.batch_size
    shapes = len({views.image_size for views in plan.views}) * (1 + (plan.training.keep_last_batch and last > 1))
    passes = shapes * (1 if plan.training.joint else 2)
    return plan.training.epochs * plan.training.steps_per_epoch(images) * SECONDS_SAVED > passes * SECONDS_TO_COMPILE


def is_layout_open(plan: TrainingSetup) -> bool:
    """Return whether the faster layout is found by timing: on a CPU in fp32, uncompiled, in one process.

    bf16 and GPUs have kernels for channels_last, a compiler chooses its own layout, several processes must agree, and
    a run whose bytes repeat (`deterministic`) cannot depend on a clock.
    """
    compute = plan.compute
    plain = not compute.compiled and plan.processes.size == 1 and not plan.config.deterministic
    return plain and compute.device.type == "cpu" and compute.precision == "fp32"


def use_faster_layout(plan: TrainingSetup, compute: DevicePrecision) -> DevicePrecision:
    """Time a step of this plan in both layouts; return `compute` with NCHW if it is faster by `LAYOUT_MARGIN`."""
    assert plan.method is not None
    log_info("timing a training step in both memory layouts")
    seconds = time_steps_in(
        list(MEMORY_FORMATS),
        plan.encoder,
        plan.method,
        compute,
        joint=plan.training.joint,
        batch_size=plan.training.batch_size,
        image_size=plan.config.image_size,
    )
    return replace(compute, layout=NCHW) if LAYOUT_MARGIN * seconds[NCHW] < seconds[CHANNELS_LAST] else compute
