"""Estimate what runs would take for `dry_run=true`: views to go, seconds (by timed steps on noise), disk."""

from dataclasses import replace
from functools import partial

from lowres_ssl.console import log_info
from lowres_ssl.data.prepare import DataSummary, select_pretraining_images, summarise_data
from lowres_ssl.experiment.plan import TrainingSetup, choose_step_settings, identify_run, make_checked_split
from lowres_ssl.sweeps import RunEstimate
from lowres_ssl.train.checkpoint import read_epochs_done
from lowres_ssl.train.forward import time_steps_in

# A CPU may take half a minute for a step of 64 images, so a few images are timed first.
CPU_TRIAL_BATCH = 16
MAX_STEP_SECONDS = 5.0  # a step of the whole batch is timed too if it takes no longer: it is faster an image
VALIDATED_IMAGE_COST = 1 / 3  # of a view: a forward pass alone
MEASURED: dict[tuple[object, ...], float] = {}  # views a second, in this process, by everything that changes them


def estimate_run(plan: TrainingSetup) -> RunEstimate:
    """Estimate what running this plan would take: views to go, seconds, disk."""
    config = plan.config
    if plan.method is None:
        return RunEstimate(f"{config.dataset.name}-{config.method['name']}-s{config.seed}", "nothing to train")
    outline, to_decode = summarise_data(config, partial(make_checked_split, plan))
    run, _ = identify_run(plan, outline)
    record = run.find_record()
    done = min(config.epochs, read_epochs_done(run.checkpoint))
    if done == config.epochs or (record is not None and record.outcome is not None):
        return RunEstimate(run.name, "finished")
    images = count_training_images(plan, outline)
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


def count_training_images(plan: TrainingSetup, outline: DataSummary) -> int:
    return len(select_pretraining_images(outline.catalogue, outline.split, plan.config.pretrain_on.name, plan.seen))


def estimate_training_seconds(plan: TrainingSetup, outline: DataSummary, done: int = 0) -> float:
    """Estimate the seconds of the forward and backward passes after epoch `done`, with the validation after each epoch.

    With several processes each trains on its share; communication, and the making of views, is not counted.
    """
    views = plan.training.views_per_epoch(count_training_images(plan, outline))
    if plan.selects_epoch:
        views += round(VALIDATED_IMAGE_COST * (len(outline.split.train) + len(outline.split.validation)))
    sizes = [each.image_size for each in plan.views[done:]]
    return sum(views / plan.processes.size / measure_speed(plan, size) for size in sizes)


def measure_speed(plan: TrainingSetup, image_size: int) -> float:
    """Measure the views a second of forward and backward passes, uncompiled, on noise; once in a process."""
    config, compute, batch = plan.config, plan.compute, plan.config.batch_size // plan.processes.size
    key = (str(config.backbone), str(config.method), image_size, batch, plan.training.joint, compute)
    if key not in MEASURED:
        few = min(batch, CPU_TRIAL_BATCH) if compute.device.type == "cpu" else batch
        MEASURED[key] = time_views(plan, image_size, few)
        if few < batch <= MAX_STEP_SECONDS * MEASURED[key] / plan.training.views_per_image:
            MEASURED[key] = time_views(plan, image_size, batch)
    return MEASURED[key]


def time_views(plan: TrainingSetup, image_size: int, batch: int) -> float:
    assert plan.method is not None
    compute, joint = replace(plan.compute, compiled=False), plan.training.joint
    seconds = time_steps_in(
        [compute.layout], plan.encoder, plan.method, compute, joint=joint, batch_size=batch, image_size=image_size
    )
    return plan.training.views_per_image * batch / seconds[compute.layout]
