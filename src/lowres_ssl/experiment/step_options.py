"""Decide how the step of a training is run: compiled where that repays itself, in the faster memory layout."""

from dataclasses import replace

from lowres_ssl.console import log_info
from lowres_ssl.device import DevicePrecision
from lowres_ssl.experiment.plan import TrainingSetup
from lowres_ssl.train.layout import TIMED_STEPS, measure_faster_layout

# What compiling a step costs and saves on a GPU. Nobody has measured it on one; where the figures come from is in
# docs/decisions/12-what-decides-how-a-step-runs.md.
SECONDS_TO_COMPILE = 100.0  # a forward and backward pass, for each shape of a batch
SECONDS_SAVED = 0.01  # of each step
MIN_LAYOUT_TEST_RATIO = 100  # times as long as timing the layouts a training is before which that is done


def choose_step_settings(plan: TrainingSetup, images: int, *, time_layouts: bool) -> DevicePrecision:
    """What this training, of so many `images` an epoch, computes with: the plan's, with what `compile=auto` and the
    memory layout come to. Both are decided by the whole training and stay when it is gone on with, so that it has the
    same digits. `time_layouts`: where that is worth it; not of a training that is gone on with, whose checkpoint names
    its layout."""
    steps = plan.training.epochs * plan.training.steps_per_epoch(images)
    compute = replace(plan.compute, compiled=should_compile(plan, images))
    if time_layouts and is_layout_open(plan) and steps >= MIN_LAYOUT_TEST_RATIO * TIMED_STEPS:
        compute = use_faster_layout(plan, compute)
    return compute


def should_compile(plan: TrainingSetup, images: int) -> bool:
    """Whether the step of this training, of so many `images` an epoch, is compiled: as it was typed, or by what auto
    comes to."""
    if plan.config.compile.name != "auto" or plan.processes.size > 1 or plan.compute.device.type != "cuda":
        return plan.compute.compiled
    steps = plan.training.epochs * plan.training.steps_per_epoch(images)
    return is_compiling_worthwhile(steps, count_compiled_passes(plan, images))


def is_compiling_worthwhile(steps: int, passes: int) -> bool:
    """Whether what so many steps are expected to save is more than so many passes are expected to cost."""
    return steps * SECONDS_SAVED > passes * SECONDS_TO_COMPILE


def count_compiled_passes(plan: TrainingSetup, images: int) -> int:
    """How many passes there are to compile: one or two a step, by the shapes of a batch (full and last ones, of each
    image size)."""
    last = images % plan.training.batch_size
    shapes = len({views.image_size for views in plan.views}) * (1 + (plan.training.keep_last_batch and last > 1))
    return shapes * (1 if plan.training.joint else 2)


def is_layout_open(plan: TrainingSetup) -> bool:
    """Whether the layout is left to timing: on a CPU in fp32, of a step that is not compiled. bf16 and GPUs have
    kernels for channels_last, and a compiler lays out as it likes; several processes must agree, and a run that has to
    repeat its bytes cannot depend on a clock."""
    compute = plan.compute
    plain = not compute.compiled and plan.processes.size == 1 and not plan.config.deterministic
    return plain and compute.device.type == "cpu" and compute.precision == "fp32"


def use_faster_layout(plan: TrainingSetup, compute: DevicePrecision) -> DevicePrecision:
    """The same, in the layout that this plan's step was timed to be the faster in, now."""
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
