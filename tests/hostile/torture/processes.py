"""Commands as they are typed, in processes of their own: killed at a named place, several at once, or on another disk.

No code of the package knows of this: Python tells an audit hook of every file that is opened, renamed or removed, and
calls are counted by wrapping what is called. The processes are forked from one that has imported PyTorch already,
`warm.py`. Disks are mounted in a namespace of the process: Linux only, and only for root.
"""

import contextlib
import ctypes
import importlib
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial, wraps
from multiprocessing.context import ForkServerContext, ForkServerProcess
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any, NoReturn

# Three epochs of a second, saved after each.
PRETRAIN = [
    *("pretrain", "dataset=folder", "backbone=timm", "backbone.model=test_resnet", "image_size=20"),
    *("epochs=3", "batch_size=8", "probe=[knn]", "probe.knn.k=5", "precision=fp32", "checkpoint_seconds=0"),
]
NEW_MOUNTS = 0x00020000  # CLONE_NEWNS of sched.h


def forkserver() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.hostile.torture.warm"])
    with contextlib.chdir(Path(__file__).parents[3]):  # where it is found
        ensure_running()
    return context


def start(act: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    child = forkserver().Process(target=act, args=arguments)
    child.start()
    return child


def run(act: Callable[..., None], *arguments: Any) -> int:
    """Do this in a child process; its exit code, -9 if it was killed."""
    child = start(act, *arguments)
    child.join()
    assert child.exitcode is not None
    return child.exitcode


def type_here(folder: Path, arguments: Sequence[str], said: str = "said.txt") -> int:
    """In a child process: a command in `folder`, with what it says in the file `said` there; its exit code."""
    hydra = importlib.import_module("hydra.core.global_hydra")
    os.chdir(folder)
    with Path(said).open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    importlib.import_module("torch").set_num_threads(1)
    sys.argv = ["lowres-ssl", *arguments]
    try:
        importlib.import_module("lowres_ssl.cli.main").main()
    except SystemExit as stopped:
        return int(stopped.code or 0)
    finally:
        hydra.GlobalHydra.instance().clear()
    return 0


# Killed at a named place.


def die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    signal.pause()
    raise AssertionError("still alive")


@dataclass(frozen=True)
class AtFile:
    """The `count`-th time that a path with `pattern` in it is about to be opened for writing, to be the target of a
    rename, or removed: `event` is Python's own "open", "os.rename" or "os.remove".

    `cut`: what is renamed is cut in half first, as if it had not been written to its end.
    """

    event: str
    pattern: str
    count: int = 1
    cut: bool = False

    def arm(self) -> None:
        seen = 0

        def hook(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal seen
            if event != self.event or (event == "open" and not writes(arguments)):
                return
            path = arguments[1] if event == "os.rename" else arguments[0]
            if isinstance(path, int) or not re.search(self.pattern, os.fspath(path)):
                return
            seen += 1
            if seen == self.count:
                if self.cut:
                    os.truncate(arguments[0], Path(arguments[0]).stat().st_size // 2)
                die()

        sys.addaudithook(hook)


def writes(arguments: tuple[Any, ...]) -> bool:
    _, mode, flags = arguments
    return bool(flags & (os.O_WRONLY | os.O_RDWR)) if mode is None else any(letter in mode for letter in "wax+")


@dataclass(frozen=True)
class AtCall:
    """Before the `count`-th call of `name` (perhaps "Class.method") in `module`; `number`: a signal."""

    module: str
    name: str
    count: int
    number: signal.Signals = signal.SIGKILL

    def arm(self) -> None:
        calls = 0

        def count(*_: Any, **__: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == self.count:
                os.kill(os.getpid(), self.number)

        call_before(self.module, self.name, count)


Place = AtFile | AtCall


def call_before(module: str, name: str, act: Callable[..., None]) -> None:
    """Have `act` called with the arguments of each call of `name` (perhaps "Class.method") in `module`, before it."""
    owner: Any = importlib.import_module(module)
    *classes, last = name.split(".")
    for each in classes:
        owner = getattr(owner, each)
    really = getattr(owner, last)

    @wraps(really)
    def both(*arguments: Any, **named: Any) -> Any:
        act(*arguments, **named)
        return really(*arguments, **named)

    setattr(owner, last, both)


def type_until(folder: Path, arguments: Sequence[str], place: Place | None) -> None:
    """In a child process, which ends with the command's exit code."""
    if place is not None:
        place.arm()
    sys.exit(type_here(folder, arguments))


def type_it(folder: Path, arguments: Sequence[str], place: Place | None = None) -> int:
    """Exit code of the command; -9 if it was killed."""
    return run(type_until, folder, arguments, place)


# Several at once, with a note of what each of them computed.

# What is to be done once: where it is called from, its name, and what tells one such piece of work from another.
WORK: dict[str, tuple[str, str, Callable[..., object]]] = {
    "download": ("lowres_ssl.data.download", "download_archive", lambda dataset, _folder: dataset.url),
    "unpacking": ("lowres_ssl.data.download", "unpack_archive", lambda _archive, folder: folder.parent),
    "index": ("lowres_ssl.data.image_metadata", "write_record", lambda path, *_: path.name),
    "store": ("lowres_ssl.data.image_store", "build_image_store", lambda _catalogue, folder, *_: folder.name),
    "training": ("lowres_ssl.experiment.train_run", "train_encoder", lambda _plan, _material, run, *_: run.name),
    "features": ("lowres_ssl.evaluate.features", "store_features", lambda path, *_: path.parent.name),
    "result": (
        "lowres_ssl.evaluate.evaluate",
        "write_result",
        lambda folder, *_: f"{folder.parent.name}/{folder.name}",
    ),
    "picture": ("lowres_ssl.reporting.figures.tsne", "draw_tsne", lambda path, *_: path.parent.name),
}


def at_once(folder: Path, processes: Sequence[Sequence[Sequence[str]]]) -> tuple[list[list[int]], Counter[str]]:
    """Each process types its commands, one after the other, in `folder`.

    The exit codes of each process's commands, and how often each piece of work was done by any process ("store
    folder-20px-1234abcd"). What process 3 said is in `said-3.txt`.
    """
    children = [start(type_noted, folder, number, commands) for number, commands in enumerate(processes)]
    for child in children:
        child.join()
    codes = [(folder / f"codes-{number}.txt").read_text().split() for number in range(len(processes))]
    done = (folder / "done.txt").read_text().splitlines() if (folder / "done.txt").exists() else []
    return [list(map(int, each)) for each in codes], Counter(done)


def type_noted(folder: Path, number: int, commands: Sequence[Sequence[str]]) -> None:
    """In a child process: each piece of work adds a line to `done.txt`, in one piece whoever else is writing."""

    def note(kind: str, key: Callable[..., object], *arguments: Any, **named: Any) -> None:
        descriptor = os.open(folder / "done.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(descriptor, f"{kind} {key(*arguments, **named)}\n".encode())
        os.close(descriptor)

    for kind, (module, name, key) in WORK.items():
        call_before(module, name, partial(note, kind, key))
    codes = [type_here(folder, command, f"said-{number}.txt") for command in commands]
    (folder / f"codes-{number}.txt").write_text(" ".join(map(str, codes)))


# On another disk: too small, or read-only.


def may_mount() -> bool:
    """Whether this machine lets us."""
    tried = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    return (
        shutil.which("unshare") is not None and subprocess.run(tried, capture_output=True, check=False).returncode == 0
    )


def mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


def have_own_mounts() -> None:
    assert ctypes.CDLL(None, use_errno=True).unshare(NEW_MOUNTS) == 0
    mount("--make-rprivate", "/")


def on_small_disk(folder: Path, arguments: Sequence[str], sizes: Sequence[str]) -> None:
    """In a child process: the command once for each size of the disk that `outputs` is on; exit codes in `codes.txt`,
    and in the end what is on it in `outputs` on the real disk."""
    have_own_mounts()
    small = folder / "small"
    small.mkdir()
    mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small))
    for size in sizes:
        mount("-o", f"remount,size={size}", str(small))
        code = type_here(folder, [*arguments, "output_dir=small", "store_dir=stores"])
        there = sorted(path.name for path in small.rglob("*") if path.is_file())
        with (folder / "codes.txt").open("a") as file:
            file.write(f"{code} {' '.join(there)}\n")
    shutil.copytree(small, folder / "outputs")


def on_read_only_data(folder: Path, arguments: Sequence[str]) -> None:
    """In a child process, which ends with the exit code of the command typed with `data` read-only."""
    have_own_mounts()
    data = str(folder / "data")
    mount("--bind", data, data)
    mount("-o", "remount,bind,ro", data)
    with contextlib.suppress(OSError):
        (folder / "data" / "folder" / "new").touch()
        raise AssertionError("the folder can be written to")
    sys.exit(type_here(folder, arguments))
