"""Who works on what: a lease beside a run, a store or a data set, so that no two processes make the same thing.

A lease is a file that is created atomically and holds host and process; its time of change is a heartbeat. It needs
no locks of the file system, so it works where several machines share one (`filelock.SoftFileLease`).
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from filelock import SoftFileLease, Timeout

from lowres_ssl.console import log_info
from lowres_ssl.errors import LockLostError
from lowres_ssl.io.atomic import write_json

# Seconds. Whoever waits takes over from a process of this machine as soon as it is gone, and from any after this long
# without a heartbeat. NFS may show a heartbeat a minute late.
EXPIRY_SECONDS = 120.0
HEARTBEAT_SECONDS = 15.0
POLL_SECONDS = 1.0
MAX_LOCK_NAME = 60  # of the name that is guarded: four bytes a letter leave room in the 255 of a file name


class Lock:
    """What a process that holds a lease can ask of it."""

    def __init__(self, lease: SoftFileLease, name: str) -> None:
        self.lease = lease
        self.name = name

    def check(self) -> None:
        """Ask before writing. Raises `LockLostError` if another process took over, since this one stood still."""
        owner = self.lease.owner
        taken = owner is not None and owner.token != self.lease.token
        if taken or self.lease.compromise is not None:
            by = f" by {owner.hostname}, process {owner.pid}" if taken and owner is not None else ""
            raise LockLostError(
                f"{self.name}: taken over{by}, since this process stood still for more than {EXPIRY_SECONDS:g} s; "
                "type the same command again to have its result"
            )


@contextmanager
def lock(target: Path, name: str) -> Iterator[Lock]:
    """Nobody else who asks for `target`, a file or folder that need not be there, works on it during the block.

    Waits, and prints once for whom, as long as another process does. Within one thread it may be nested. `name`: what
    messages call it. Raises `OSError` where nothing can be written beside `target`.
    """
    path = get_lock_path(target)
    lease = SoftFileLease(
        str(path), lease_duration=EXPIRY_SECONDS, heartbeat_interval=HEARTBEAT_SECONDS, is_singleton=True
    )
    outermost = not lease.is_locked
    try:
        lease.acquire(timeout=0)
    except Timeout:
        report_lock_holder(lease, path, name)
        lease.acquire(poll_interval=POLL_SECONDS)
    try:
        if outermost:
            write_since(lease, path)
        yield Lock(lease, name)
    finally:
        if outermost and lease.owner is not None and lease.owner.token == lease.token:
            with suppress(OSError):
                get_since_path(path).unlink()
        lease.release()


def get_lock_path(target: Path) -> Path:
    """Where the lease of `target` is: beside it, so that it outlives what is removed and made again."""
    target = Path(os.path.realpath(target))
    return target.parent / f".{target.name[-MAX_LOCK_NAME:]}.lock"


def report_lock_holder(lease: SoftFileLease, path: Path, name: str) -> None:
    owner = lease.owner
    if owner is not None:  # else it was let go a moment ago
        since = read_since(path, owner.token)
        waiting = f"waiting for that to end, or to be silent for {EXPIRY_SECONDS:g} s"
        log_info(f"{name}: {owner.hostname}, process {owner.pid}, works on it{since}; {waiting}")


def get_since_path(path: Path) -> Path:
    """Since when a lease is held stands beside it: its own file has only the time of the last heartbeat."""
    return path.with_suffix(".since")


def write_since(lease: SoftFileLease, path: Path) -> None:
    with suppress(OSError):  # it is only for the reader of a message
        now = datetime.now().astimezone().isoformat(sep=" ", timespec="seconds")
        write_json(get_since_path(path), {"token": lease.token, "since": now})


def read_since(path: Path, token: str | None) -> str:
    """ " since ...", of the holder with this token; nothing if that is not known."""
    try:
        content = json.loads(get_since_path(path).read_text(encoding="utf-8"))
        return f" since {content['since']}" if content["token"] == token else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""
