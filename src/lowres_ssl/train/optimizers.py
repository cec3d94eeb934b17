"""Build the optimiser of a training, and compute the learning rate of each step.

An optimiser is a frozen dataclass of its settings with a `build`; a new one is a class here.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Optimizer(ABC):
    """Settings of an optimiser. Without `decay_norm_and_bias`, weight decay reaches matrices and kernels only."""

    momentum: float
    weight_decay: float
    decay_norm_and_bias: bool

    @abstractmethod
    def build(self, model: nn.Module) -> torch.optim.Optimizer:
        """Build it for the model's parameters that require gradients. Rates are set in each step."""

    def group_parameters(self, model: nn.Module) -> list[dict[str, Any]]:
        """Split the parameters into those that decay and those that do not, empty groups left out."""
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        decayed = [p for p in parameters if self.decay_norm_and_bias or p.ndim > 1]
        spared = [p for p in parameters if not self.decay_norm_and_bias and p.ndim <= 1]
        groups = [(decayed, self.weight_decay), (spared, 0.0)]
        return [{"params": group, "weight_decay": decay} for group, decay in groups if group]


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, PyTorch's."""

    def build(self, model: nn.Module) -> torch.optim.SGD:
        """Momentum begins as zeros, to which the first step adds its gradient, as PyTorch's own first step has it.

        Left to the fused kernel, the buffers of a first step that a gradient scaler skips would stay what the memory
        held before.
        """
        optimiser = torch.optim.SGD(self.group_parameters(model), lr=0.0, momentum=self.momentum, fused=True)
        if self.momentum:
            for group in optimiser.param_groups:
                for parameter in group["params"]:
                    optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimiser


def get_learning_rate(step: int, *, peak: float, steps: int, warmup: int, schedule: str) -> float:
    """Compute the rate of `step`, from 0 to `steps` - 1: rising evenly over `warmup` steps to `peak`, then constant, or
    along a cosine that would reach 0 at `steps` (Loshchilov and Hutter, SGDR, 2017, arXiv 1608.03983)."""
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    return peak * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2
