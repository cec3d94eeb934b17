"""A table as Markdown, CSV and LaTeX (booktabs). What is special in a format is escaped; nothing is computed here."""

import csv
import io
import re
from collections.abc import Sequence

import pandas as pd

from lowres_ssl.files.spreadsheets import inert
from lowres_ssl.results.collapse import MARKS
from lowres_ssl.statistics.uncertainty import RELIABLE_GROUPS
from lowres_ssl.tables import SIGNS, UNRELIABLE, Table, Text

UNRELIABLE_NOTE = (
    f"{UNRELIABLE} fewer than {RELIABLE_GROUPS} test groups, or so unequal ones that they tell no more, of balanced "
    "accuracy and macro F1 those of the smallest class: not reliable."
)
MARK_NOTES = {
    sign: f"{sign} {MARKS[key].word}, for one seed at least: {MARKS[key].meaning}." for key, sign in SIGNS.items()
}
READING = (
    "Ours: mean over the seeds ± their standard deviation where there are several, with the 95% interval that other "
    "test groups and other seeds leave open (of one seed it knows nothing of other seeds)."
)
BEST = "Bold: the best of the rows that are compared, baselines included."
TO_FILL = "Missing cells; what fills them:"

# An underscore inside a word is no emphasis.
MARKDOWN = re.compile(r"([\\`*\[\]<>|#~$]|(?<!\w)_|_(?!\w))")
LATEX = {
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


def markdown(table: Table) -> str:
    """Pipes in line, so that it can be read as it is; the commands in a code block."""
    parts = [f"# {escaped(table.title)}"]
    for block in table.blocks:
        parts += [f"## {escaped(block.heading)}", markdown_lines(table.heads, block.lines)]
        parts += [escaped(line) for line in block.footer]
    parts += [escaped(line) for line in footer(table)]
    if table.commands:
        parts += [TO_FILL, "```bash\n" + "\n".join(table.commands) + "\n```"]
    return "\n\n".join(parts) + "\n"


def markdown_lines(heads: Sequence[str], lines: Sequence[Sequence[Text]]) -> str:
    rows = [[escaped(head) for head in heads]]
    rows += [[f"**{escaped(cell.text)}**" if cell.bold else escaped(cell.text) for cell in line] for line in lines]
    widths = [max(3, *(len(cell) for cell in column)) for column in zip(*rows, strict=True)]
    padded = [
        [cell.ljust(width) if place == 0 else cell.rjust(width) for place, (cell, width) in enumerate(sized)]
        for sized in (list(zip(row, widths, strict=True)) for row in rows)
    ]
    rule = ["-" * width if place == 0 else "-" * (width - 1) + ":" for place, width in enumerate(widths)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [padded[0], rule, *padded[1:]])


def escaped(text: str) -> str:
    return MARKDOWN.sub(r"\\\1", one_line(text))


def latex(table: Table) -> str:
    """A `table` with one `tabular`; needs booktabs. The commands are comments."""
    columns = len(table.heads)
    lines = [
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{tex(table.title)}}}",
        rf"  \label{{tab:{re.sub(r'[^A-Za-z0-9-]+', '-', table.name)}}}",
        rf"  \begin{{tabular}}{{l{'r' * (columns - 1)}}}",
        r"    \toprule",
        f"    {' & '.join(map(tex, table.heads))} \\\\",
    ]
    for block in table.blocks:
        lines += [r"    \midrule", rf"    \multicolumn{{{columns}}}{{l}}{{{tex(block.heading)}}} \\"]
        for line in block.lines:
            cells = [rf"\textbf{{{tex(cell.text)}}}" if cell.bold else tex(cell.text) for cell in line]
            lines.append(f"    {' & '.join(cells)} \\\\")
    lines += [r"    \bottomrule", r"  \end{tabular}"]
    said = [f"{block.heading}: {line}" for block in table.blocks for line in block.footer] + footer(table)
    lines += [r"  \par\footnotesize", *(f"  {tex(line)}" for line in said), r"\end{table}"]
    if table.commands:
        lines += [f"% {TO_FILL}", *(f"% {one_line(command)}" for command in table.commands)]
    return "\n".join(lines) + "\n"


def tex(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in one_line(text))


def comma_separated(table: Table) -> str:
    """A row a number, with all that is known of it."""
    keys = list(dict.fromkeys(key for record in table.records for key in record))
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=keys, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: neutral(value) for key, value in record.items()} for record in table.records)
    return text.getvalue()


def neutral(value: object) -> object:
    """A text in one line that no spreadsheet computes; numbers as they are."""
    return inert(one_line(value)) if isinstance(value, str) else value


def comma_separated_frame(frame: pd.DataFrame) -> str:
    """As `comma_separated`, of a frame; its heads are ours."""
    return str(frame.map(neutral).to_csv(index=False))


def footer(table: Table) -> list[str]:
    """What is true of every block, and the table's own notes."""
    texts = [cell for block in table.blocks for line in block.lines for cell in line]
    lines = [READING] if any("interval" in head for head in table.heads) else []
    lines += [BEST] if any(cell.bold for cell in texts) else []
    lines += [UNRELIABLE_NOTE] if any(UNRELIABLE in cell.text for cell in texts) else []
    lines += [note for sign, note in MARK_NOTES.items() if any(sign in cell.text for cell in texts)]
    return [*lines, *table.notes]


def one_line(text: str) -> str:
    return " ".join(text.split())
