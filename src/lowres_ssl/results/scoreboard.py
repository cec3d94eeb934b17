"""What runs came to, as a table for the terminal: the method, random initialisation and the largest class."""

import sys
from collections.abc import Sequence
from typing import Any

from lowres_ssl.terminal import styled

Results = Sequence[dict[str, Any]]
COLUMNS = (("accuracy", "accuracy"), ("weighted_f1", "weighted F1"))
LARGEST = "always the largest class"


def scoreboard(rows: Sequence[tuple[str, Results]], title: str) -> str:
    """A line a row (its name, one result a probe), two numbers a probe of the first row; a dash where another row has
    no such probe. On a terminal the best number of a column is bold.

    The last line is the classifier that always answers with the largest class of the test set: what an accuracy has to
    be measured against.
    """
    results = rows[0][1]
    lines: list[tuple[str, list[list[float] | None]]] = []
    for name, own in rows:
        scored = {result["label"]: [result["test"][key] for key, _ in COLUMNS] for result in own}
        lines.append((name, [scored.get(result["label"]) for result in results]))
    lines.append((LARGEST, [largest_class(results[0])] * len(results)))
    first = max(len(name) for name, _ in lines) + 2
    # A probe's label stands above its two columns, so half of it has to fit into one.
    halves = [-(-len(result["label"]) // len(COLUMNS)) for result in results]
    width = max([len(heading) for _, heading in COLUMNS] + halves) + 2
    images, split = results[0]["images"], results[0]["split"]
    text = [
        title,
        f"{images['train']} images train, {images['validation']} validate, {images['test']} test "
        f"(split {split['kind']}, split_seed {split['seed']}); scores on the test images:",
        "",
        " " * first + "".join(result["label"].rjust(len(COLUMNS) * width) for result in results),
        " " * first + "".join(heading.rjust(width) for _ in results for _, heading in COLUMNS),
    ]
    columns = list(zip(*(cells_of(cells) for _, cells in lines), strict=True))
    best = [max(value for value in column if value != "-") for column in columns]
    for name, cells in lines:
        shown = zip(cells_of(cells), best, strict=True)
        text.append(name.ljust(first) + "".join(cell_of(value, width, value == most) for value, most in shown))
    return "\n".join(text)


def cells_of(cells: Sequence[list[float] | None]) -> list[str]:
    """A line's numbers as they are shown, all columns of all probes."""
    return [text for cell in cells for text in (["-"] * len(COLUMNS) if cell is None else [f"{n:.3f}" for n in cell])]


def cell_of(value: str, width: int, is_best: bool) -> str:
    """Padded first, since a terminal shows nothing of what makes it bold."""
    return " " * (width - len(value)) + (styled(value, "best", sys.stdout) if is_best else value)


def largest_class(result: dict[str, Any]) -> list[float]:
    """Accuracy and weighted F1 of always answering with the class that has the most test images."""
    counts = [sum(row) for row in result["test"]["confusion_matrix"]]
    share = max(counts) / sum(counts)
    # Its precision is its share, its recall 1; every other class has an F1 of 0.
    return [share, share * 2 * share / (1 + share)]
