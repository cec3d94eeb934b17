"""Choose how a training's step runs: whether it is compiled, and in which memory layout."""

from dataclasses import replace

from lowres_ssl.console import log_info
from lowres_ssl.device import DevicePrecision
from lowres_ssl.experiment.plan import TrainingSetup
from lowres_ssl.train.forward import TIMED_STEPS, measure_faster_layout

# What compiling a step costs and saves on a GPU. Nobody has measured it on one; where the figures come from is in
# docs/decisions/12-what-decides-how-a-step-runs.md.
SECONDS_TO_COMPILE = 100.0  # a forward and backward pass, for each shape of a batch
SECONDS_SAVED = 0.01  # of each step
MIN_LAYOUT_TEST_RATIO = 100  # a training is as many times as long as timing both layouts, at least, where that is done


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
    """Time a step of this plan in both layouts and return `compute` with the faster one."""
    assert plan.method is not None
    log_info("timing a training step in both memory layouts")
    layout = measure_faster_layout(
        plan.encoder,
        plan.method,
        compute,
        joint=plan.training.joint,
        batch_size=plan.training.batch_size,
        image_size=plan.config.image_size,
    )
    return replace(compute, layout=layout)
