"""Lock a run, a store or a data set, so that no two processes make the same thing.

A lock is a file beside what it guards. It is created atomically and holds host and process; its time of change is a
heartbeat. It needs no locks of the file system, so it works where several machines share one
(`filelock.SoftFileLease`).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import SoftFileLease, Timeout

from lowres_ssl.console import log_info
from lowres_ssl.errors import LockLostError

# Seconds. A waiting process takes over from one of this machine as soon as that is gone, and from any after this long
# without a heartbeat. NFS may show a heartbeat a minute late.
EXPIRY_SECONDS = 120.0
HEARTBEAT_SECONDS = 15.0
POLL_SECONDS = 1.0
MAX_LOCK_NAME = 60  # of the name that is guarded: four bytes a letter leave room in the 255 of a file name


class Lock:
    """Let the process that holds a lock ask whether it still does."""

    def __init__(self, lease: SoftFileLease, name: str) -> None:
        self.lease = lease
        self.name = name

    def check(self) -> None:
        """Call this before writing. Raises `LockLostError` if another process took over, since this one stood still."""
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
    """Keep every other process that locks `target`, a file or folder that may be missing, waiting during the block.

    Waits for another process that holds the lock, and prints once which. Within one thread it may be nested. `name`:
    what messages call it. Raises `OSError` where nothing can be written beside `target`.
    """
    lease = SoftFileLease(
        str(get_lock_path(target)),
        lease_duration=EXPIRY_SECONDS,
        heartbeat_interval=HEARTBEAT_SECONDS,
        is_singleton=True,
    )
    try:
        lease.acquire(timeout=0)
    except Timeout:
        owner = lease.owner
        if owner is not None:  # else it was released a moment ago
            log_info(
                f"{name}: {owner.hostname}, process {owner.pid}, works on it; waiting for that to end, or to be silent "
                f"for {EXPIRY_SECONDS:g} s"
            )
        lease.acquire(poll_interval=POLL_SECONDS)
    try:
        yield Lock(lease, name)
    finally:
        lease.release()


def get_lock_path(target: Path) -> Path:
    """Name the file of a lock: beside `target`, so that it outlives what is removed and made again."""
    target = Path(os.path.realpath(target))
    return target.parent / f".{target.name[-MAX_LOCK_NAME:]}.lock"
