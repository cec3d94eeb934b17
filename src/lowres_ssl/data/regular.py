"""Whether a path may be opened: opening a pipe waits for somebody who writes, perhaps for ever."""

from pathlib import Path
from stat import S_ISREG


def check_regular(path: Path) -> None:
    """Raises `ValueError` for a pipe, a socket or a device, or a link to one; `OSError` for what is not there."""
    if not S_ISREG(path.stat().st_mode):
        raise ValueError("it is a pipe, a socket or a device, wanted a file")
