"""Who takes part: one file each, with `enter(case)`, which prepares everything and returns one epoch of so many steps.

An epoch is taken from its first batch to its last step done, with its data made in it: nothing is made ahead of it.
"""

from collections.abc import Callable
from dataclasses import dataclass

from lowres_ssl.device import CHANNELS_LAST


@dataclass(frozen=True)
class Case:
    """What all do alike. `overrides`: of `lowres-ssl pretrain`. `workers` of a DataLoader and the `layout` in memory
    are of whoever is tried with several."""

    overrides: tuple[str, ...]
    method: str
    backbone: str
    image_size: int
    batch_size: int
    device: str
    workers: int = 0
    layout: str = CHANNELS_LAST


@dataclass(frozen=True)
class Taken:
    """Seconds of an epoch's steps; `with_end`: and of what follows them in each epoch, where somebody has that."""

    steps: float
    with_end: float | None = None


Epoch = Callable[[int], Taken]
