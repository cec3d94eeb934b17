"""Trackers: the tools in which people watch their runs. One file a tool; this one holds what a tool is told.

A tool is imported when a run begins, not before. What it raises is caught by `watching`, which calls it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.errors import ConfigError
from lowres_ssl.registry import build

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Told:
    """A run as a tool is told of it. `folder`: below which the tool's files go. `settings`: flat, without a path in
    them. `known_as`: what the tool called the run when it began it, if it did."""

    name: str
    folder: Path
    settings: Mapping[str, Any]
    known_as: str | None


@dataclass(frozen=True)
class Begun:
    """What a tool calls the run, and up to which epoch it has its numbers already."""

    known_as: str
    epochs: int = 0


class Tracker(ABC):
    """One tool. It is given one run: `begin`, then the others in any order, then `end`; all by one thread."""

    module: ClassVar[str | None] = None  # what has to be there to be imported
    extra: ClassVar[str | None] = None  # what brings it
    images: bool = False  # whether it is given pictures with images of the data set in them

    @abstractmethod
    def begin(self, run: Told) -> Begun: ...

    @abstractmethod
    def numbers(self, values: Mapping[str, float], epoch: int) -> None:
        """What an epoch came to."""

    @abstractmethod
    def scores(self, values: Mapping[str, float], epoch: int) -> None:
        """What the finished encoder, of that many epochs, came to; the same ones may have been given before."""

    @abstractmethod
    def picture(self, name: str, pixels: Pixels, epoch: int) -> None:
        """Pixels: uint8 [H, W, 3]."""

    @abstractmethod
    def end(self, finished: bool) -> str:
        """Everything has arrived, or at least been written down; a sentence on where, and how to look at it."""


def build_tracker(arguments: Mapping[str, Any]) -> Tracker | None:
    """The tool that `arguments` name and set, None for none.

    Raises `ConfigError` for what no tool takes, and where the library is not installed.
    """
    name = str(arguments.get("name"))
    if name == "none":
        return None
    settings = {key: value for key, value in arguments.items() if key != "name"}
    tracker = build(__name__, name, Tracker, settings, "tracker", "tracker")
    if tracker.module is not None and find_spec(tracker.module) is None:
        raise ConfigError(
            f"tracker={name}: {tracker.module} is not installed; type pip install 'lowres-ssl[{tracker.extra}]', "
            "or tracker=none"
        )
    return tracker
