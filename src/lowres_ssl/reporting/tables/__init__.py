"""What a table is once its numbers are known: blocks of lines, records, what is missing. No format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

DASH = "–"
UNRELIABLE = "†"
SIGNS = {"learnt_nothing": "§", "collapsed": "‡"}  # of the keys of `results.collapse.MARKS`

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Text:
    """What stands in a cell of a table, as it is read: no escapes, no markup."""

    text: str
    bold: bool = False


@dataclass(frozen=True)
class Block:
    """Lines under one heading; each as long as the table's heads. `footer`: where the numbers come from."""

    heading: str
    lines: Sequence[Sequence[Text]]
    footer: Sequence[str] = ()


OURS = ("value", "validation_accuracy")  # of a record: a score, or that of a choice


@dataclass(frozen=True)
class Table:
    """`records`: a number with all that is known of it, one each, all with the same keys.

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
        """Whether a number in it is ours: published ones stand there anyway."""
        return any(record.get(key) is not None for record in self.records for key in OURS)
