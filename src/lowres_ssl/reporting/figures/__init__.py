"""Draw stored results: one module for each figure, found by its name; `_style` has what they share.

A figure reads the index, predictions and stored features. Only `samples` looks at images.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lowres_ssl.registry import build
from lowres_ssl.reporting.stored import Stored

if TYPE_CHECKING:  # takes a fifth of a second
    from matplotlib.figure import Figure


class Picture(ABC):
    """Draw one kind of figure. The constructor takes the keys of `conf/figure/<name>.yaml`."""

    @abstractmethod
    def draw(self, stored: Stored) -> "Mapping[str, Figure]":
        """Return figures by the name of their file, which has no ending.

        Raises `DataError` with the command that makes them if there are no runs for it, and `ConfigError` if runs
        disagree that would stand in one panel.
        """


def build_picture(name: str, arguments: Mapping[str, Any]) -> Picture:
    """Build the figure in `figures/<name>.py`. Raises `ConfigError` if there is none or `arguments` do not fit it."""
    return build(__name__, name, Picture, arguments, f"figure.{name}", "figure")
