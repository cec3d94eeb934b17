"""Commands of ours run one after the other, each in a process of its own: what one of them dies of spares the rest."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lowres_ssl.terminal import say

COMMAND = (sys.executable, "-m", "lowres_ssl")
SECONDS_BETWEEN_LOOKS = 0.2
SECONDS_BETWEEN_LINES = 60.0


@dataclass(frozen=True)
class Ended:
    """How a command ended. `code`: its exit code, minus the signal's number if one killed it; `stopped`: by us, since
    it was given no more time."""

    code: int
    seconds: float
    stopped: bool = False


def run_command(words: Sequence[str], *, log: Path, limit: float | None = None) -> Ended:
    """`lowres-ssl WORDS`, its output added to the end of `log`; its progress goes to the terminal, if there is one,
    else the latest line of the log is shown every minute.

    After `limit` seconds it is asked to stop, as by Ctrl-C, and waited for: a training saves where it is. So it is if
    this process is interrupted or terminated, which is raised on afterwards; a second Ctrl-C waits for nothing.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    with log.open("ab") as file:
        file.write(f"\n$ lowres-ssl {' '.join(words)}\n".encode())
        file.flush()
        # A session of its own: a Ctrl-C on the terminal reaches this process alone, which passes it on once. A training
        # takes a second one for impatience.
        child = subprocess.Popen(
            [*COMMAND, *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=None if sys.stderr.isatty() else file,
            start_new_session=True,
        )
        try:
            stopped = not ends_within(child, started, limit, log)
            if stopped:
                tell(child, signal.SIGINT)
                child.wait()
        except KeyboardInterrupt as interruption:  # `Interrupted`, which SIGTERM raises, is one
            stop(child, signal.SIGTERM if getattr(interruption, "exit_code", 130) == 143 else signal.SIGINT)
            raise
    return Ended(child.returncode, time.monotonic() - started, stopped)


def ends_within(child: "subprocess.Popen[bytes]", started: float, limit: float | None, log: Path) -> bool:
    shown = started
    while child.poll() is None:
        now = time.monotonic()
        if limit is not None and now - started > limit:
            return False
        if now - shown > SECONDS_BETWEEN_LINES and not sys.stderr.isatty():
            say(f"    {last_words(log)}")
            shown = now
        time.sleep(SECONDS_BETWEEN_LOOKS)
    return True


def stop(child: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """Ask it to end and wait; at a second Ctrl-C end it."""
    tell(child, number)
    try:
        child.wait()
    except KeyboardInterrupt:
        tell(child, signal.SIGKILL)
        child.wait()


def tell(child: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    """The signal to the child and whatever it has started."""
    if child.poll() is None:
        os.killpg(child.pid, number)


def last_words(log: Path) -> str:
    """The last line of what was logged; nothing if there is none."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "")
