"""Draw stored results: one module for each figure, found by its name; `_style` has what they share.

A figure reads the index, predictions and stored features. Only `samples` looks at images.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from lowres_ssl.registry import build
from lowres_ssl.reporting.fill_commands import format_training_command
from lowres_ssl.runs.filters import ResultFilters
from lowres_ssl.runs.query import ResultColumn, select_columns

if TYPE_CHECKING:  # takes a fifth of a second
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Stored:
    """Hold what figures are drawn from: rows of the index, filters, the folders of runs and of decoded images.

    `notes`: what could not be shown, or was left out.
    """

    results: pd.DataFrame
    filters: ResultFilters
    output_dir: Path
    store_dir: Path
    notes: list[str] = field(default_factory=list)

    def columns(self, filters: ResultFilters, entries: Sequence[str]) -> list[ResultColumn]:
        """Return the columns that are meant (see `select_columns`)."""
        columns = select_columns(self.results, filters, entries)
        self.notes.extend(note for column in columns for note in column.notes)
        return columns

    def command(self, *words: str) -> str:
        """Format `lowres-ssl pretrain` with these words, with the filters and with what all finished runs share."""
        typed = dict(word.split("=", 1) for word in words)
        return format_training_command(typed, self.results, self.filters, self.output_dir)


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
