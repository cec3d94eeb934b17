"""A model whose batch is shared by several processes, so that its loss and gradients are those of the whole batch."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lowres_ssl.training.distributed import Processes


class Gather(torch.autograd.Function):
    """[B / size, ...] of each process -> [B, ...] of all, in the order of the ranks; with a gradient.

    Each process computes the same loss L of the whole batch, so it knows all of dL/d(embeddings) and keeps its own rows
    of it: backward needs no communication. Carried on through the model it is this process's part of dL/d(weights),
    and the parts add up to the whole, while `DistributedDataParallel` takes their mean. So the rows are multiplied by
    the number of processes. This is exact if whatever comes before is computed image by image, or knows the whole batch
    as SyncBatchNorm does, and whatever comes after has no weights.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, processes: Processes) -> Tensor:
        ctx.processes = processes
        gathered = own.new_empty((processes.size * len(own), *own.shape[1:]))
        dist.all_gather(list(gathered.chunk(processes.size)), own.contiguous())
        return gathered

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        processes: Processes = ctx.processes
        return processes.share(gradient) * processes.size, None


def gathered(outputs: tuple[Tensor, ...], processes: Processes) -> tuple[Tensor, ...]:
    """What the heads made of one view of this process's share [B / size, ...]: of the whole batch [B, ...]."""
    if processes.size == 1:
        return outputs
    return tuple(Gather.apply(output, processes) for output in outputs)


def shared(model: nn.Module, processes: Processes) -> nn.Module:
    """The model, its gradients averaged over the processes in each backward pass.

    BatchNorm's running statistics are those of the first process's shares, and each step begins with them everywhere.
    """
    if processes.size == 1:
        return model
    device = next(model.parameters()).device
    places = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(model, device_ids=places)
