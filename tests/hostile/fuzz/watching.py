"""Fuzz a check: bound what it may raise, where it may write and how long it may take; damage bytes for examples."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from lowres_ssl.errors import UserError

LONGEST = 30  # seconds of computing for one example: anything above is a hang, on a busy machine as well
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = ("os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.truncate", "os.chmod")
# What no file that is read may lead to.
RUNNING = ("os.system", "os.exec", "os.posix_spawn", "os.fork", "subprocess.Popen", "socket.connect", "webbrowser.open")

sys.dont_write_bytecode = True  # what is imported late is no write of what is read
seen: list[tuple[str, tuple[Any, ...]]] | None = None


def listen(event: str, arguments: tuple[Any, ...]) -> None:
    if seen is None:
        return
    writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING
    if writes or event in CHANGES or event in RUNNING:
        seen.append((event, arguments))


sys.addaudithook(listen)


@contextmanager
def watched(folder: Path) -> Iterator[None]:
    """Errors that a user is told pass; anything else does not, nor does a write outside `folder`, a program that is
    started, or a hang."""
    global seen

    def late(_signal: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"longer than {LONGEST} s")

    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    seen = []
    said = ""
    try:
        yield
    except UserError as error:
        said = str(error)
    finally:
        happened, seen = seen, None
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    outside = [each for each in happened if each[0] in RUNNING or not is_below(*each, folder)]
    assert not outside, outside
    assert "\n" not in said, f"more than one line: {said}"


def is_below(event: str, arguments: tuple[Any, ...], folder: Path) -> bool:
    """Whether the paths of an audited event lie in the folder."""
    if event in ("os.remove", "os.rmdir") and arguments[1] != -1:  # relative to a folder that was opened
        return True
    paths = arguments[:2] if event in ("os.rename", "os.link", "os.symlink") else arguments[:1]
    inner = [os.path.realpath(os.fsdecode(each)) for each in paths if not isinstance(each, int)]
    return all(f"{each}/".startswith(f"{folder}/") for each in inner)


class Target(NamedTuple):
    """A check of one example in an empty folder, what its examples are, and how many are enough for every day."""

    check: Callable[[Any, Path], None]
    examples: SearchStrategy[Any]
    enough: int


def fuzz(target: Target, folder: Path, count: int, derandomize: bool) -> int:
    """Check so many examples, the same each time if `derandomize`; how many there were."""
    number = 0

    @settings(
        max_examples=count,
        derandomize=derandomize,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(target.examples)
    def check(example: Any) -> None:
        nonlocal number
        number += 1
        own = folder / f"{number}"
        own.mkdir()
        try:
            target.check(example, own)
        finally:
            shutil.rmtree(own)

    check()
    return number


ODD_NAMES = ("", "../../x", "/etc/passwd", "${oc.env:HOME}", "=1+1", "<script>", "\0", "\x1b[2J", "\ud800", "a\nb")
ODD_TEXT = st.one_of(st.text(max_size=20), st.sampled_from([*ODD_NAMES, "a" * 300]))


def damaged_bytes(content: bytes) -> SearchStrategy[bytes]:
    """The content cut short, or with bytes changed, put in or taken out at a few places."""

    def edited(edits: list[tuple[int, int, bytes]]) -> bytes:
        damaged = bytearray(content)
        for place, removed, added in edits:
            damaged[place : place + removed] = added
        return bytes(damaged)

    size = len(content)
    place = st.one_of(st.integers(0, size), st.integers(0, min(size, 100)), st.integers(max(0, size - 100), size))
    edit = st.tuples(place, st.sampled_from([0, 1, 1, 1, 4, 64]), st.binary(max_size=8))
    return st.one_of(
        st.lists(edit, min_size=1, max_size=4).map(edited), st.integers(0, size).map(lambda end: content[:end])
    )
