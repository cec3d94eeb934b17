"""Classification heads of two layers, any number side by side: one pass trains them all, and none sees another.

Shape legend: P heads, B batch, D features, H hidden, C classes.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# PyTorch's defaults of BatchNorm and LeakyReLU.
MOMENTUM, EPSILON, SLOPE = 0.1, 1e-5, 0.01
aten = torch.ops.aten


class Heads(nn.Module):
    """P times Linear(D, H), BatchNorm, LeakyReLU, Linear(H, C), each initialised from its own generator.

    Weights are as PyTorch initialises them by default, but with numbers from the generators. A head whose numbers are
    NaN leaves the others as they are. Gradients are written out (`gradients`), so nothing here needs autograd.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, features: int, hidden: int, classes: int, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        drawn = [[*layer(features, hidden, each), *layer(hidden, classes, each)] for each in generators]
        first, first_bias, last, last_bias = (torch.stack(each) for each in zip(*drawn, strict=True))
        self.first, self.first_bias = frozen(first), frozen(first_bias)  # [P, D, H], [P, H]
        self.scale = frozen(torch.ones_like(first_bias))
        self.shift = frozen(torch.zeros_like(first_bias))
        self.last, self.last_bias = frozen(last), frozen(last_bias)  # [P, H, C], [P, C]
        self.register_buffer("mean", torch.zeros_like(first_bias))
        self.register_buffer("variance", torch.ones_like(first_bias))

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """Score features, float [P, B, D] -> [P, B, C], with the running statistics of BatchNorm."""
        hidden = torch.baddbmm(self.first_bias[:, None], inputs.to(self.first.dtype), self.first)
        normal = F.batch_norm(side_by_side(hidden), *self.batch_norm(), training=False, eps=EPSILON)
        return torch.baddbmm(self.last_bias[:, None], self.apart(F.leaky_relu(normal, SLOPE)), self.last)

    @torch.no_grad()
    def gradients(self, inputs: Tensor, targets: Tensor) -> list[Tensor]:
        """Differentiate each head's mean cross-entropy with respect to `parameters()`, in their order.

        `inputs`: float [P, B, D]. `targets`: float [P, B, C], 1 for the label and 0 elsewhere. BatchNorm takes the
        batch's statistics and moves the running ones. The shapes of what is computed depend on those of the inputs
        alone and nothing waits for a number, so that a CUDA graph can hold it. Its kernels are those of PyTorch's
        autograd, which takes a third longer on batches of 16.
        """
        mean, variance, scale, shift = self.batch_norm()
        hidden = side_by_side(torch.baddbmm(self.first_bias[:, None], inputs, self.first))
        normal, batch_mean, batch_spread = aten.native_batch_norm.default(
            hidden, scale, shift, mean, variance, True, MOMENTUM, EPSILON
        )
        active = self.apart(F.leaky_relu(normal, SLOPE))
        logs = torch.baddbmm(self.last_bias[:, None], active, self.last).log_softmax(dim=2)

        scores = aten._log_softmax_backward_data.default(targets / -targets.shape[1], logs, 2, logs.dtype)
        rectified = side_by_side(scores @ self.last.transpose(1, 2))
        normalised = aten.leaky_relu_backward.default(rectified, normal, SLOPE, False)
        normalised, of_scale, of_shift = aten.native_batch_norm_backward.default(
            normalised, hidden, scale, mean, variance, batch_mean, batch_spread, True, EPSILON, [True, True, True]
        )
        before = self.apart(normalised)
        return [
            inputs.transpose(1, 2) @ before,
            before.sum(dim=1),
            of_scale.view_as(self.scale),
            of_shift.view_as(self.shift),
            active.transpose(1, 2) @ scores,
            scores.sum(dim=1),
        ]

    def batch_norm(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """BatchNorm's running mean and variance, scale and shift, [P * H] each."""
        return self.mean.flatten(), self.variance.flatten(), self.scale.flatten(), self.shift.flatten()

    def apart(self, hidden: Tensor) -> Tensor:
        """[B, P * H] -> [P, B, H]."""
        return hidden.view(len(hidden), *self.scale.shape).transpose(0, 1)


def side_by_side(hidden: Tensor) -> Tensor:
    """[P, B, H] -> [B, P * H]: to BatchNorm the hidden features of all heads are channels."""
    return hidden.transpose(0, 1).flatten(1)


def frozen(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)


def layer(inputs: int, outputs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The weight [inputs, outputs] and the bias [outputs] of a linear layer, drawn in the order that PyTorch has."""
    bound = inputs**-0.5
    weight = torch.empty(outputs, inputs).uniform_(-bound, bound, generator=generator)
    return weight.T.contiguous(), torch.empty(outputs).uniform_(-bound, bound, generator=generator)


def logits(heads: Heads, inputs: Tensor) -> Tensor:
    """[n, D] -> [P, n, C], with the running statistics of BatchNorm."""
    scores: Tensor = heads(inputs.expand(len(heads.first), -1, -1))
    return scores
