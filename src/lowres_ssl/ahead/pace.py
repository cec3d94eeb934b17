"""How fast this machine makes a plan's training step: timed on noise, nothing is read or kept."""

import time
from copy import deepcopy

import torch

from lowres_ssl.planning.plan import Plan
from lowres_ssl.training.forward import make_forward

# On a CPU the speed hardly depends on the batch size, and a step of 64 images may take half a minute.
LARGEST_ON_A_CPU = 16
SLOWEST_STEP = 5.0  # seconds; a slower one is not timed with its whole batch
STEPS = 2
LITTLE = 100  # times as long as timing a step a training is before which that is done
SPEEDS: dict[tuple[object, ...], float] = {}


def speed(plan: Plan) -> float:
    """Views a second of the plan's training step, on noise: measured once for an encoder, a method, a size, and what
    they are computed with."""
    config, compute = plan.config, plan.compute
    batch = batch_of(plan)
    model = (str(config.backbone), str(config.method), config.image_size)
    key = (*model, batch, plan.training.joint, compute.device, compute.precision)
    if key not in SPEEDS:
        SPEEDS[key] = measured(plan, batch)
    return SPEEDS[key]


def speed_of_whole_batches(plan: Plan) -> float:
    """The same, with the whole batch on a CPU as well where that does not take long."""
    roughly, batch = speed(plan), plan.config.batch_size
    whole = plan.compute.device.type != "cpu" or batch <= LARGEST_ON_A_CPU
    return roughly if whole or 2 * batch / roughly > SLOWEST_STEP else measured(plan, batch)


def batch_of(plan: Plan) -> int:
    """How many images are timed."""
    on_cpu = plan.compute.device.type == "cpu"
    return min(plan.config.batch_size, LARGEST_ON_A_CPU) if on_cpu else plan.config.batch_size


def quick_speed(plan: Plan, views: int) -> float | None:
    """`speed`, if measuring it is little beside training on so many views; None also for what has to be compiled, is
    shared by several processes, or is of several image sizes."""
    plain = not plan.compute.compiled and plan.processes.size == 1 and len({id(each) for each in plan.views}) == 1
    timed = 2 * batch_of(plan) * (1 + STEPS)
    return speed(plan) if plain and views >= LITTLE * timed else None


def measured(plan: Plan, batch: int) -> float:
    """On copies: what is trained next keeps its weights, statistics and random numbers."""
    compute = plan.compute
    encoder = deepcopy(plan.encoder).to(compute.device).train()
    method = deepcopy(plan.method).to(compute.device).train()
    forward = make_forward(encoder, method, compute, joint=plan.training.joint)
    size = plan.config.image_size
    drawn = torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(0))
    noise = drawn.to(compute.device, memory_format=torch.channels_last)
    labels = torch.zeros(batch, dtype=torch.int64, device=compute.device) if method.sees_labels else None
    started = 0.0
    for step in range(1 + STEPS):
        if step <= 1:  # the first one warms up
            started = time.perf_counter()
        losses, _ = forward(noise, noise.flip(3), labels)
        losses["loss"].backward()
        losses["loss"].item()  # waits for a GPU
    return 2 * batch * STEPS / (time.perf_counter() - started)
