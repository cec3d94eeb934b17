"""Both views through encoder and heads to the loss, as one function of tensors; compiled by choice."""

import time
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lowres_ssl.console import log_info, log_warning
from lowres_ssl.device import DevicePrecision
from lowres_ssl.methods import Method
from lowres_ssl.train.world import SINGLE_PROCESS, World


class AllGather(torch.autograd.Function):
    """[B / size, ...] of each process -> [B, ...] of all, in the order of the ranks; with a gradient.

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


def gather_outputs(outputs: tuple[Tensor, ...], processes: World) -> tuple[Tensor, ...]:
    """What the heads made of one view of this process's share [B / size, ...]: of the whole batch [B, ...]."""
    if processes.size == 1:
        return outputs
    return tuple(AllGather.apply(output, processes) for output in outputs)


def wrap_data_parallel(model: nn.Module, processes: World) -> nn.Module:
    """The model, its gradients averaged over the processes in each backward pass.

    BatchNorm's running statistics are those of the first process's shares, and each step begins with them everywhere.
    """
    if processes.size == 1:
        return model
    device = next(model.parameters()).device
    places = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=places)


# Steps after which a compiled one is as fast as it gets: compiled in the first, on a GPU captured in the second.
COMPILE_STEPS = {"cpu": 1, "cuda": 2}


class ForwardPass(Protocol):
    """Two views [B, 3, S, S] to the loss and its terms (scalars), and the embeddings of the first view [B, D]. Labels
    (int64 [B]) are for a method that sees them."""

    @property
    def compiled(self) -> bool:
        """Whether the steps so far were."""

    def __call__(
        self, first: Tensor, second: Tensor, labels: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Tensor]: ...

    def prepare(self, first: Tensor, second: Tensor, labels: Tensor | None = None) -> float:
        """Get ready for steps on such views, once for each shape, before the step: seconds that it took, 0 where there
        is nothing to do. Leaves weights and statistics as they are, and no gradients."""


def make_forward(
    encoder: nn.Module, method: Method, compute: DevicePrecision, *, joint: bool, processes: World = SINGLE_PROCESS
) -> ForwardPass:
    """`compute.compiled`: by torch.compile, see `Compiled`.

    `processes`: the views are this process's share of the batch; loss, terms and embeddings are the whole batch's.
    """
    plain = PlainForward(encoder, method, compute, joint, processes)
    return CompiledForward(plain, compute.device) if compute.compiled else plain


class PlainForward:
    """The forward pass as it is."""

    compiled = False

    def __init__(
        self, encoder: nn.Module, method: Method, compute: DevicePrecision, joint: bool, processes: World
    ) -> None:
        self.model = wrap_data_parallel(TwoViewModel(encoder, method, joint), processes)
        self.method, self.compute, self.processes = method, compute, processes

    def prepare(self, first: Tensor, second: Tensor, labels: Tensor | None = None) -> float:
        return 0.0

    def __call__(self, first: Tensor, second: Tensor, labels: Tensor | None = None) -> tuple[dict[str, Tensor], Tensor]:
        with self.compute.autocast():
            one, two = self.model(first, second)
        if labels is not None:
            one, two = (*one, labels), (*two, labels)
        one, two = gather_outputs(one, self.processes), gather_outputs(two, self.processes)
        return self.method.loss(one, two), one[0].detach()


class CompiledForward:
    """A forward pass by torch.compile, on a GPU with its kernels captured in CUDA graphs. What cannot be compiled here,
    forward or backward (no compiler on the machine, say), runs as it is, and that is said once."""

    def __init__(self, plain: PlainForward, device: torch.device) -> None:
        self.plain, self.device = plain, device
        self.prepared: set[torch.Size] = set()
        self.failed = False
        # A shape each: full batches, a smaller last one, both again for each size of a schedule. From the ninth on
        # torch runs the step uncompiled.
        mode = "reduce-overhead" if device.type == "cuda" else "default"
        self.fast = torch.compile(plain.__call__, dynamic=False, mode=mode)

    @property
    def compiled(self) -> bool:
        return not self.failed

    def prepare(self, first: Tensor, second: Tensor, labels: Tensor | None = None) -> float:
        """Trial steps, since the backward pass is compiled when it is first asked for: in them nothing is lost if it
        cannot be, and their seconds are not taken for those of the training."""
        if self.failed or first.shape in self.prepared:
            return 0.0
        self.prepared.add(first.shape)
        started = self.now()
        buffers = [(buffer, buffer.clone()) for buffer in self.plain.model.buffers()]
        try:
            for _ in range(COMPILE_STEPS[self.device.type]):
                self.plain.model.zero_grad()  # of a step before, which a captured graph would write over
                self(first, second, labels)[0]["loss"].backward()
        except Exception as error:  # of many kinds; if it was not of the compiler's making, the plain step raises it
            self.failed = True
            log_warning(f"this step cannot be compiled here ({format_compile_error(error)}); it runs as it is")
        self.plain.model.zero_grad()
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        if self.failed:
            reset_compiler()  # what was captured before it failed has a step's memory, which the plain step needs
        seconds = self.now() - started
        if not self.failed:
            log_info(f"compiled the step for views of {first.shape[-1]} px, {len(first)} a batch, in {seconds:.0f} s")
        return seconds

    def now(self) -> float:
        """Seconds, once the device has done all it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def __call__(self, first: Tensor, second: Tensor, labels: Tensor | None = None) -> tuple[dict[str, Tensor], Tensor]:
        if self.failed:
            return self.plain(first, second, labels)
        if self.device.type == "cpu":
            return self.fast(first, second, labels)
        torch.compiler.cudagraph_mark_step_begin()
        losses, embeddings = self.fast(first, second, labels)
        # A captured graph writes its next outputs where these are. The loss is used before that.
        return losses, embeddings.clone()


class TwoViewModel(nn.Module):
    """`embed_both` of this encoder and method, as one module."""

    def __init__(self, encoder: nn.Module, method: Method, joint: bool) -> None:
        super().__init__()
        self.encoder, self.method, self.joint = encoder, method, joint

    def forward(self, first: Tensor, second: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        return embed_two_views(self.encoder, self.method, first, second, joint=self.joint)


def embed_two_views(
    encoder: nn.Module, method: Method, first: Tensor, second: Tensor, *, joint: bool
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Both views embedded, in one forward pass, where BatchNorm sees both together, or in one each."""
    if not joint:
        return method.embed(encoder(first)), method.embed(encoder(second))
    outputs = method.embed(encoder(torch.cat((first, second))))
    halves = [output.chunk(2) for output in outputs]
    return tuple(half[0] for half in halves), tuple(half[1] for half in halves)


def format_compile_error(error: Exception) -> str:
    """In one line. PyTorch has the cause in the second, after "backend='inductor' raised:"."""
    first, *others = str(error).strip().splitlines() or [type(error).__name__]
    return f"{first} {others[0]}" if first.endswith(":") and others else first


def reset_compiler() -> None:
    """Give back what compiling keeps. torch allows a function few variants in a process, and a sweep has many."""
    torch._dynamo.reset()
