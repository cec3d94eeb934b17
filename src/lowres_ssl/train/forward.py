"""Take the views of a batch through encoder and heads to the loss, compiled by choice; time both memory layouts."""

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lowres_ssl.console import log_info, log_warning
from lowres_ssl.device import MEMORY_FORMATS, DevicePrecision
from lowres_ssl.encoders.from_config import set_training_mode
from lowres_ssl.methods.base import Method, Outputs
from lowres_ssl.train.world import SINGLE_PROCESS, World

# Steps after which a compiled one is as fast as it gets: compiled in the first, on a GPU captured in the second.
COMPILE_STEPS = {"cpu": 1, "cuda": 2}
TIMED_TURNS = 2
TIMED_STEPS = len(MEMORY_FORMATS) * (1 + TIMED_TURNS)


class AllGather(torch.autograd.Function):
    """Gather [B / size, ...] of each process to [B, ...] of all, in the order of the ranks; with a gradient.

    Each process computes the same loss L of the whole batch, so it knows all of dL/d(embeddings) and keeps its own rows
    of it: backward needs no communication. Carried on through the model it is this process's part of dL/d(weights),
    and the parts add up to the whole, while `DistributedDataParallel` takes their mean. So the rows are multiplied by
    the number of processes. This is exact if whatever comes before is computed image by image, or knows the whole batch
    as SyncBatchNorm does, and whatever comes after has no weights.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, processes: World) -> Tensor:
        ctx.processes = processes
        gathered = own.new_empty((processes.size * len(own), *own.shape[1:]))
        dist.all_gather(list(gathered.chunk(processes.size)), own.contiguous())
        return gathered

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        processes: World = ctx.processes
        return processes.shard(gradient) * processes.size, None


def gather_outputs(outputs: Outputs, processes: World) -> Outputs:
    """Gather tensors of this process's share of a batch, [B / size, ...] each, to those of the whole, [B, ...]."""
    if processes.size == 1:
        return outputs
    return tuple(AllGather.apply(output, processes) for output in outputs)


class EncoderAndMethod(nn.Module):
    """Wrap `Method.encode` as one module."""

    def __init__(self, encoder: nn.Module, method: Method, joint: bool) -> None:
        super().__init__()
        self.encoder, self.method, self.joint = encoder, method, joint

    def forward(self, views: Sequence[Tensor]) -> list[Outputs]:
        return self.method.encode(self.encoder, views, joint=self.joint)


class ForwardPass:
    """Take views, [B, 3, S, S] each, to the loss and its terms (scalars), and the first view's embeddings [B, D].

    The views are this process's share of the batch; loss, terms and embeddings are those of the whole batch. `labels`,
    int64 [B], are for a method that sees them. With `compute.compiled` it runs by torch.compile, on a GPU with its
    kernels captured in CUDA graphs; what cannot be compiled here, forward or backward, runs as it is, after one notice,
    and `compiled` is then false.
    """

    def __init__(
        self,
        encoder: nn.Module,
        method: Method,
        compute: DevicePrecision,
        *,
        joint: bool,
        processes: World = SINGLE_PROCESS,
    ) -> None:
        self.model: nn.Module = EncoderAndMethod(encoder, method, joint)
        if processes.size > 1:
            # Gradients are averaged over the processes in each backward pass. BatchNorm's running statistics are those
            # of the first process's shares, and each step begins with them everywhere.
            device = next(self.model.parameters()).device
            gpus = [device.index] if device.type == "cuda" else None
            self.model = DistributedDataParallel(self.model, device_ids=gpus)
        self.method, self.compute, self.processes = method, compute, processes
        self.compiled = compute.compiled
        self.prepared: set[tuple[torch.Size, ...]] = set()
        self.fast = self.run
        if self.compiled:
            # Full batches, a smaller last one, and both again for each size of a schedule have a shape each. From the
            # ninth shape on torch runs the step uncompiled.
            mode = "reduce-overhead" if compute.device.type == "cuda" else "default"
            self.fast = torch.compile(self.run, dynamic=False, mode=mode)

    def run(self, views: Sequence[Tensor], labels: Tensor | None = None) -> tuple[dict[str, Tensor], Tensor]:
        """Run the step as it is."""
        with self.compute.autocast():
            encoded: list[Outputs] = self.model(views)
        outputs = [gather_outputs(each, self.processes) for each in encoded]
        if labels is not None:
            (labels,) = gather_outputs((labels,), self.processes)
        return self.method.loss(outputs, labels), outputs[0][0].detach()

    def __call__(self, views: Sequence[Tensor], labels: Tensor | None = None) -> tuple[dict[str, Tensor], Tensor]:
        if not self.compiled or self.compute.device.type == "cpu":
            return self.fast(views, labels)
        torch.compiler.cudagraph_mark_step_begin()
        losses, embeddings = self.fast(views, labels)
        # A captured graph writes its next outputs where these are. The loss is used before that.
        return losses, embeddings.clone()

    def prepare(self, views: Sequence[Tensor], labels: Tensor | None = None) -> float:
        """Compile for views of these shapes, once, before the step: seconds that it took, 0 where nothing is to do.

        The steps are trials, since the backward pass is compiled when it is first asked for: weights and statistics
        stay as they are, no gradients are left, and the seconds are not taken for those of the training.
        """
        shapes = tuple(view.shape for view in views)
        if not self.compiled or shapes in self.prepared:
            return 0.0
        self.prepared.add(shapes)
        started = self.now()
        buffers = [(buffer, buffer.clone()) for buffer in self.model.buffers()]
        try:
            for _ in range(COMPILE_STEPS[self.compute.device.type]):
                self.model.zero_grad()  # of a step before, which a captured graph would write over
                self(views, labels)[0]["loss"].backward()
        except Exception as error:  # of many kinds; if it was not of the compiler's making, the plain step raises it
            self.compiled, self.fast = False, self.run
            log_warning(f"this step cannot be compiled here ({format_compile_error(error)}); it runs as it is")
        self.model.zero_grad()
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        if not self.compiled:
            reset_compiler()  # what was captured before it failed has a step's memory, which the plain step needs
        seconds = self.now() - started
        if self.compiled:
            batch, _, _, size = shapes[0]
            log_info(f"compiled the step for views of {size} px, {batch} a batch, in {seconds:.0f} s")
        return seconds

    def now(self) -> float:
        """Read the clock in seconds, once the device has done all it was given."""
        if self.compute.device.type == "cuda":
            torch.cuda.synchronize(self.compute.device)
        return time.perf_counter()


def format_compile_error(error: Exception) -> str:
    """Format an error in one line. PyTorch has the cause in the second, after "backend='inductor' raised:"."""
    first, *others = str(error).strip().splitlines() or [type(error).__name__]
    return f"{first} {others[0]}" if first.endswith(":") and others else first


def reset_compiler() -> None:
    """Give back what compiling keeps. torch allows a function few variants in a process, and a sweep has many."""
    torch._dynamo.reset()


def time_steps_in(
    layouts: Sequence[str],
    encoder: nn.Module,
    method: Method,
    compute: DevicePrecision,
    *,
    joint: bool,
    batch_size: int,
    image_size: int,
) -> dict[str, float]:
    """Measure the seconds of a forward and backward pass in each of these layouts, the best of `TIMED_TURNS` after
    one to warm up, in turns so that what else the machine does befalls all.

    On noise and on copies: what is trained next keeps its weights, statistics and random numbers.
    """
    generator = torch.Generator().manual_seed(0)
    sizes = [max(2, round(kind.size * image_size)) for kind in method.view_kinds()]
    views = [torch.randn(batch_size, 3, size, size, generator=generator) for size in sizes]
    steps = {
        layout: make_timed_step(encoder, method, replace(compute, layout=layout), joint, views) for layout in layouts
    }
    seconds: dict[str, list[float]] = {layout: [] for layout in layouts}
    for _ in range(1 + TIMED_TURNS):
        for layout, step in steps.items():
            started = time.perf_counter()
            step()
            seconds[layout].append(time.perf_counter() - started)
    return {layout: min(turns[1:]) for layout, turns in seconds.items()}


def make_timed_step(
    encoder: nn.Module, method: Method, compute: DevicePrecision, joint: bool, noise: list[Tensor]
) -> Callable[[], None]:
    """Build a forward and backward pass of copies that have this layout, on views of noise."""
    encoder, method = deepcopy(encoder), deepcopy(method)
    method.prepare(encoder)
    model = nn.ModuleDict({"encoder": encoder, "method": method})
    model.to(compute.device).to(memory_format=MEMORY_FORMATS[compute.layout])
    set_training_mode(model)
    forward = ForwardPass(encoder, method, compute, joint=joint)
    views = [view.to(compute.device, memory_format=MEMORY_FORMATS[compute.layout]) for view in noise]
    labels = torch.zeros(len(views[0]), dtype=torch.int64, device=compute.device) if method.takes_labels else None

    def step() -> None:
        model.zero_grad()
        forward(views, labels)[0]["loss"].backward()
        forward.now()  # which waits for the device

    return step
