"""A command as it is typed, in a process of its own that kills itself (SIGKILL, or another signal) at a named place.

No code of the package knows of this: Python tells an audit hook of every file that is opened, renamed or removed, and
calls are counted by wrapping what is called. The processes are forked from one that has imported PyTorch already,
`warm.py`.
"""

import contextlib
import importlib
import multiprocessing
import os
import re
import signal
import sys
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any, NoReturn


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
        owner: Any = importlib.import_module(self.module)
        *classes, last = self.name.split(".")
        for each in classes:
            owner = getattr(owner, each)
        really, calls = getattr(owner, last), 0

        def counted(*arguments: Any, **named: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == self.count:
                os.kill(os.getpid(), self.number)
            return really(*arguments, **named)

        setattr(owner, last, counted)


Place = AtFile | AtCall


def processes() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.hostile.torture.warm"])
    with contextlib.chdir(Path(__file__).parents[3]):  # where it is found
        ensure_running()
    return context


def typed(folder: Path, arguments: list[str], place: Place | None) -> None:
    """What a child process does: the command, in `folder`, with what it says in `said.txt` there."""
    os.chdir(folder)
    with Path("said.txt").open("a") as said:
        os.dup2(said.fileno(), 1)
        os.dup2(said.fileno(), 2)
    importlib.import_module("torch").set_num_threads(1)
    sys.argv = ["lowres-ssl", *arguments]
    if place is not None:
        place.arm()
    importlib.import_module("lowres_ssl.cli.main").main()


def type_it(folder: Path, arguments: list[str], place: Place | None = None) -> int:
    """Exit code of the command; -9 if it was killed."""
    process = processes().Process(target=typed, args=(folder, arguments, place))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode
