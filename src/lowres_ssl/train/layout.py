"""Time in which memory layout a training step is the faster on this CPU."""

import time
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import torch
from torch import nn

from lowres_ssl.device import CHANNELS_LAST, MEMORY_FORMATS, NCHW, DevicePrecision
from lowres_ssl.methods import Method
from lowres_ssl.train.forward import make_forward

TIMED_TURNS = 2
TIMED_STEPS = len(MEMORY_FORMATS) * (1 + TIMED_TURNS)
# How much faster the other layout has to be: a step differs by less than that from turn to turn on an idle machine.
LAYOUT_MARGIN = 1.05


def measure_faster_layout(
    encoder: nn.Module, method: Method, compute: DevicePrecision, *, joint: bool, batch_size: int, image_size: int
) -> str:
    """The key of `device.LAYOUTS` with the faster forward and backward pass, the best of `TURNS` each, in turns so that
    what else the machine does befalls both; channels_last unless NCHW is the faster by `MARGIN`.

    On noise and on copies: what is trained next keeps its weights, statistics and random numbers.
    """
    drawn = torch.randn(batch_size, 3, image_size, image_size, generator=torch.Generator().manual_seed(0))
    steps = {
        layout: make_timed_step(encoder, method, replace(compute, layout=layout), joint, drawn)
        for layout in MEMORY_FORMATS
    }
    for step in steps.values():
        step()
    seconds = {layout: min(turn) for layout, turn in time_steps(steps).items()}
    return NCHW if LAYOUT_MARGIN * seconds[NCHW] < seconds[CHANNELS_LAST] else CHANNELS_LAST


def time_steps(steps: dict[str, Callable[[], None]]) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {layout: [] for layout in steps}
    for _ in range(TIMED_TURNS):
        for layout, step in steps.items():
            started = time.perf_counter()
            step()
            seconds[layout].append(time.perf_counter() - started)
    return seconds


def make_timed_step(
    encoder: nn.Module, method: Method, compute: DevicePrecision, joint: bool, noise: torch.Tensor
) -> Callable[[], None]:
    """A forward and backward pass of copies that have this layout, on two views of it."""
    model = nn.ModuleDict({"encoder": deepcopy(encoder), "method": deepcopy(method)})
    model.to(compute.device).to(memory_format=MEMORY_FORMATS[compute.layout]).train()
    own = model["method"]
    assert isinstance(own, Method)
    forward = make_forward(model["encoder"], own, compute, joint=joint)
    first = noise.to(compute.device, memory_format=MEMORY_FORMATS[compute.layout])
    second = first.flip(3)
    labels = torch.zeros(len(noise), dtype=torch.int64, device=compute.device) if own.sees_labels else None

    def step() -> None:
        model.zero_grad()
        forward(first, second, labels)[0]["loss"].backward()

    return step
