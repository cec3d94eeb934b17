"""Draw stored results: one module for each figure, found by its name; `_style` has what they share.

A figure reads the index, predictions and stored features. Only `samples` looks at images.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lowres_ssl.config.overrides import format_command
from lowres_ssl.registry import build
from lowres_ssl.reporting.tables.fill_commands import build_neighbour_dataset, build_output_override, get_common_value
from lowres_ssl.runs.query import ResultFilters

if TYPE_CHECKING:  # takes a fifth of a second
    from matplotlib.figure import Figure

TYPED = ("recipe", "backbone", "image_size", "epochs", "split", "split_seed")
IN_COMMON = ("backbone", "image_size", "split")


@dataclass(frozen=True)
class Stored:
    """Hold what figures are drawn from: rows of the index, filters, the folders of runs and of decoded images."""

    results: pd.DataFrame
    filters: ResultFilters
    output_dir: Path
    store_dir: Path

    def command(self, *words: str) -> str:
        """Format `lowres-ssl pretrain` with these words, with the filters and with what all finished runs share."""
        own = self.results[self.results["state"] == "finished"]
        dataset = self.filters.dataset or get_common_value(own["dataset"])
        own = own[own["dataset"] == dataset]
        wanted = {key: getattr(self.filters, key) for key in TYPED}
        wanted |= {key: get_common_value(own[key]) for key in IN_COMMON if wanted[key] is None}
        filters = [f"{key}={value}" for key, value in wanted.items() if value is not None]
        if dataset is not None:
            filters = [*build_neighbour_dataset(dataset, own, self.output_dir), *filters]
        sweep = ["-m"] if any("," in word for word in words) else []
        return format_command("pretrain", *sweep, *words, *filters, *build_output_override(self.output_dir))


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
