"""Read the labels of a row: one cell, several labels in a cell, or a column a class with 1 in one of them."""

from collections.abc import Iterable, Sequence

from lowres_ssl.errors import DataError

NO_LABEL = frozenset({"", "nan", "n/a"})
UNCERTAIN = frozenset({"-1", "-1.0"})
TRUE_WORDS = frozenset({"1", "1.0", "true", "yes"})
FALSE_WORDS = frozenset({"0", "0.0", "false", "no"}) | NO_LABEL | UNCERTAIN
LABEL_SEPARATORS = "|;,"


def is_binary(cells: Iterable[str]) -> bool:
    """Whether cells are a column of a truth of 1 and 0, with blanks and -1 perhaps."""
    words = {cell.lower() for cell in cells}
    return words <= TRUE_WORDS | FALSE_WORDS and bool(words & TRUE_WORDS)


def list_true_columns(cells: Sequence[str], columns: Sequence[str], where: str) -> list[str]:
    """List the columns of a row that hold 1. Raises `DataError` for a cell that is no truth."""
    for cell, column in zip(cells, columns, strict=True):
        if cell.lower() not in TRUE_WORDS | FALSE_WORDS:
            raise DataError(f"{where}: {column} is {cell!r}, wanted 1 or 0 in each column of a class")
    return [column for cell, column in zip(cells, columns, strict=True) if cell.lower() in TRUE_WORDS]


class LabelCells:
    """Split the cells of a label column; all of them decide what separates labels, and whether -1 is a class.

    `|` separates always. `;` and `,` do where most cells with one are made of labels that others have alone, so that
    "adenoma, tubular" stays one. -1 means "uncertain" beside two other labels.
    """

    def __init__(self, cells: Iterable[str]) -> None:
        different = {strip_list(cell) for cell in cells}
        self.separator = next((each for each in LABEL_SEPARATORS if separates(each, different)), None)
        known = {cell for cell in different if cell.lower() not in NO_LABEL}
        self.missing = NO_LABEL | UNCERTAIN if len(known - UNCERTAIN) > 1 else NO_LABEL

    def is_missing(self, cell: str) -> bool:
        return cell.lower() in self.missing

    def split(self, cell: str) -> list[str]:
        """List the different labels in a cell."""
        text = strip_list(cell)
        parts = text.split(self.separator) if self.separator else [text]
        return list(dict.fromkeys(word for part in parts if (word := part.strip(" '\"")))) or [cell]


def strip_list(cell: str) -> str:
    """Write a list as Python prints it, ['a', 'b'], with | between its words."""
    return cell[1:-1].replace(",", "|") if cell[:1] + cell[-1:] == "[]" else cell


def separates(separator: str, cells: set[str]) -> bool:
    found = [[part.strip() for part in cell.split(separator)] for cell in cells if separator in cell]
    return bool(found) and (separator == "|" or 2 * sum(set(parts) <= cells for parts in found) > len(found))
