"""Follow a student by an exponential moving average: what BYOL, MoCo v3, DINO and TiCo share."""

import math
from collections.abc import Sequence
from copy import deepcopy
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lowres_ssl.encoders.from_config import FROZEN_MARK
from lowres_ssl.errors import ConfigError
from lowres_ssl.methods.base import Method, Outputs, encode_views


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


class TeacherMethod(Method):
    """A method with a teacher of encoder and head, whose targets of the first two views stand last in their outputs.

    `momentum`: see `Teacher`. `head_name`: the attribute that is the head.
    """

    head_name: ClassVar[str] = "projector"

    def __init__(self, momentum: float) -> None:
        super().__init__()
        check_share("momentum", momentum)
        self.momentum = momentum

    def build_student(self, encoder: nn.Module) -> nn.Module:
        return nn.Sequential(encoder, self.get_submodule(self.head_name))

    def prepare(self, encoder: nn.Module) -> None:
        self.teacher = Teacher(self.build_student(encoder), self.momentum)

    def encode(self, encoder: nn.Module, views: Sequence[Tensor], *, joint: bool) -> list[Outputs]:
        outputs, targets = super().encode(encoder, views, joint=joint), self.teacher(views[:2], joint=joint)
        return [(*own, target) for own, target in zip(outputs, targets, strict=False)] + outputs[2:]

    def after_step(self, encoder: nn.Module, progress: float) -> None:
        self.teacher.follow(self.build_student(encoder), progress)


def compute_momentum(base: float, progress: float) -> float:
    """Raise `base` to 1 along a cosine as `progress` goes from 0 to 1."""
    return 1 - (1 - base) * (math.cos(math.pi * progress) + 1) / 2


def check_share(name: str, value: float) -> None:
    """Raise `ConfigError` for a momentum or decay that is not a share below 1."""
    if not 0 <= value < 1:
        raise ConfigError(f"method.{name}={value}: wanted a number from 0 to below 1; try method.{name}=0.99")
