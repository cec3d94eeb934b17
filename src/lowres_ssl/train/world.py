"""The processes that share one run: who they are, how they begin, agree and end together. Knows no model.

Each trains on its share of every batch; the first one (rank 0) alone prepares, writes, scores and speaks. What a
launcher such as torchrun tells them is read here and nowhere else.
"""

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from lowres_ssl.errors import CheckpointError, ConfigError, DataError, TrainingError

RowsType = TypeVar("RowsType", NDArray[np.int64], Tensor)

# Which variables say rank, number of processes and place on the machine: torchrun's, else Slurm's where submitit starts
# the tasks. Of Slurm's alone nothing follows: a job's script has them, too, and is one process.
TORCHRUN_VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
SLURM_VARIABLES = ("SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID", "SLURM_NTASKS_PER_NODE")
# As long as the others wait for the first to score an epoch. One that ends is noticed at once, whatever this is.
RENDEZVOUS_TIMEOUT = timedelta(hours=2)
LEAVE_TIMEOUT_SECONDS = 5.0
STORE_POLL_SECONDS = 0.05
CONNECTION_ERRORS = "gloo|nccl|connection (closed|reset)|broken pipe"  # PyTorch's words for a process that is gone


@dataclass(frozen=True)
class World:
    """This process (`rank`, from 0) among the `size` that share a run. `local_rank`: its place on its machine, and so
    its GPU, among `local_size`. `store`: where they leave word for one another; none if it is alone."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1
    store: Any = None  # torch.distributed's Store

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def shard(self, rows: RowsType) -> RowsType:
        """This process's rows of a batch [B, ...]: [B / size, ...], in the order of the ranks. B must be divisible."""
        each = len(rows) // self.size
        return rows[self.rank * each : (self.rank + 1) * each]

    def all_reduce_max(self, *numbers: int) -> list[int]:
        """The largest of each number over all processes, which must all ask; so they wait for one another.

        Of CPU tensors, so that no GPU has to be waited for.
        """
        if self.size == 1:
            return list(numbers)
        found = torch.tensor(numbers, dtype=torch.int64)
        dist.all_reduce(found, dist.ReduceOp.MAX)
        return [int(number) for number in found]

    def check_batch(self, batch_size: int) -> None:
        """Raises `ConfigError` unless each process gets the same share of a batch, of two images at least."""
        if batch_size % self.size or batch_size < 2 * self.size:
            raise ConfigError(
                f"batch_size={batch_size}: is shared by {self.size} processes, wanted a multiple of {self.size}, at "
                f"least {2 * self.size}; try batch_size={self.size * max(2, batch_size // self.size)}"
            )

    def check_last_batch(self, images: int, batch_size: int) -> None:
        """The same of the rest that `keep_last_batch` trains on; a rest of one image is no batch."""
        rest = images % batch_size
        if rest > 1 and (rest % self.size or rest < 2 * self.size):
            raise ConfigError(
                f"keep_last_batch=true: the last batch of {images} images has {rest}, wanted a multiple of "
                f"{self.size}, as many as there are processes, at least {2 * self.size}; type keep_last_batch=false"
            )

    def wait_for_main(self) -> bool:
        """Wait until the first process has prepared everything: true; or has nothing to train, or failed: false."""
        while not self.store.check(["begin"]):
            time.sleep(STORE_POLL_SECONDS)  # in Python, where a signal is heard
        called = bool(self.store.get("begin") == b"train")
        if not called:
            self.mark_left()
        return called

    def mark_left(self) -> None:
        self.store.set(f"left/{self.rank}", "")

    def release_workers(self) -> None:
        """Tell the others that they are not needed, and wait a little until they have heard it: the store ends with
        this process, unless torchrun holds it. Raises PyTorch's own error if one of them does not answer."""
        self.store.set("begin", "leave")
        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            return
        others = [f"left/{rank}" for rank in range(1, self.size)]
        self.store.wait(others, timedelta(seconds=LEAVE_TIMEOUT_SECONDS))

    def connect(self, device: torch.device, run: str) -> None:
        """From here on the processes can reach one another; waits until all are there.

        Raises `DataError` if they do not see the same `run`, and so not the same images or settings; `TrainingError` if
        one has failed before.
        """
        if self.store is None:
            return
        if self.is_main:
            self.store.set("begin", "train")
        self.store.set(f"run/{self.rank}", run)
        places = [f"run/{rank}" for rank in range(self.size)]
        started = time.monotonic()
        while not self.store.check(places):
            if time.monotonic() - started > RENDEZVOUS_TIMEOUT.total_seconds():
                raise TrainingError(f"the {self.size} processes of this run have not all come; start them all at once")
            if self.store.check(["failed"]):
                raise TrainingError("another process of this run has failed; see what it said")
            time.sleep(STORE_POLL_SECONDS)
        runs = dict.fromkeys(self.store.get(place).decode() for place in places)
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

    def disconnect(self) -> None:
        """Once all have come here; what follows is the first process's alone."""
        if self.store is not None:
            self.mark_left()
            self.all_reduce_max(0)
            dist.destroy_process_group()

    def is_first_to_fail(self) -> bool:
        """Whether it is this process's to say what went wrong: the first to fail says it for all."""
        try:
            first = self.store.add("failed", 1) == 1
            self.mark_left()
        except RuntimeError:  # out of reach: the first process was killed, and the store with it
            return self.rank == 1
        if self.is_main:
            with suppress(RuntimeError):  # one that does not answer is gone already
                self.release_workers()
        return bool(first)


SINGLE_PROCESS = World()


@contextmanager
def join_world() -> Iterator[World]:
    """The processes that the environment tells of. If one of them fails, or is asked to stop, all end: the first to
    fail with its error, the others by `SystemExit` with the exit code of theirs and without a word."""
    processes = read_world(os.environ)
    if processes.size == 1:
        yield processes
        return
    try:
        yield processes
    except BaseException as error:
        if not processes.is_first_to_fail():
            raise SystemExit(getattr(error, "exit_code", 1)) from None
        if isinstance(error, RuntimeError) and re.search(CONNECTION_ERRORS, str(error), re.IGNORECASE):
            raise TrainingError(
                "another process of this run ended without a word (killed, out of memory?); the same command goes on "
                "from what was saved"
            ) from error
        raise
    else:
        if processes.is_main and not processes.store.check(["begin"]):
            with suppress(RuntimeError):  # one that does not answer is gone already
                processes.release_workers()


def check_checkpoint_world_size(before: int, now: int, checkpoint: Path) -> None:
    """Raises `CheckpointError` if a checkpoint is of another number of processes: they would not go on exactly, be it
    for BatchNorm's statistics of each share or for the order of sums."""
    if before != now:
        raise CheckpointError(
            f"{checkpoint}: written by {before} processes, got {now}, which would not go on "
            f"exactly; go on with torchrun --nproc-per-node={before}, or from scratch with force=true"
        )


def read_world(variables: Mapping[str, str]) -> World:
    """Who this process is; alone where nothing says otherwise. Raises `ConfigError` for what makes no sense."""
    names = (
        SLURM_VARIABLES
        if variables.get("SUBMITIT_EXECUTOR") == "slurm" and "RANK" not in variables
        else TORCHRUN_VARIABLES
    )
    given = [variables.get(name, default) for name, default in zip(names, ("0", "1", "0", "1"), strict=True)]
    try:
        rank, size, local_rank, local_size = map(int, given)
    except ValueError:
        rank, size, local_rank, local_size = -1, 0, 0, 0
    if not 0 <= rank < size:
        said = ", ".join(f"{name}={value}" for name, value in zip(names, given, strict=True))
        raise ConfigError(f"{said}: wanted a rank below the number of processes; start them with torchrun")
    if size == 1:
        return SINGLE_PROCESS
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in variables]
    if missing:
        raise ConfigError(f"{names[1]}={size}: wanted {' and '.join(missing)} as well; start them with torchrun")
    store, _, _ = next(rendezvous("env://", rank, size))
    attempt = variables.get("TORCHELASTIC_RESTART_COUNT", "0")  # a launcher may start them again, beside the same store
    prefix = f"lowres-ssl/{attempt}"
    own = dist.PrefixStore(prefix, store)  # type: ignore[attr-defined]  # torch does not list it among what it exports
    return World(rank, size, local_rank, max(local_size, local_rank + 1), own)
