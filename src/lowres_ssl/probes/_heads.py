"""Classification heads of two layers, any number side by side: one pass trains them all, and none sees another.

Shape legend: P heads, B batch, D features, H hidden, C classes.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F


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
        """Float [P, B, D] -> [P, B, C]. In evaluation mode BatchNorm takes its running statistics."""
        hidden = torch.baddbmm(self.first_bias[:, None], inputs.to(self.first.dtype), self.first)
        count, images, width = hidden.shape
        # To BatchNorm the hidden features of all heads are channels side by side.
        hidden = F.batch_norm(
            hidden.transpose(0, 1).reshape(images, count * width),
            self.mean.flatten(),
            self.variance.flatten(),
            self.scale.flatten(),
            self.shift.flatten(),
            training=self.training,
        )
        hidden = F.leaky_relu(hidden).reshape(images, count, width).transpose(0, 1)
        return torch.baddbmm(self.last_bias[:, None], hidden, self.last)


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
        self.whole = list(heads.parameters())
        self.parts = list(runs_of(rates))
        self.views = [[nn.Parameter(each.detach()[part]) for each in self.whole] for part in self.parts]
        groups = [
            {"params": views, "lr": rates[part.start]} for part, views in zip(self.parts, self.views, strict=True)
        ]
        self.adam = torch.optim.Adam(groups, fused=self.whole[0].device.type in ("cpu", "cuda"))

    def step(self) -> None:
        """With the gradients of the heads, which are used up."""
        for part, views in zip(self.parts, self.views, strict=True):
            for view, whole in zip(views, self.whole, strict=True):
                assert whole.grad is not None
                view.grad = whole.grad[part]
        for whole in self.whole:
            whole.grad = None
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
    heads.eval()
    scores: Tensor = heads(inputs.expand(len(heads.first), -1, -1))
    return scores
