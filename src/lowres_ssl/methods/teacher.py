"""Follow a student by an exponential moving average: the teacher of BYOL, MoCo v3, DINO and TiCo."""

import math
from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lowres_ssl.encoders.from_config import FROZEN_MARK
from lowres_ssl.errors import ConfigError
from lowres_ssl.methods.base import Outputs, encode_views


class Teacher(nn.Module):
    """A copy of `student` without gradients, whose weights follow it by a moving average.

    `momentum`: the share that the teacher keeps of itself in a step, at the start of the training. It rises to 1 along
    a cosine (Grill et al., BYOL, 2020, section 3.2). Buffers, such as BatchNorm's statistics, are the teacher's own. It
    drops no branch and no unit: what the student drops would be noise in its targets.
    """

    def __init__(self, student: nn.Module, momentum: float) -> None:
        super().__init__()
        self.network = deepcopy(student).requires_grad_(False)
        self.momentum = momentum
        for module in self.network.modules():
            if not isinstance(module, _BatchNorm) and not list(module.children()):
                setattr(module, FROZEN_MARK, True)

    @torch.no_grad()
    def forward(self, views: Sequence[Tensor], *, joint: bool) -> list[Tensor]:
        """Pass views, [B, 3, S, S] each, through the teacher: [B, ...] each, without gradients."""
        return [target for (target,) in encode_views(lambda images: (self.network(images),), views, joint=joint)]

    @torch.no_grad()
    def follow(self, student: nn.Module, progress: float) -> None:
        """Move towards the student. `progress`: of the training, from 0 to 1."""
        momentum = compute_momentum(self.momentum, progress)
        torch._foreach_lerp_(list(self.network.parameters()), list(student.parameters()), 1 - momentum)


def compute_momentum(base: float, progress: float) -> float:
    """Raise `base` to 1 along a cosine as `progress` goes from 0 to 1."""
    return 1 - (1 - base) * (math.cos(math.pi * progress) + 1) / 2


def add_targets(outputs: Sequence[Outputs], targets: Sequence[Tensor]) -> list[Outputs]:
    """Append to the outputs of the first views what the teacher makes of them."""
    return [(*own, target) for own, target in zip(outputs, targets, strict=False)] + list(outputs[len(targets) :])


def check_share(name: str, value: float) -> None:
    """Raise `ConfigError` for a momentum or decay that is not a share below 1."""
    if not 0 <= value < 1:
        raise ConfigError(f"method.{name}={value}: wanted a number from 0 to below 1; try method.{name}=0.99")
