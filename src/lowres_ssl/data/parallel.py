"""Work on many files at once, in threads (Pillow and hashlib let go of the interpreter), with progress on stderr."""

import os
import sys
import warnings
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    function: Callable[[Item], Result], items: Sequence[Item], *, label: str, progress: bool
) -> Generator[Result, None, None]:
    """`function` of each item, in order. Work not begun is dropped when the caller stops early or is interrupted.

    A terminal gets a bar, anything else one line at the start, `progress=False` nothing.
    """
    terminal = sys.stderr.isatty()
    if progress and items and not terminal:
        print(f"{label}: {len(items)}", file=sys.stderr, flush=True)
    # What Pillow warns of (odd tags, an image of 100 megapixels) is no matter here; what it cannot read it raises.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pool = ThreadPoolExecutor(max_workers=min(32, (os.cpu_count() or 1) + 1))
        try:
            yield from tqdm(
                pool.map(function, items),
                total=len(items),
                desc=label,
                unit="image",
                disable=not (progress and terminal),
                leave=False,
            )
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
