"""Classification heads of two layers, any number side by side: one pass trains them all, and none sees another.

Shape legend: P heads, B batch, D features, H hidden, C classes.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MOMENTUM, EPSILON, SLOPE = 0.1, 1e-5, 0.01  # of BatchNorm and of LeakyReLU, as PyTorch has them by default


class Heads(nn.Module):
    """P times Linear(D, H), BatchNorm, LeakyReLU, Linear(H, C), each initialised from its own generator.

    Weights are as PyTorch initialises them by default, but with numbers from the generators. A head whose numbers are
    NaN leaves the others as they are.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, features: int, hidden: int, classes: int, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        drawn = [[*layer(features, hidden, each), *layer(hidden, classes, each)] for each in generators]
        first, first_bias, last, last_bias = (nn.Parameter(torch.stack(each)) for each in zip(*drawn, strict=True))
        self.first, self.first_bias = first, first_bias  # [P, D, H], [P, H]
        self.scale = nn.Parameter(torch.ones_like(first_bias))
        self.shift = nn.Parameter(torch.zeros_like(first_bias))
        self.last, self.last_bias = last, last_bias  # [P, H, C], [P, C]
        self.register_buffer("mean", torch.zeros_like(first_bias))
        self.register_buffer("variance", torch.ones_like(first_bias))

    def forward(self, inputs: Tensor) -> Tensor:
        """Float [P, B, D] -> [P, B, C], with the running statistics of BatchNorm."""
        hidden = self.hidden(inputs)
        normal = (hidden - self.mean[:, None]) * (self.variance + EPSILON).rsqrt()[:, None]
        return self.scores(F.leaky_relu(self.scaled(normal), SLOPE))

    @torch.no_grad()
    def gradients(self, inputs: Tensor, labels: Tensor) -> list[Tensor]:
        """Of each head's mean cross-entropy, in the order of `parameters()`: for float [P, B, D] and int64 [P, B].

        BatchNorm takes the batch's statistics and moves the running ones. Written out: a probe is some ten thousand
        small steps, and building autograd's graph in each takes as long as the arithmetic.
        """
        count = inputs.shape[1]
        hidden = self.hidden(inputs)
        variance, mean = torch.var_mean(hidden, dim=1, correction=0)
        self.mean.lerp_(mean, MOMENTUM)
        self.variance.lerp_(variance * (count / (count - 1)), MOMENTUM)
        inverse = (variance + EPSILON).rsqrt()[:, None]
        normal = (hidden - mean[:, None]) * inverse
        active = F.leaky_relu(scaled := self.scaled(normal), SLOPE)

        by_score = self.scores(active).softmax(dim=2)  # from here on the loss's gradient by what the name says
        by_score -= F.one_hot(labels, by_score.shape[2])
        by_score /= count
        by_scaled = torch.bmm(by_score, self.last.transpose(1, 2))
        by_scaled = torch.where(scaled > 0, by_scaled, by_scaled * SLOPE)
        by_shift, by_scale = by_scaled.sum(dim=1), (by_scaled * normal).sum(dim=1)
        # A hidden feature also moves its batch's mean and variance: the two sums are what comes of that.
        by_hidden = by_scaled - (by_shift[:, None] + normal * by_scale[:, None]) / count
        by_hidden *= self.scale[:, None] * inverse
        return [
            torch.bmm(inputs.transpose(1, 2), by_hidden),
            by_hidden.sum(dim=1),
            by_scale,
            by_shift,
            torch.bmm(active.transpose(1, 2), by_score),
            by_score.sum(dim=1),
        ]

    def hidden(self, inputs: Tensor) -> Tensor:
        return torch.baddbmm(self.first_bias[:, None], inputs.to(self.first.dtype), self.first)

    def scaled(self, normal: Tensor) -> Tensor:
        return torch.addcmul(self.shift[:, None], normal, self.scale[:, None])

    def scores(self, active: Tensor) -> Tensor:
        return torch.baddbmm(self.last_bias[:, None], active, self.last)


def layer(inputs: int, outputs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The weight [inputs, outputs] and the bias [outputs] of a linear layer, drawn in the order that PyTorch has."""
    bound = inputs**-0.5
    weight = torch.empty(outputs, inputs).uniform_(-bound, bound, generator=generator)
    return weight.T.contiguous(), torch.empty(outputs).uniform_(-bound, bound, generator=generator)


class SideBySideAdam:
    """Adam for heads that each have a learning rate of their own, and what else PyTorch's has by default.

    Neighbours of one rate are one group of PyTorch's optimiser, whose parameters are views of the heads'.
    """

    def __init__(self, heads: Heads, rates: Sequence[float]) -> None:
        whole = list(heads.parameters())
        self.parts = list(runs_of(rates))
        self.views = [[nn.Parameter(each.detach()[part]) for each in whole] for part in self.parts]
        groups = [
            {"params": views, "lr": rates[part.start]} for part, views in zip(self.parts, self.views, strict=True)
        ]
        self.adam = torch.optim.Adam(groups, fused=whole[0].device.type in ("cpu", "cuda"))

    def step(self, gradients: Sequence[Tensor]) -> None:
        """With a gradient for each of the heads' parameters, in their order."""
        for part, views in zip(self.parts, self.views, strict=True):
            for view, gradient in zip(views, gradients, strict=True):
                view.grad = gradient[part]
        self.adam.step()


def runs_of(rates: Sequence[float]) -> Iterator[slice]:
    """Where neighbours are equal: [3, 3, 1] -> 0 to 2, 2 to 3."""
    start = 0
    for _, equal in groupby(rates):
        stop = start + len(list(equal))
        yield slice(start, stop)
        start = stop


@torch.no_grad()
def logits(heads: Heads, inputs: Tensor) -> Tensor:
    """[n, D] -> [P, n, C], with the running statistics of BatchNorm."""
    scores: Tensor = heads(inputs.expand(len(heads.first), -1, -1))
    return scores
