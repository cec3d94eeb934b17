"""Both views through encoder and heads to the loss, as one function of tensors; compiled by choice."""

from typing import Protocol

import torch
from torch import Tensor, nn

from lowres_ssl.device import Compute
from lowres_ssl.methods import Method
from lowres_ssl.terminal import warn
from lowres_ssl.training.distributed import ALONE, Processes
from lowres_ssl.training.gathering import gathered, shared


class Forward(Protocol):
    def __call__(
        self, first: Tensor, second: Tensor, labels: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Tensor]: ...


def make_forward(
    encoder: nn.Module, method: Method, compute: Compute, *, joint: bool, processes: Processes = ALONE
) -> Forward:
    """Two views [B, 3, S, S] to the loss and its terms (scalars), and the embeddings of the first view [B, D]. Labels
    (int64 [B]) are for a method that sees them.

    `compute.compiled`: by torch.compile, on a GPU with its kernels captured in CUDA graphs. A forward pass that cannot
    be compiled here (no compiler on the machine, say) runs as it is, and that is said once.

    `processes`: the views are this process's share of the batch; loss, terms and embeddings are the whole batch's.
    """
    both = shared(Both(encoder, method, joint), processes)

    def forward(first: Tensor, second: Tensor, labels: Tensor | None = None) -> tuple[dict[str, Tensor], Tensor]:
        with compute.autocast():
            one, two = both(first, second)
        if labels is not None:
            one, two = (*one, labels), (*two, labels)
        one, two = gathered(one, processes), gathered(two, processes)
        return method.loss(one, two), one[0].detach()

    return compiled(forward, compute) if compute.compiled else forward


class Both(nn.Module):
    """`embed_both` of this encoder and method, as one module."""

    def __init__(self, encoder: nn.Module, method: Method, joint: bool) -> None:
        super().__init__()
        self.encoder, self.method, self.joint = encoder, method, joint

    def forward(self, first: Tensor, second: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        return embed_both(self.encoder, self.method, first, second, joint=self.joint)


def embed_both(
    encoder: nn.Module, method: Method, first: Tensor, second: Tensor, *, joint: bool
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Both views embedded, in one forward pass, where BatchNorm sees both together, or in one each."""
    if not joint:
        return method.embed(encoder(first)), method.embed(encoder(second))
    outputs = method.embed(encoder(torch.cat((first, second))))
    halves = [output.chunk(2) for output in outputs]
    return tuple(half[0] for half in halves), tuple(half[1] for half in halves)


def forget_compiled() -> None:
    """Give back what compiling keeps. torch allows a function few variants in a process, and a sweep has many."""
    torch._dynamo.reset()


def compiled(forward: Forward, compute: Compute) -> Forward:
    on_gpu = compute.device.type == "cuda"
    # A shape each: full batches, a smaller last one, both again for each size of a schedule. From the ninth on torch
    # runs the step uncompiled.
    fast: Forward = torch.compile(forward, dynamic=False, mode="reduce-overhead" if on_gpu else "default")
    failed = False

    def run(first: Tensor, second: Tensor, labels: Tensor | None = None) -> tuple[dict[str, Tensor], Tensor]:
        nonlocal failed
        if failed:
            return forward(first, second, labels)
        try:
            if on_gpu:
                torch.compiler.cudagraph_mark_step_begin()
            losses, embeddings = fast(first, second, labels)
        except torch._dynamo.exc.TorchDynamoException as error:
            failed = True
            warn(f"this step cannot be compiled here ({str(error).strip().splitlines()[0]}); it runs as it is")
            return forward(first, second, labels)
        # A captured graph writes its next outputs where these are. The loss is used before that.
        return losses, embeddings.clone() if on_gpu else embeddings

    return run
