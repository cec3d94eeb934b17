"""A plan -> its forecast: the run looked up, its steps counted, a step timed on this machine. Nothing is decoded."""

import time
from functools import partial

import torch

from lowres_ssl.forecast import Forecast
from lowres_ssl.forward import make_forward
from lowres_ssl.plan import Plan, divide, images_to_train, run_of
from lowres_ssl.preparation import foresee

# On a CPU the speed hardly depends on the batch size, and a step of 64 images may take half a minute.
LARGEST_ON_A_CPU = 16
STEPS = 2
SPEEDS: dict[tuple[object, ...], float] = {}


def foretell(plan: Plan) -> Forecast:
    """What running this plan would come to."""
    config = plan.config
    if not plan.method.trains:
        return Forecast(
            f"{config.dataset.name}-{config.method['name']}-s{config.seed}", "nothing to train", 0, 1.0, 0, "", 0
        )
    outline, to_decode = foresee(config, partial(divide, plan))
    run, _ = run_of(plan, outline)
    description = run.read()
    done = config.epochs if description and description["finished"] else run.epochs_done()
    state = "not begun" if description is None else f"epoch {done} of {config.epochs}"
    if done == config.epochs:
        return Forecast(run.name, "finished", 0, 1.0, 0, "", 0)
    images = images_to_train(plan, outline.catalogue, outline.split)
    views = plan.training.views_per_epoch(images) * (config.epochs - done)
    weights = sum(value.numel() * value.element_size() for value in plan.encoder.state_dict().values())
    features = 4 * plan.width * len(outline.catalogue.records)
    store = str((outline.catalogue.digest, outline.store_shape))
    return Forecast(run.name, state, views, speed(plan), weights + features, store, to_decode)


def speed(plan: Plan) -> float:
    """Views a second of the plan's training step, on noise: measured once for an encoder, a method, a size, and what
    they are computed with."""
    config, compute = plan.config, plan.compute
    on_cpu = compute.device.type == "cpu"
    batch = min(config.batch_size, LARGEST_ON_A_CPU) if on_cpu else config.batch_size
    machine = (compute.device, compute.precision)
    key = (config.backbone.name, config.image_size, config.method["name"], batch, plan.training.joint, machine)
    if key not in SPEEDS:
        SPEEDS[key] = measured(plan, batch)
    return SPEEDS[key]


def measured(plan: Plan, batch: int) -> float:
    compute, encoder, method = plan.compute, plan.encoder, plan.method
    encoder.to(compute.device).train()
    method.to(compute.device).train()
    forward = make_forward(encoder, method, compute, joint=plan.training.joint)
    size = plan.config.image_size
    noise = torch.randn(batch, 3, size, size, device=compute.device).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(batch, dtype=torch.int64, device=compute.device) if method.sees_labels else None
    started = 0.0
    for step in range(1 + STEPS):
        if step <= 1:  # the first one warms up
            started = time.perf_counter()
        losses, _ = forward(noise, noise.flip(3), labels)
        losses["loss"].backward()
        losses["loss"].item()  # waits for a GPU
    return 2 * batch * STEPS / (time.perf_counter() - started)
