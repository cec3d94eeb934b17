"""Time in which memory layout a training step is the faster on this CPU."""

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import torch
from torch import nn

from lowres_ssl.device import CHANNELS_LAST, MEMORY_FORMATS, NCHW, DevicePrecision
from lowres_ssl.methods.base import Method
from lowres_ssl.train.forward import ForwardPass

TIMED_TURNS = 2
TIMED_STEPS = len(MEMORY_FORMATS) * (1 + TIMED_TURNS)
# How much faster the other layout has to be: a step differs by less than that from turn to turn on an idle machine.
LAYOUT_MARGIN = 1.05


def measure_faster_layout(
    encoder: nn.Module, method: Method, compute: DevicePrecision, *, joint: bool, batch_size: int, image_size: int
) -> str:
    """Return the key of `device.MEMORY_FORMATS` with the faster forward and backward pass, the best of `TIMED_TURNS`
    each, in turns so that what else the machine does befalls both; channels_last unless NCHW is the faster by
    `LAYOUT_MARGIN`.

    On noise and on copies: what is trained next keeps its weights, statistics and random numbers.
    """
    generator = torch.Generator().manual_seed(0)
    sizes = [max(2, round(kind.size * image_size)) for kind in method.view_kinds()]
    views = [torch.randn(batch_size, 3, size, size, generator=generator) for size in sizes]
    steps = {
        layout: make_timed_step(encoder, method, replace(compute, layout=layout), joint, views)
        for layout in MEMORY_FORMATS
    }
    time_steps(steps, turns=1)  # to warm up
    seconds = {layout: min(turns) for layout, turns in time_steps(steps, TIMED_TURNS).items()}
    return NCHW if LAYOUT_MARGIN * seconds[NCHW] < seconds[CHANNELS_LAST] else CHANNELS_LAST


def time_steps(steps: dict[str, Callable[[], None]], turns: int) -> dict[str, list[float]]:
    """Measure the seconds of each step, once in each turn."""
    seconds: dict[str, list[float]] = {layout: [] for layout in steps}
    for _ in range(turns):
        for layout, step in steps.items():
            started = time.perf_counter()
            step()
            seconds[layout].append(time.perf_counter() - started)
    return seconds


def make_timed_step(
    encoder: nn.Module, method: Method, compute: DevicePrecision, joint: bool, noise: list[torch.Tensor]
) -> Callable[[], None]:
    """Build a forward and backward pass of copies that have this layout, on views of noise."""
    encoder, method = deepcopy(encoder), deepcopy(method)
    method.prepare(encoder)
    model = nn.ModuleDict({"encoder": encoder, "method": method})
    model.to(compute.device).to(memory_format=MEMORY_FORMATS[compute.layout]).train()
    forward = ForwardPass(encoder, method, compute, joint=joint)
    views = [view.to(compute.device, memory_format=MEMORY_FORMATS[compute.layout]) for view in noise]
    labels = torch.zeros(len(views[0]), dtype=torch.int64, device=compute.device) if method.sees_labels else None

    def step() -> None:
        model.zero_grad()
        forward(views, labels)[0]["loss"].backward()

    return step
