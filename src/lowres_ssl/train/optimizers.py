"""The optimiser and the learning rate of each step: SGD, with momentum and weight decay by choice."""

import math

import torch
from torch import nn


def make_optimiser(
    model: nn.Module, momentum: float, weight_decay: float, decay_norm_and_bias: bool
) -> torch.optim.SGD:
    """SGD; without `decay_norm_and_bias`, weight decay reaches matrices and kernels only. Rates are set each step.

    Momentum begins as zeros, to which the first step adds its gradient, as PyTorch's own first step has it. Left to the
    fused kernel, the buffers of a first step that a gradient scaler skips would stay what the memory held before.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed = [p for p in parameters if decay_norm_and_bias or p.ndim > 1]
    spared = [p for p in parameters if not decay_norm_and_bias and p.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": spared, "weight_decay": 0.0}]
    optimiser = torch.optim.SGD([group for group in groups if group["params"]], lr=0.0, momentum=momentum, fused=True)
    if momentum:
        for parameter in parameters:
            optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimiser


def get_learning_rate(step: int, *, peak: float, steps: int, warmup: int, schedule: str) -> float:
    """The rate of `step`, from 0 to `steps` - 1: rising evenly over `warmup` steps to `peak`, then constant, or along a
    cosine that would reach 0 at `steps` (Loshchilov and Hutter, SGDR, 2017, arXiv 1608.03983)."""
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    return peak * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2
