"""Train heads side by side by Adam, batch after batch: a few large operations a step, one CUDA graph on a GPU.

Shape legend: P heads, B batch, D features, n training images, C classes.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.adam import adam

from lowres_ssl.probes._cuda_graph import CudaGraph
from lowres_ssl.probes._heads import Heads

# PyTorch's defaults of Adam.
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Training:
    """Train each of `heads` in place with cross-entropy, at its own of the learning `rates`.

    `features`: float [n, D]; `labels`: int64 [n]; both on the heads' device. Adam is PyTorch's, fused; its arithmetic
    is a head's own, so that heads are what they would be alone.
    """

    def __init__(
        self, heads: Heads, rates: Sequence[float], features: Tensor, labels: Tensor, classes: int, batch_size: int
    ) -> None:
        self.heads, self.features, self.batch_size = heads, features, batch_size
        dtype, device = heads.first.dtype, features.device
        self.targets = F.one_hot(labels, classes).to(dtype)  # [n, C]
        self.parameters = list(heads.parameters())
        self.groups = [Group(self.parameters, part, rates[part.start]) for part in runs_of(rates)]
        self.rows = torch.zeros(len(heads.first), batch_size, dtype=torch.int64, device=device)
        self.graph = CudaGraph() if device.type == "cuda" else None

    def epoch(self, orders: Tensor) -> None:
        """Pass once over the training images, for each head in its own of the `orders`, int64 [P, n] on the CPU.

        An incomplete last batch is taken, unless it is a single image, which BatchNorm cannot take.
        """
        if self.graph is not None:
            orders = orders.pin_memory().to(self.features.device, non_blocking=True)
        for rows in orders.split(self.batch_size, dim=1):
            if rows.shape[1] == 1:
                continue
            if self.graph is None or rows.shape[1] < self.batch_size:
                self.step(rows)
            else:
                self.rows.copy_(rows)
                self.graph.run(self.full_step)

    def full_step(self) -> None:
        """Take one step on `self.rows`."""
        self.step(self.rows)

    def step(self, rows: Tensor) -> None:
        """Take one step of each head on its own `rows`, int64 [P, B] on the device."""
        inputs, targets = (
            values.index_select(0, rows.flatten()).view(*rows.shape, -1) for values in (self.features, self.targets)
        )
        gradients = self.heads.gradients(inputs.to(self.targets.dtype), targets)
        for group in self.groups:
            group.step(gradients)

    def multiply_rates(self, factor: float) -> None:
        """Multiply every learning rate, from the next step on."""
        for group in self.groups:
            group.multiply_rate(factor)


class Group:
    """Adam's state for neighbouring heads of one learning rate, the `part` of the heads' `parameters`."""

    def __init__(self, parameters: Sequence[Tensor], part: slice, rate: float) -> None:
        self.part, self.rate = part, rate
        self.parameters = [each.detach()[part] for each in parameters]
        self.means = [torch.zeros_like(each) for each in self.parameters]
        self.squares = [torch.zeros_like(each) for each in self.parameters]
        device = self.parameters[0].device
        self.steps = [torch.zeros((), device=device) for _ in self.parameters]
        # A captured graph reads the rate from where it was when it was captured.
        self.rate_there = torch.full((), rate, device=device) if device.type == "cuda" else None

    def step(self, gradients: Sequence[Tensor]) -> None:
        adam(
            self.parameters,
            [each[self.part] for each in gradients],
            self.means,
            self.squares,
            [],
            self.steps,
            fused=True,
            amsgrad=False,
            beta1=BETA1,
            beta2=BETA2,
            lr=self.rate if self.rate_there is None else self.rate_there,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )

    def multiply_rate(self, factor: float) -> None:
        self.rate *= factor
        if self.rate_there is not None:
            self.rate_there.fill_(self.rate)


def runs_of(rates: Sequence[float]) -> Iterator[slice]:
    """Where neighbours are equal: [3, 3, 1] -> 0 to 2, 2 to 3."""
    start = 0
    for _, equal in groupby(rates):
        stop = start + len(list(equal))
        yield slice(start, stop)
        start = stop
