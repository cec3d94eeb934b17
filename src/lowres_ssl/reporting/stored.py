"""Read the stored results that a command shows, and write the command that makes more of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pandas as pd

from lowres_ssl.console import log_warning
from lowres_ssl.reporting.fill_commands import format_training_command
from lowres_ssl.runs.filters import ResultFilters, explain_unknown_names
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.query import ResultColumn, select_columns


@dataclass(frozen=True)
class Stored:
    """Hold what tables, figures and the report are made from: rows of the index, filters, the folders of runs and of
    decoded images. `notes`: what could not be shown, or was left out.
    """

    results: pd.DataFrame
    filters: ResultFilters
    output_dir: Path
    store_dir: Path
    notes: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, config: Any, store_dir: str = "") -> Self:
        """Read the index for a command, by its config. Raises `ConfigError` for a filter that nothing can have."""
        results, notes = read_index(Path(config.output_dir))
        filters = ResultFilters.of(config.filters)
        notes += explain_unknown_names(filters, results)
        return cls(results, filters, Path(config.output_dir), Path(store_dir), notes)

    def log_notes(self) -> None:
        """Log each note once, and forget them."""
        for note in dict.fromkeys(self.notes):
            log_warning(note)
        self.notes.clear()

    def columns(self, filters: ResultFilters, entries: Sequence[str]) -> list[ResultColumn]:
        """Return the columns that are meant (see `select_columns`)."""
        columns = select_columns(self.results, filters, entries)
        self.notes.extend(note for column in columns for note in column.notes)
        return columns

    def command(self, *words: str) -> str:
        """Format `lowres-ssl pretrain` with these words, with the filters and with what all finished runs share."""
        typed = dict(word.split("=", 1) for word in words)
        return format_training_command(typed, self.results, self.filters, self.output_dir)
