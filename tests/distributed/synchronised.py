"""Run as a program: one of two processes that share the first GPU and every batch, BatchNorm's statistics synchronised.

`python -m tests.distributed.synchronised FOLDER RANK`. NCCL wants a GPU each; gloo does not, and SyncBatchNorm and
DistributedDataParallel are the same with it.
"""

import sys
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist

sys.path.insert(0, str(Path(__file__).parents[1]))  # where pytest finds what tests share

from lowres_ssl.train.world import World
from tests.distributed.models import TRAINED
from tests.distributed.ranks import of_the_model

SIZE = 2
PATIENCE = timedelta(seconds=120)


def main(folder: Path, rank: int) -> None:
    device = torch.device("cuda", 0)
    torch.cuda.set_device(device)
    # float64, convolutions included: else cuDNN may choose another sum each time.
    torch.backends.cudnn.deterministic = True
    store = dist.FileStore(str(folder / "store"), SIZE)
    dist.init_process_group("cpu:gloo,cuda:gloo", store=store, rank=rank, world_size=SIZE, timeout=PATIENCE)
    processes = World(rank, SIZE, rank, SIZE, store)
    found = {
        f"{name}, {way}": of_the_model(name, processes, joint, device, synchronised=True)
        for name in TRAINED
        for way, joint in (("per view", False), ("joint", True))
    }
    torch.save(found, folder / f"{rank}.pt")
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
