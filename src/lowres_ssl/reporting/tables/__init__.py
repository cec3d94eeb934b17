"""Hold a table once its numbers are known: blocks of lines, records, missing cells. No format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DASH = "–"

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Text:
    """Hold the text of a table's cell as it is read: no escapes, no markup."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class Block:
    """Hold lines under one heading, each as long as the table's heads. `footer`: where the numbers come from."""

    heading: str
    lines: Sequence[Sequence[Text]]
    footer: Sequence[str] = ()


@dataclass(frozen=True)
class Table:
    """Hold blocks to read, and records for programs: one for each number, all with the same keys.

    `missing`: cells without a result. `commands`: what to type to fill them.
    """

    name: str
    title: str
    heads: Sequence[str]
    blocks: Sequence[Block]
    notes: Sequence[str] = ()
    records: Sequence[Record] = ()
    missing: Sequence[str] = ()
    commands: Sequence[str] = ()

    @property
    def has_results(self) -> bool:
        """Whether a score or a choice in it is ours: published ones stand there anyway."""
        return any(record.get(key) is not None for record in self.records for key in ("value", "validation_accuracy"))
