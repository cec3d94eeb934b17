"""Work on many files at once, in threads (Pillow and hashlib let go of the interpreter), with progress on stderr."""

import os
import warnings
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from stat import S_ISREG
from typing import TypeVar

from lowres_ssl.console import ImageProgress


def check_regular(path: Path) -> None:
    """Raises `ValueError` for a pipe, a socket or a device, or a link to one; `OSError` for what is not there."""
    if not S_ISREG(path.stat().st_mode):
        raise ValueError("it is a pipe, a socket or a device, wanted a file")


Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], *, label: str, progress: bool
) -> Generator[Result, None, None]:
    """`function` of each item, in order. Work not begun is dropped when the caller stops early or is interrupted.

    A terminal gets a bar, anything else a line at the start and one now and then, `progress=False` nothing.
    """
    counted = ImageProgress(label, len(items), first=f"{label}: {len(items)}", wanted=progress and bool(items))
    # What Pillow warns of (odd tags, an image of 100 megapixels) is no matter here; what it cannot read it raises.
    with warnings.catch_warnings(), counted:
        warnings.simplefilter("ignore")
        pool = ThreadPoolExecutor(max_workers=min(32, (os.cpu_count() or 1) + 1))
        try:
            for result in pool.map(function, items):
                counted.add(1)
                yield result
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
