"""Hold a table once its numbers are known, and format it as Markdown, CSV and LaTeX (booktabs)."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from lowres_ssl.reporting.cells import SIGNS, UNRELIABLE
from lowres_ssl.runs.history import RUN_MARKS
from lowres_ssl.stats.intervals import MIN_RELIABLE_GROUPS

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


# How spreadsheets know a formula. Some take these after a tab or a line break, too.
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n")


def escape_formula(text: str) -> str:
    """Put an apostrophe before what a spreadsheet would compute. The signs count in their wide forms as well, which
    some spreadsheets read like the others."""
    return f"'{text}" if unicodedata.normalize("NFKC", text[:1]).startswith(FORMULA_SIGNS) else text


UNRELIABLE_NOTE = (
    f"{UNRELIABLE} fewer than {MIN_RELIABLE_GROUPS} test groups, "
    "or so unequal ones that they tell no more, of balanced "
    "accuracy and macro F1 those of the smallest class: not reliable."
)
MARK_NOTES = {
    sign: f"{sign} {RUN_MARKS[key].word}, for one seed at least: {RUN_MARKS[key].meaning}."
    for key, sign in SIGNS.items()
}
SCORES_NOTE = (
    "Ours: mean over the seeds ± their standard deviation where there are several, with the 95% interval that other "
    "test groups and other seeds leave open (of one seed it knows nothing of other seeds)."
)
BEST_NOTE = "Bold: the best of the rows that are compared, baselines included; rows with § are not."
FILL_HINT = "Missing cells; what fills them:"

# An underscore inside a word is no emphasis.
MARKDOWN_SPECIAL = re.compile(r"([\\`*\[\]<>|#~$]|(?<!\w)_|_(?!\w))")
LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # at the beginning of a row it would be an argument of the line break before it
    "]": "{]}",
    "±": r"$\pm$",
    "−": r"$-$",
    "×": r"$\times$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "§": r"\S{}",
    "–": "--",
}


def format_markdown(table: Table) -> str:
    """Align the pipes, so that it can be read as it is; put the commands in a code block."""
    parts = [f"# {escape_markdown(table.title)}"]
    for block in table.blocks:
        parts += [f"## {escape_markdown(block.heading)}", format_markdown_table(table.heads, block.lines)]
        parts += [escape_markdown(line) for line in block.footer]
    parts += [escape_markdown(line) for line in list_table_notes(table)]
    if table.commands:
        parts += [FILL_HINT, "```bash\n" + "\n".join(table.commands) + "\n```"]
    return "\n\n".join(parts) + "\n"


def format_markdown_table(heads: Sequence[str], lines: Sequence[Sequence[Text]]) -> str:
    rows = [[escape_markdown(head) for head in heads]]
    rows += [
        [f"**{escape_markdown(cell.text)}**" if cell.bold else escape_markdown(cell.text) for cell in line]
        for line in lines
    ]
    widths = [max(3, *(len(cell) for cell in column)) for column in zip(*rows, strict=True)]
    padded = [
        [cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(sized)]
        for sized in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    rule = ["-" * width if place == 0 else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [padded[0], rule, *padded[1:]])


def escape_markdown(text: str) -> str:
    return MARKDOWN_SPECIAL.sub(r"\\\1", join_lines(text))


def format_latex(table: Table) -> str:
    """Write a `table` with one `tabular`; needs booktabs. The commands are comments."""
    columns = len(table.heads)
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escape_latex(table.title)}}}",
        rf"  \label{{tab:{re.sub(r'[^A-Za-z0-9-]+', '-', table.name)}}}",
        rf"  \begin{{tabular}}{{l{'r' * (columns - 1)}}}",
        r"    \toprule",
        f"    {' & '.join(map(escape_latex, table.heads))} \\\\",
    ]
    for block in table.blocks:
        lines += [r"    \midrule", rf"    \multicolumn{{{columns}}}{{l}}{{{escape_latex(block.heading)}}} \\"]
        for line in block.lines:
            cells = [
                rf"\textbf{{{escape_latex(cell.text)}}}" if cell.bold else escape_latex(cell.text) for cell in line
            ]
            lines.append(f"    {' & '.join(cells)} \\\\")
    lines += [r"    \bottomrule", r"  \end{tabular}"]
    notes = [f"{block.heading}: {line}" for block in table.blocks for line in block.footer] + list_table_notes(table)
    lines += [r"  \par\footnotesize", *(f"  {escape_latex(line)}" for line in notes), r"\end{table}"]
    if table.commands:
        lines += [f"% {FILL_HINT}", *(f"% {join_lines(command)}" for command in table.commands)]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    return "".join(LATEX_ESCAPES.get(letter, letter) for letter in join_lines(text))


def format_csv(table: Table) -> str:
    """Write a row for each number, with all that is known of it."""
    records = [{key: escape_csv_cell(value) for key, value in record.items()} for record in table.records]
    return str(pd.DataFrame(records, dtype=object).to_csv(index=False))  # as objects whole numbers stay whole


def escape_csv_cell(value: object) -> object:
    """Put a text in one line that no spreadsheet computes; leave numbers as they are."""
    return escape_formula(join_lines(value)) if isinstance(value, str) else value


def format_frame_as_csv(frame: pd.DataFrame) -> str:
    """Write a row a line, without the index; its heads are ours."""
    return str(frame.map(escape_csv_cell).to_csv(index=False))


def list_table_notes(table: Table) -> list[str]:
    """List notes that hold for every block, and the table's own."""
    texts = [cell for block in table.blocks for line in block.lines for cell in line]
    lines = [SCORES_NOTE] if any("interval" in head for head in table.heads) else []
    lines += [BEST_NOTE] if any(cell.bold for cell in texts) else []
    lines += [UNRELIABLE_NOTE] if any(UNRELIABLE in cell.text for cell in texts) else []
    lines += [note for sign, note in MARK_NOTES.items() if any(sign in cell.text for cell in texts)]
    return [*lines, *table.notes]


def join_lines(text: str) -> str:
    return " ".join(text.split())
