"""Run as a program: 2 and 4 processes that share batches, and what each of them found, in files of a folder.

`python -m tests.distributed.ranks FOLDER`. All are forked from this one, which imports PyTorch once, and meet at files.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))  # where pytest finds what tests share

from lowres_ssl.device import DevicePrecision
from lowres_ssl.errors import CheckpointError, ConfigError, TrainingError
from lowres_ssl.train import checkpoint, world
from lowres_ssl.train.checkpoint import load_state
from lowres_ssl.train.forward import ForwardPass, gather_outputs
from lowres_ssl.train.world import SINGLE_PROCESS, World, join_world
from tests.distributed.models import CPU, STEPS, TRAINED, models, train

BATCH = 8
SECONDS = 120
Found = dict[str, Any]


def furthest(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest difference, relative to the largest number."""
    size = max(float(each.abs().max()) for each in theirs)
    assert size > 0
    return max(float((one - other).abs().max()) for one, other in zip(ours, theirs, strict=True)) / size


def of_the_model(
    name: str, processes: World, joint: bool, device: torch.device = CPU, synchronised: bool = False
) -> tuple[float, float]:
    """How far loss and the gradients of all weights are from those of one process on the whole batch, in the second
    step: it sees what a method keeps of the first. `synchronised`: BatchNorm has the statistics of the whole batch."""
    torch.manual_seed(3)
    sizes = [round(12 * kind.size) for kind in models(name)[1].view_kinds()]
    views = [torch.randn(BATCH, 3, size, size).to(device) for size in sizes]
    labels = torch.arange(BATCH).to(device) % 3

    def loss_and_gradient(which: World) -> tuple[Tensor, list[Tensor]]:
        encoder, method = models(name, held=not synchronised)
        method.prepare(encoder)
        both = nn.ModuleDict({"encoder": encoder, "method": method}).to(device)
        if synchronised and which.size > 1:
            nn.SyncBatchNorm.convert_sync_batchnorm(both)
        step = ForwardPass(encoder, method, DevicePrecision(device, "fp32"), joint=joint, processes=which)
        shares = [which.shard(view) for view in views], which.shard(labels) if method.takes_labels else None
        for _ in range(2):
            both.zero_grad()
            losses, embeddings = step(*shares)
            assert len(embeddings) == BATCH
            losses["loss"].backward()
        return losses["loss"].detach(), [weight.grad for weight in both.parameters() if weight.grad is not None]

    (whole, expected), (loss, gradient) = loss_and_gradient(SINGLE_PROCESS), loss_and_gradient(processes)
    return furthest([loss], [whole]), furthest(gradient, expected)


def sharing(processes: World, folder: Path) -> Found:
    found: Found = {}
    for name in TRAINED:
        for joint in (False, True):
            found[f"{name}, {'joint' if joint else 'per view'}"] = of_the_model(name, processes, joint)
    started = time.perf_counter()
    for _ in range(100):
        processes.all_reduce_max(0, 0)
    found["seconds to agree"] = (time.perf_counter() - started) / 100
    return found


def training(processes: World, folder: Path) -> Found:
    """Two epochs, by one process and by several; who writes; a bf16 batch goes through as well."""
    saved = 0
    save_state = checkpoint.save_state

    def counted(*arguments: Any) -> None:
        nonlocal saved
        saved += 1
        save_state(*arguments)

    checkpoint.save_state = counted
    found: Found = {}
    for name in ("vicreg", "supervised"):
        own = folder / f"alone-{processes.size}-{processes.rank}-{name}.pt"
        alone, before = train(name, SINGLE_PROCESS, own), saved
        shared = train(name, processes, folder / f"shared-{processes.size}-{name}.pt", checkpoint_seconds=0)
        found[name] = alone, shared
        found[f"{name}, saved"] = saved - before
    half = torch.full((2, 3), float(processes.rank), dtype=torch.bfloat16)
    found["bf16"] = gather_outputs((half,), processes)[0]
    return found


def stopped(processes: World, folder: Path) -> Found:
    """A signal to the second process alone; then on from there, and once through."""

    def send(step: int, _: nn.Module) -> None:
        if step == 3 and processes.rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)

    place = folder / "stopped.pt"
    try:
        train("simclr", processes, place, send)
    except KeyboardInterrupt as error:
        said, code = str(error), getattr(error, "exit_code", None)
    checkpoint = load_state(place)
    # PyTorch has SyncBatchNorm on GPUs only; statistics are held fixed, so that it had nothing to do here.
    nn.SyncBatchNorm.convert_sync_batchnorm = lambda model: model
    with suppress(KeyboardInterrupt):
        train("simclr", processes, folder / "synchronised.pt", send, sync_batch_norm=True)
    refused = []
    for name, synchronised in (("stopped", False), ("synchronised", True)):
        try:
            train("simclr", SINGLE_PROCESS, folder / f"{name}.pt", sync_batch_norm=synchronised)
        except CheckpointError as error:
            refused.append(str(error))
    resumed = train("simclr", processes, place)[1]
    through = train("simclr", processes, folder / "through.pt")[1]
    same = all(torch.equal(value, through[key]) for key, value in resumed.items())
    return {"said": said, "code": code, "steps": checkpoint["meter"]["steps"], "refused": refused, "same": same}


def broken(processes: World, folder: Path) -> Found:
    """A loss, then a weight that no other has, which is no number in the second process."""

    def infinite(step: int, encoder: nn.Module) -> None:
        if step == STEPS and processes.rank == 1:
            torch.nn.init.constant_(encoder[5].running_var, torch.inf)  # 1 / inf: all it does is finite

    def nan(step: int, encoder: nn.Module) -> None:
        if step == 2 and processes.rank == 1:
            torch.nn.init.constant_(encoder[1].weight, torch.nan)

    found: Found = {}
    for name, act in (("loss", nan), ("weight", infinite)):
        try:
            train("simclr", processes, folder / f"{name}.pt", act)
        except TrainingError as error:
            found[name] = str(error)
    return found


def fails(processes: World, folder: Path) -> Found:
    """The second process fails within a step, where the others wait for it."""

    def fail(step: int, _: nn.Module) -> None:
        if step == 2 and processes.rank == 1:
            raise ConfigError("the cause")

    train("simclr", processes, folder / "fails.pt", fail)
    return {}


def killed(processes: World, folder: Path) -> Found:
    def die(step: int, _: nn.Module) -> None:
        if step == 2 and processes.rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    train("simclr", processes, folder / "killed.pt", die)
    return {}


def first_fails(processes: World, folder: Path) -> Found:
    """Before it calls the others."""
    if processes.is_main:
        raise ConfigError("the cause")
    return {"called": processes.wait_for_main()}


def differ(processes: World, folder: Path) -> Found:
    processes.connect(CPU, f"run {processes.rank}")
    return {}


CONNECTED: dict[str, tuple[int, Callable[[World, Path], Found]]] = {
    "sharing-2": (2, sharing),
    "sharing-4": (4, sharing),
    "training-2": (2, training),
    "training-4": (4, training),
    "stopped": (2, stopped),
    "broken": (2, broken),
    "fails": (3, fails),
    "killed": (3, killed),
}
UNCONNECTED = {"first_fails": (3, first_fails), "differ": (2, differ)}


def run(scenario: str, rank: int, folder: Path) -> None:
    """One process: what it found, how it ended and how long that took."""
    size, act = (CONNECTED | UNCONNECTED)[scenario]
    meet = dist.FileStore(str(folder / f"{scenario}.store"), size)
    world.rendezvous = lambda *_: iter([(meet, rank, size)])
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "MASTER_ADDR": "here", "MASTER_PORT": "0"}
    found: Found = {}
    started = time.monotonic()
    try:
        with (
            join_world() as processes,
            processes.connected(CPU, "one run") if scenario in CONNECTED else nullcontext(),
        ):
            found = act(processes, folder)
        ended = "done"
    except SystemExit as leaving:
        ended = f"left with {leaving.code}"
    except BaseException as error:
        ended = f"{type(error).__name__}: {error}"
    torch.save({**found, "ended": ended, "seconds": time.monotonic() - started}, folder / f"{scenario}.{rank}.pt")
    sys.stdout.flush()
    os._exit(0)


def main(folder: Path, scenarios: list[str]) -> None:
    torch.set_num_threads(1)
    forks = multiprocessing.get_context("fork")
    for scenario in scenarios or [*CONNECTED, *UNCONNECTED]:
        size, _ = (CONNECTED | UNCONNECTED)[scenario]
        ranks = [forks.Process(target=run, args=(scenario, rank, folder)) for rank in range(size)]
        for each in ranks:
            each.start()
        for each in ranks:
            each.join(SECONDS)
            each.kill()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
