"""Markdown, CSV and LaTeX: their structure, and that nothing in a name can break out of its cell."""

import csv
import io
import re
from dataclasses import replace

import pandas as pd
import pytest

from lowres_ssl.reporting.tables.formats import (
    DASH,
    Block,
    Table,
    Text,
    escape_csv_cell,
    format_csv,
    format_frame_as_csv,
    format_latex,
    format_markdown,
)

SPECIAL = r"a|b_c & 50% #1 {x} \y $z$ ~^ <t> [u] *v* `w` _x_"

TABLE = Table(
    name="a_table",
    title="A title & more",
    heads=["", "accuracy", "95% interval"],
    blocks=[
        Block("Cells, k = 5", [[Text("DCL"), Text("0.842 ± 0.004", bold=True), Text("0.8 to 0.9†")]], ["seeds 0, 1"]),
        Block("Others", [[Text("VICReg"), Text(DASH), Text(DASH)], [Text("x"), Text("−0.1"), Text("1")]]),
    ],
    notes=["A note."],
    records=[{"label": "DCL", "value": 0.842, "difference": -0.5}],
    missing=["vicreg on others by knn"],
    commands=["lowres-ssl pretrain method=vicreg"],
)

MARKDOWN = """\
# A title & more

## Cells, k = 5

|     |          accuracy | 95% interval |
| --- | ----------------: | -----------: |
| DCL | **0.842 ± 0.004** |  0.8 to 0.9† |

seeds 0, 1

## Others

|        | accuracy | 95% interval |
| ------ | -------: | -----------: |
| VICReg |        – |            – |
| x      |     −0.1 |            1 |
"""

LATEX = r"""\begin{table}
  \centering
  \caption{A title \& more}
  \label{tab:a-table}
  \begin{tabular}{lrr}
    \toprule
     & accuracy & 95\% interval \\
    \midrule
    \multicolumn{3}{l}{Cells, k = 5} \\
    DCL & \textbf{0.842 $\pm$ 0.004} & 0.8 to 0.9$\dagger$ \\
    \midrule
    \multicolumn{3}{l}{Others} \\
    VICReg & -- & -- \\
    x & $-$0.1 & 1 \\
    \bottomrule
  \end{tabular}
  \par\footnotesize
  Cells, k = 5: seeds 0, 1
"""


def named(text: str) -> Table:
    """A table whose every text is this one."""
    return Table(
        name=text,
        title=text,
        heads=["", text],
        blocks=[Block(text, [[Text(text), Text(text, bold=True)]] * 2, [text])],
        notes=[text],
        records=[{"label": text, "value": -0.5}],
    )


def test_markdown_letter_for_letter() -> None:
    written = format_markdown(TABLE)
    assert written.startswith(MARKDOWN)
    assert written.endswith("```bash\nlowres-ssl pretrain method=vicreg\n```\n")
    for said in ("Bold: the best", "† fewer than 25 test groups", "A note."):
        assert said in written


def test_latex_letter_for_letter() -> None:
    written = format_latex(TABLE)
    assert written.startswith(LATEX)
    assert written.endswith("\\end{table}\n% Missing cells; what fills them:\n% lowres-ssl pretrain method=vicreg\n")


def test_csv_keeps_whole_numbers_whole_beside_empty_cells() -> None:
    table = replace(TABLE, records=[{"n": 64, "value": None}, {"n": None, "low": 0.5}])
    assert format_csv(table) == "n,value,low\n64,,\n,,0.5\n"


def balanced(written: str) -> bool:
    """Whether groups, dollars and environments close in LaTeX."""
    bare = re.sub(r"\\[\\{}$&#_%]", "", written)
    depth = 0
    for letter in bare:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if depth < 0:
            return False
    opened, closed = re.findall(r"\\begin\{(\w+)\}", bare), re.findall(r"\\end\{(\w+)\}", bare)
    return depth == 0 and bare.count("$") % 2 == 0 and opened == closed[::-1]


def rows_in(written: str) -> list[str]:
    """The lines of the tabular that end a row, but for the headings that span it."""
    inside = written.split("\\toprule")[1].split("\\bottomrule")[0]
    return [line for line in inside.splitlines() if line.endswith("\\\\") and "multicolumn" not in line]


@pytest.mark.parametrize("text", [SPECIAL, *SPECIAL.split(), "line\nbreak", "ends in \\"])
def test_latex_is_sound_whatever_the_names_are(text: str) -> None:
    written = format_latex(named(text))
    assert balanced(written)
    rows = rows_in(written)
    assert len(rows) == 3
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [1, 1, 1]
    assert not any(row.lstrip().startswith(("[", "*")) for row in rows if text.startswith("["))


@pytest.mark.parametrize("text", [SPECIAL, *SPECIAL.split(), "line\nbreak", "ends in \\"])
def test_markdown_is_sound_whatever_the_names_are(text: str) -> None:
    lines = [line for line in format_markdown(named(text)).splitlines() if line.startswith("|")]
    assert len(lines) == 4
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) for line in lines} == {3}
    assert len({len(line) for line in lines}) == 1
    without_escapes = re.sub(r"\\.", "", lines[2].replace("**", ""))
    assert not re.search(r"[*`<\[]|(?<!\w)_|_(?!\w)", without_escapes)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "\t=1", "\r=1", " =1", "\uff1d1+1", "\uff0b1"])
def test_text_that_a_spreadsheet_would_compute_gets_an_apostrophe(text: str) -> None:
    assert escape_csv_cell(text) == "'" + text.strip()
    frame = pd.DataFrame({"a": [text], "b": [-1.5]})
    assert list(csv.reader(io.StringIO(format_frame_as_csv(frame)))) == [["a", "b"], ["'" + text.strip(), "-1.5"]]
