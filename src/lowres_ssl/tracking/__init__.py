"""Define what a tracker receives: a module for each tool, found by its name.

A tool is imported when a run begins, not before. The session catches what it raises.
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
class TrackedRun:
    """Describe a run to a tool. `folder`: of the tool's files. `settings`: flat, without a path in them. `known_as`:
    the tool's own name for the run, if it began it before."""

    name: str
    folder: Path
    settings: Mapping[str, Any]
    known_as: str | None


class Tracker(ABC):
    """Send one run to one tool: `begin`, then the others in any order, then `end`; all in one thread."""

    module: ClassVar[str | None] = None  # the library, which the extra of the tool's name installs
    images: bool = False  # whether it receives pictures with images of the data set in them

    @abstractmethod
    def begin(self, run: TrackedRun) -> tuple[str, int]:
        """Return the tool's own name for the run, and the last epoch whose numbers it has already."""

    @abstractmethod
    def numbers(self, values: Mapping[str, float], epoch: int) -> None:
        """Send the numbers of an epoch."""

    @abstractmethod
    def scores(self, values: Mapping[str, float], epoch: int) -> None:
        """Send the scores of the finished encoder, of that many epochs; the same ones may have been sent before."""

    @abstractmethod
    def picture(self, name: str, pixels: Pixels, epoch: int) -> None:
        """Send pixels: uint8 [H, W, 3]."""

    @abstractmethod
    def end(self, finished: bool) -> str:
        """Wait until everything has arrived or is on disk; return a sentence on where, and how to look at it."""


def build_tracker(arguments: Mapping[str, Any]) -> Tracker | None:
    """Build the tool that `arguments` name and set, None for none.

    Raises `ConfigError` for what no tool takes, and where the library is not installed.
    """
    name = str(arguments.get("name"))
    if name == "none":
        return None
    settings = {key: value for key, value in arguments.items() if key != "name"}
    tracker = build(__name__, name, Tracker, settings, "tracker", "tracker")
    if tracker.module is not None and find_spec(tracker.module) is None:
        install = f"type pip install 'lowres-ssl[{name}]', or tracker=none"
        raise ConfigError(f"tracker={name}: {tracker.module} is not installed; {install}")
    return tracker
