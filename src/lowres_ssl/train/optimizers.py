"""Build the optimiser of a training, and compute the learning rate of each step.

An optimiser is a frozen dataclass of its settings with a `build`, and has a name in `OPTIMIZERS`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lowres_ssl.errors import ConfigError, did_you_mean
from lowres_ssl.registry import check_arguments

SHARED_SETTINGS = ("momentum", "weight_decay", "decay_norm_and_bias")  # keys beside `optimiser`, of a recipe


@dataclass(frozen=True, kw_only=True)
class Optimizer(ABC):
    """Hold an optimiser's settings. Without `decay_norm_and_bias`, weight decay reaches matrices and kernels only."""

    weight_decay: float
    decay_norm_and_bias: bool

    @abstractmethod
    def build(self, model: nn.Module, constant_rate: Collection[nn.Parameter] = ()) -> torch.optim.Optimizer:
        """Build it for the model's parameters that require gradients. Rates are set in each step; those of the
        parameters in `constant_rate` do not follow the schedule."""

    def group_parameters(self, model: nn.Module, constant_rate: Collection[nn.Parameter]) -> list[dict[str, Any]]:
        """Split the parameters into those that decay and those that do not, and those whose rate is constant; empty
        groups are left out. A group's key `constant_rate` is what `set_learning_rates` goes by."""
        constant = {id(parameter) for parameter in constant_rate}
        groups = []
        for is_constant in (False, True):
            own = [p for p in model.parameters() if p.requires_grad and (id(p) in constant) == is_constant]
            decayed = [p for p in own if self.decay_norm_and_bias or p.ndim > 1]
            spared = [p for p in own if not self.decay_norm_and_bias and p.ndim <= 1]
            groups += [(decayed, self.weight_decay, is_constant), (spared, 0.0, is_constant)]
        return [
            {"params": group, "weight_decay": decay, "constant_rate": is_constant}
            for group, decay, is_constant in groups
            if group
        ]


@dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Set up PyTorch's stochastic gradient descent with momentum."""

    momentum: float

    def build(self, model: nn.Module, constant_rate: Collection[nn.Parameter] = ()) -> torch.optim.SGD:
        """Momentum begins as zeros, to which the first step adds its gradient, as PyTorch's own first step has it.

        Left to the fused kernel, the buffers of a first step that a gradient scaler skips would stay what the memory
        held before.
        """
        groups = self.group_parameters(model, constant_rate)
        optimiser = torch.optim.SGD(groups, lr=0.0, momentum=self.momentum, fused=True)
        if self.momentum:
            for group in optimiser.param_groups:
                for parameter in group["params"]:
                    optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimiser


@dataclass(frozen=True, kw_only=True)
class AdamW(Optimizer):
    """Set up PyTorch's Adam with decoupled weight decay: Loshchilov and Hutter, 2019 (arXiv 1711.05101)."""

    beta1: float
    beta2: float
    eps: float

    def build(self, model: nn.Module, constant_rate: Collection[nn.Parameter] = ()) -> torch.optim.AdamW:
        groups = self.group_parameters(model, constant_rate)
        return torch.optim.AdamW(groups, lr=0.0, betas=(self.beta1, self.beta2), eps=self.eps, fused=True)


@dataclass(frozen=True, kw_only=True)
class LARS(Optimizer):
    """Set up layer-wise adaptive rate scaling, see `LayerwiseSGD`. `trust_coefficient`: eta in the paper."""

    momentum: float
    trust_coefficient: float

    def build(self, model: nn.Module, constant_rate: Collection[nn.Parameter] = ()) -> "LayerwiseSGD":
        groups = self.group_parameters(model, constant_rate)
        return LayerwiseSGD(groups, momentum=self.momentum, trust_coefficient=self.trust_coefficient)


class LayerwiseSGD(torch.optim.Optimizer):
    """SGD with momentum whose rate is scaled for each tensor: You et al., Large Batch Training of Convolutional
    Networks, 2017 (arXiv 1708.03888), algorithm 1.

    Of a weight w with gradient g and weight decay b: the local rate is eta |w| / (|g| + b |w|), the velocity
    v = momentum v + rate * local rate * (g + b w), and w falls by v. Tensors of one dimension (norms, biases), and a
    tensor that is all zeros or has no gradient, have a local rate of 1, as in SimCLR's and BYOL's code.
    """

    def __init__(self, groups: list[dict[str, Any]], *, momentum: float, trust_coefficient: float) -> None:
        super().__init__(groups, {"lr": 0.0, "momentum": momentum, "trust_coefficient": trust_coefficient})
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # no closure is used
        for group in self.param_groups:
            parameters: list[Tensor] = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            decay = group["weight_decay"]
            gradients: list[Tensor] = [parameter.grad for parameter in parameters if parameter.grad is not None]
            rates = compute_local_rates(parameters, gradients, group["trust_coefficient"], decay)
            updates = list(torch._foreach_add(gradients, parameters, alpha=decay))
            torch._foreach_mul_(updates, [rate * group["lr"] for rate in rates.unbind()])
            velocities = [self.state[parameter]["momentum_buffer"] for parameter in parameters]
            torch._foreach_mul_(velocities, group["momentum"])
            torch._foreach_add_(velocities, updates)
            torch._foreach_sub_(parameters, velocities)


def compute_local_rates(weights: list[Tensor], gradients: list[Tensor], trust: float, decay: float) -> Tensor:
    """Compute the local rate of each of n tensors for `LayerwiseSGD`: float32 [n], without waiting for the device."""
    weight = torch.stack(torch._foreach_norm(weights)).float()
    gradient = torch.stack(torch._foreach_norm(gradients)).float()
    is_scaled = (weight > 0) & (gradient > 0)
    is_scaled &= torch.tensor([each.ndim > 1 for each in weights], device=weight.device)
    return torch.where(is_scaled, trust * weight / (gradient + decay * weight), torch.ones_like(weight))


LEAST_EXAMPLES = {"eps": "1e-8", "trust_coefficient": "0.001"}  # keys whose values are above 0
OPTIMIZERS: Mapping[str, type[Optimizer]] = {"sgd": SGD, "lars": LARS, "adamw": AdamW}


def build_optimizer(choice: Mapping[str, Any], **shared: Any) -> Optimizer:
    """Build the optimiser that `choice` names with its other keys; it takes what it has of `shared`.

    Raises `ConfigError` for an unknown name, keys that do not fit, or a value out of range.
    """
    arguments = dict(choice)
    name = str(arguments.pop("name"))
    if name not in OPTIMIZERS:
        hint = did_you_mean(name, list(OPTIMIZERS), "optimiser={}")
        raise ConfigError(f"optimiser={name}: wanted one of {', '.join(OPTIMIZERS)}{hint}")
    kind = OPTIMIZERS[name]
    check_arguments(kind, name, arguments, "optimiser", given=SHARED_SETTINGS)
    for key, value in arguments.items():
        if key.startswith("beta") and not 0 <= value < 1:
            raise ConfigError(f"optimiser.{key}={value}: wanted a number from 0 to below 1, such as 0.9")
        if key in LEAST_EXAMPLES and not value > 0:
            raise ConfigError(f"optimiser.{key}={value}: wanted a number above 0, such as {LEAST_EXAMPLES[key]}")
    taken = {key: value for key, value in shared.items() if key in kind.__dataclass_fields__}
    return kind(**taken, **arguments)


def set_learning_rates(optimiser: torch.optim.Optimizer, rate: float, constant: float) -> None:
    """Set the rate of the next step: `constant` in the groups whose rate does not follow the schedule."""
    for group in optimiser.param_groups:
        group["lr"] = constant if group["constant_rate"] else rate


def get_learning_rate(step: int, *, peak: float, steps: int, warmup: int, schedule: str) -> float:
    """Compute the rate of `step`, from 0 to `steps` - 1: rising evenly over `warmup` steps to `peak`, then constant, or
    along a cosine that would reach 0 at `steps` (Loshchilov and Hutter, SGDR, 2017, arXiv 1608.03983)."""
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "constant":
        return peak
    return peak * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup))) / 2
