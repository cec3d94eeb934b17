"""Classification heads of two layers, any number side by side: one pass trains them all, and none sees another.

Shape legend: P heads, B batch, D features, H hidden, C classes.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.adam import adam

from lowres_ssl.console import log_warning

# Runs before the capture: the first ones load kernels and allocate workspaces, which a capture does not allow.
WARM_UP_RUNS = 3


class CudaGraph:
    """Run a step on the current CUDA device: a few times as it is, then captured, then as the captured graph.

    The step, the same in each `run`, reads and writes tensors that stay where they are, waits for nothing and has the
    same shapes each time. If it cannot be captured, it goes on as it is, with one notice: the results are the same, and
    slower. It is not kept: whoever keeps this and makes the step would hold itself, and so what it has on the GPU,
    until Python next looks for such cycles.
    """

    def __init__(self) -> None:
        self.eager_runs_left = WARM_UP_RUNS  # below 0: it could not be captured
        self.graph: torch.cuda.CUDAGraph | None = None

    def run(self, step: Callable[[], None]) -> None:
        if self.eager_runs_left == 0 and self.graph is None:
            self.capture(step)
        if self.graph is not None:
            self.graph.replay()
        else:
            step()
            self.eager_runs_left -= 1

    def capture(self, step: Callable[[], None]) -> None:
        """Record the kernels of the step, which does not run them."""
        graph = torch.cuda.CUDAGraph()
        try:
            # The outer context restores the stream even where the capture cannot be ended. "thread_local": other
            # threads, such as NCCL's, may go on with what this one may not do.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(graph, capture_error_mode="thread_local"),
            ):
                step()
        except RuntimeError as error:
            self.eager_runs_left = -1
            warn_of_failed_capture(str(error).strip().partition("\n")[0])
        else:
            self.graph = graph


@cache
def warn_of_failed_capture(reason: str) -> None:
    log_warning(
        f"the linear probe's step cannot be captured in a CUDA graph here ({reason}); it runs as it is, more slowly"
    )


# PyTorch's defaults of BatchNorm and LeakyReLU.
MOMENTUM, BATCH_NORM_EPSILON, SLOPE = 0.1, 1e-5, 0.01
aten = torch.ops.aten


class BatchedMLP(nn.Module):
    """P times Linear(D, H), BatchNorm, LeakyReLU, Linear(H, C), each initialised from its own generator.

    Weights are as PyTorch initialises them by default, but with numbers from the generators. A head whose numbers are
    NaN leaves the others as they are. Gradients are written out (`gradients`), so nothing here needs autograd.
    """

    mean: Tensor
    variance: Tensor

    def __init__(self, features: int, hidden: int, classes: int, generators: Sequence[torch.Generator]) -> None:
        super().__init__()
        drawn = [
            [*init_linear_layer(features, hidden, each), *init_linear_layer(hidden, classes, each)]
            for each in generators
        ]
        first, first_bias, last, last_bias = (torch.stack(each) for each in zip(*drawn, strict=True))
        self.first, self.first_bias = freeze(first), freeze(first_bias)  # [P, D, H], [P, H]
        self.scale, self.shift = freeze(torch.ones_like(first_bias)), freeze(torch.zeros_like(first_bias))
        self.last, self.last_bias = freeze(last), freeze(last_bias)  # [P, H, C], [P, C]
        self.register_buffer("mean", torch.zeros_like(first_bias))
        self.register_buffer("variance", torch.ones_like(first_bias))

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """Score features, float [P, B, D] -> [P, B, C], with the running statistics of BatchNorm."""
        hidden = torch.baddbmm(self.first_bias[:, None], inputs.to(self.first.dtype), self.first)
        normal = F.batch_norm(flatten_heads(hidden), *self.batch_norm(), training=False, eps=BATCH_NORM_EPSILON)
        return torch.baddbmm(self.last_bias[:, None], self.unflatten_heads(F.leaky_relu(normal, SLOPE)), self.last)

    @torch.no_grad()
    def gradients(self, inputs: Tensor, targets: Tensor) -> list[Tensor]:
        """Differentiate each head's mean cross-entropy with respect to `parameters()`, in their order.

        `inputs`: float [P, B, D]. `targets`: float [P, B, C], 1 for the label and 0 elsewhere. BatchNorm takes the
        batch's statistics and moves the running ones. The shapes of what is computed depend on those of the inputs
        alone and nothing waits for a number, so that a CUDA graph can hold it. Its kernels are those of PyTorch's
        autograd, which takes a third longer on batches of 16.
        """
        mean, variance, scale, shift = self.batch_norm()
        hidden = flatten_heads(torch.baddbmm(self.first_bias[:, None], inputs, self.first))
        normal, batch_mean, batch_spread = aten.native_batch_norm.default(
            hidden, scale, shift, mean, variance, True, MOMENTUM, BATCH_NORM_EPSILON
        )
        active = self.unflatten_heads(F.leaky_relu(normal, SLOPE))
        logs = torch.baddbmm(self.last_bias[:, None], active, self.last).log_softmax(dim=2)

        scores = aten._log_softmax_backward_data.default(targets / -targets.shape[1], logs, 2, logs.dtype)
        rectified = flatten_heads(scores @ self.last.transpose(1, 2))
        normalised = aten.leaky_relu_backward.default(rectified, normal, SLOPE, False)
        normalised, of_scale, of_shift = aten.native_batch_norm_backward.default(
            normalised,
            hidden,
            scale,
            mean,
            variance,
            batch_mean,
            batch_spread,
            True,
            BATCH_NORM_EPSILON,
            [True, True, True],
        )
        before = self.unflatten_heads(normalised)
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

    def unflatten_heads(self, hidden: Tensor) -> Tensor:
        """[B, P * H] -> [P, B, H]."""
        return hidden.view(len(hidden), *self.scale.shape).transpose(0, 1)


def flatten_heads(hidden: Tensor) -> Tensor:
    """[P, B, H] -> [B, P * H]: to BatchNorm the hidden features of all heads are channels."""
    return hidden.transpose(0, 1).flatten(1)


def freeze(values: Tensor) -> nn.Parameter:
    return nn.Parameter(values, requires_grad=False)


def init_linear_layer(inputs: int, outputs: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The weight [inputs, outputs] and the bias [outputs] of a linear layer, drawn in the order that PyTorch has."""
    bound = inputs**-0.5
    weight = torch.empty(outputs, inputs).uniform_(-bound, bound, generator=generator)
    return weight.T.contiguous(), torch.empty(outputs).uniform_(-bound, bound, generator=generator)


def compute_logits(heads: BatchedMLP, inputs: Tensor) -> Tensor:
    """[n, D] -> [P, n, C], with the running statistics of BatchNorm."""
    scores: Tensor = heads(inputs.expand(len(heads.first), -1, -1))
    return scores


# PyTorch's defaults of Adam.
BETA1, BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8


class HeadTraining:
    """Train each of `heads` in place with cross-entropy, at its own of the learning `rates`.

    `features`: float [n, D]; `labels`: int64 [n]; both on the heads' device. Adam is PyTorch's, fused; its arithmetic
    is a head's own, so that heads are what they would be alone.
    """

    def __init__(
        self, heads: BatchedMLP, rates: Sequence[float], features: Tensor, labels: Tensor, classes: int, batch_size: int
    ) -> None:
        self.heads, self.features, self.batch_size = heads, features, batch_size
        dtype, device = heads.first.dtype, features.device
        self.targets = F.one_hot(labels, classes).to(dtype)  # [n, C]
        self.parameters = list(heads.parameters())
        self.groups = [AdamGroup(self.parameters, part, rates[part.start]) for part in iter_equal_runs(rates)]
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


class AdamGroup:
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
            eps=ADAM_EPSILON,
            maximize=False,
        )

    def multiply_rate(self, factor: float) -> None:
        self.rate *= factor
        if self.rate_there is not None:
            self.rate_there.fill_(self.rate)


def iter_equal_runs(rates: Sequence[float]) -> Iterator[slice]:
    """Where neighbours are equal: [3, 3, 1] -> 0 to 2, 2 to 3."""
    start = 0
    for _, equal in groupby(rates):
        stop = start + len(list(equal))
        yield slice(start, stop)
        start = stop
