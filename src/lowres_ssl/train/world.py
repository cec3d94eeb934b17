"""Let several processes share one run: find this process's rank, begin, agree and end together. Knows no model.

Each trains on its share of every batch; the first one (rank 0) alone prepares, writes, scores and prints. The variables
of a launcher such as torchrun are read here and nowhere else.
"""

import gc
import os
import re
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from lowres_ssl.errors import ConfigError, DataError, TrainingError
from lowres_ssl.train.signals import DeferredSignals

RowsType = TypeVar("RowsType", NDArray[np.int64], Tensor)

# Which variables hold rank, number of processes and place on the machine: torchrun's, else Slurm's where submitit
# starts the tasks. Slurm's alone do not count: a job's script has them, too, and is one process.
TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
SLURM_VARIABLES = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE")
# As long as the others wait for the first to score an epoch. One that ends is noticed at once, whatever this is.
RENDEZVOUS_TIMEOUT = timedelta(hours=2)
LEAVE_TIMEOUT = timedelta(seconds=5)
STORE_POLL_SECONDS = 0.05
CONNECTION_ERRORS = "gloo|nccl|connection (closed|reset)|broken pipe"  # PyTorch's words for a process that is gone


@dataclass(frozen=True)
class World:
    """Place this process (`rank`, from 0) among the `size` that share a run. `local_rank`: its place on its machine,
    and so its GPU, among `local_size`. `store`: the keys through which they agree before they connect; None if
    alone."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    store: Any = None  # torch.distributed's Store

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def shard(self, rows: RowsType) -> RowsType:
        """Take this rank's rows of a batch [B, ...]: [B / size, ...], in the order of the ranks."""
        each = len(rows) // self.size
        return rows[self.rank * each : (self.rank + 1) * each]

    def all_reduce_max(self, *numbers: int) -> list[int]:
        """Compute the largest of each number over all ranks, which must all call it; so they wait for one another.

        It works on CPU tensors, so that no GPU has to be waited for.
        """
        if self.size == 1:
            return list(numbers)
        found = torch.tensor(numbers, dtype=torch.int64)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return [int(number) for number in found]

    def agree_on_stop(self, stop: DeferredSignals, looking: bool, saving: bool) -> tuple[bool, bool, bool]:
        """Whether any rank finds it time to look at the loss or to save, and whether any was asked to stop: all do as
        one does."""
        look, save, number = self.all_reduce_max(looking, saving, stop.received or 0)
        if number:
            stop.received = signal.Signals(number)
        return look > 0, save > 0, number > 0

    def check_batch(self, batch_size: int) -> None:
        """Raise `ConfigError` unless each rank gets the same share of a batch, of two images at least."""
        if batch_size % self.size or batch_size < 2 * self.size:
            raise ConfigError(
                f"batch_size={batch_size}: is shared by {self.size} processes, wanted a multiple of {self.size}, at "
                f"least {2 * self.size}; try batch_size={self.size * max(2, batch_size // self.size)}"
            )

    def check_last_batch(self, images: int, batch_size: int) -> None:
        """Check the rest that `keep_last_batch` trains on likewise; a rest of one image is no batch."""
        rest = images % batch_size
        if rest > 1 and (rest % self.size or rest < 2 * self.size):
            raise ConfigError(
                f"keep_last_batch=true: the last batch of {images} images has {rest}, wanted a multiple of "
                f"{self.size}, as many as there are processes, at least {2 * self.size}; type keep_last_batch=false"
            )

    def wait_for_main(self) -> bool:
        """Wait until rank 0 has prepared everything: true; or has nothing to train, or failed: false."""
        while not self.store.check(["begin"]):
            time.sleep(STORE_POLL_SECONDS)  # in Python, where a signal is noticed
        called = bool(self.store.get("begin") == b"train")
        if not called:
            self.mark_left()
        return called

    def mark_left(self) -> None:
        self.store.set(f"left/{self.rank}", "")

    def release_workers(self) -> None:
        """Let the other ranks end, and wait until they have noticed: the store ends with this process, unless torchrun
        holds it. Raises PyTorch's own error if one of them does not answer."""
        self.store.set("begin", "leave")
        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
            self.store.wait([f"left/{rank}" for rank in range(1, self.size)], LEAVE_TIMEOUT)

    def connect(self, device: torch.device, run: str) -> None:
        """Wait until all ranks are here and can reach one another.

        Raises `DataError` if they do not see the same `run`, and so not the same images or settings; `TrainingError` if
        one has failed before.
        """
        if self.store is None:
            return
        if self.is_main:
            self.store.set("begin", "train")
        self.store.set(f"run/{self.rank}", run)
        keys = [f"run/{rank}" for rank in range(self.size)]
        started = time.monotonic()
        while not self.store.check(keys):
            if time.monotonic() - started > RENDEZVOUS_TIMEOUT.total_seconds():
                raise TrainingError(f"the {self.size} processes of this run have not all come; start them all at once")
            if self.store.check(["failed"]):
                raise TrainingError("another process of this run has failed; see its message")
            time.sleep(STORE_POLL_SECONDS)
        runs = dict.fromkeys(self.store.get(key).decode() for key in keys)
        if len(runs) > 1:
            raise DataError(
                f"the processes of one run see different images or settings ({', '.join(runs)}); give all of them the "
                "same data_dir, output_dir and command"
            )
        on_gpu = device.type == "cuda"
        if on_gpu:
            torch.cuda.set_device(device)
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
            store=self.store,
            rank=self.rank,
            world_size=self.size,
            timeout=RENDEZVOUS_TIMEOUT,
            device_id=device if on_gpu else None,
        )

    @contextmanager
    def connected(self, device: torch.device, run: str) -> Iterator[None]:
        """Connect the processes within the block; at its end, unless it raises, wait until all ranks are here: what
        follows is rank 0's alone."""
        self.connect(device, run)
        yield
        if self.store is not None:
            self.mark_left()
            self.all_reduce_max(0)
            dist.destroy_process_group()
            # DistributedDataParallel is in a cycle that holds the group, and so Gloo's threads; one that still runs
            # when Python ends may abort the process.
            gc.collect()

    def is_first_to_fail(self) -> bool:
        """Whether this rank has to report the error: the first to fail does it for all."""
        try:
            first = self.store.add("failed", 1) == 1
            self.mark_left()
        except RuntimeError:  # out of reach: rank 0 was killed, and the store with it
            return self.rank == 1
        if self.is_main:
            with suppress(RuntimeError):  # one that does not answer is gone already
                self.release_workers()
        return bool(first)


SINGLE_PROCESS = World()


@contextmanager
def join_world() -> Iterator[World]:
    """Join the ranks of this run by the environment's variables. If one of them fails, or is asked to stop, all end:
    the first to fail with its error, the others by `SystemExit` with its exit code and without a message."""
    world = read_world(os.environ)
    if world.size == 1:
        yield world
        return
    try:
        yield world
    except BaseException as error:
        if not world.is_first_to_fail():
            raise SystemExit(getattr(error, "exit_code", 1)) from None
        if isinstance(error, RuntimeError) and re.search(CONNECTION_ERRORS, str(error), re.IGNORECASE):
            raise TrainingError(
                "another rank of this run exited unexpectedly (killed or out of memory?); the same command goes on "
                "from what was saved"
            ) from error
        raise
    else:
        if world.is_main and not world.store.check(["begin"]):
            with suppress(RuntimeError):  # one that does not answer is gone already
                world.release_workers()


def read_world(variables: Mapping[str, str]) -> World:
    """Read this process's rank; it is alone where no variable is set. Raises `ConfigError` for values out of range."""
    in_slurm = variables.get("SUBMITIT_EXECUTOR") == "slurm" and "RANK" not in variables
    names = SLURM_VARIABLES if in_slurm else TORCHRUN_VARIABLES
    given = [variables.get(name, default) for name, default in zip(names, ("0", "1", "0", "1"), strict=True)]
    try:
        rank, size, local_rank, local_size = map(int, given)
    except ValueError:
        rank, size, local_rank, local_size = -1, 0, 0, 0
    if not 0 <= rank < size:
        got = ", ".join(f"{name}={value}" for name, value in zip(names, given, strict=True))
        raise ConfigError(f"{got}: wanted a rank below the number of processes; start them with torchrun")
    if size == 1:
        return SINGLE_PROCESS
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in variables]
    if missing:
        raise ConfigError(f"{names[1]}={size}: wanted {' and '.join(missing)} as well; start them with torchrun")
    store, _, _ = next(rendezvous("env://", rank, size))
    attempt = variables.get("TORCHELASTIC_RESTART_COUNT", "0")  # a launcher may start them again, with the same store
    own = dist.PrefixStore(f"lowres-ssl/{attempt}", store)  # type: ignore[attr-defined]  # not listed in its __all__
    return World(rank, size, local_rank, max(local_size, local_rank + 1), own)
