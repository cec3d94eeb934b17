"""Run as a program: one of two processes that share the first GPU and every batch, BatchNorm's statistics synchronised.

`python -m tests.distributed.synchronised FOLDER RANK`. NCCL wants a GPU each; gloo does not, and SyncBatchNorm and
DistributedDataParallel are the same with it.
"""

import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # where pytest finds what tests share

from lowres_ssl.device import DevicePrecision
from lowres_ssl.train.forward import ForwardPass
from lowres_ssl.train.world import SINGLE_PROCESS, World
from tests.distributed.models import TRAINED, models
from tests.distributed.ranks import BATCH, furthest

SIZE = 2
PATIENCE = timedelta(seconds=120)


def of_the_model(name: str, processes: World, device: torch.device, joint: bool) -> tuple[float, float]:
    """How far the loss and the gradients of all weights are from those of one process, whose BatchNorm sees the whole
    batch."""
    torch.manual_seed(3)
    sizes = [round(12 * kind.size) for kind in models(name)[1].view_kinds()]
    views = [torch.randn(BATCH, 3, size, size).to(device) for size in sizes]
    labels = torch.arange(BATCH).to(device) % 3

    def loss_and_gradient(which: World) -> tuple[Tensor, list[Tensor]]:
        encoder, method = models(name, held=False)
        method.prepare(encoder)
        both = nn.ModuleDict({"encoder": encoder, "method": method}).to(device).train()
        if which.size > 1:
            nn.SyncBatchNorm.convert_sync_batchnorm(both)
        step = ForwardPass(encoder, method, DevicePrecision(device, "fp32"), joint=joint, processes=which)
        losses, _ = step([which.shard(view) for view in views], which.shard(labels) if method.takes_labels else None)
        losses["loss"].backward()
        return losses["loss"].detach(), [each.grad for each in both.parameters() if each.grad is not None]

    (whole, expected), (loss, gradient) = loss_and_gradient(SINGLE_PROCESS), loss_and_gradient(processes)
    return furthest([loss], [whole]), furthest(gradient, expected)


def main(folder: Path, rank: int) -> None:
    device = torch.device("cuda", 0)
    torch.cuda.set_device(device)
    # float64, convolutions included: else cuDNN may choose another sum each time.
    torch.backends.cudnn.deterministic = True
    store = dist.FileStore(str(folder / "store"), SIZE)
    dist.init_process_group("cpu:gloo,cuda:gloo", store=store, rank=rank, world_size=SIZE, timeout=PATIENCE)
    processes = World(rank, SIZE, rank, SIZE, store)
    found = {
        f"{name}, {way}": of_the_model(name, processes, device, joint)
        for name in TRAINED
        for way, joint in (("per view", False), ("joint", True))
    }
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
