"""How training went: loss and collapse monitors by epoch, of the runs that a chapter shows."""

import csv
import math
from pathlib import Path
from typing import Any

from lowres_ssl.report import Chapter
from lowres_ssl.runs import Run

SHOWN = ("loss", "embedding_std", "effective_rank")


def curves_of(chapter: Chapter) -> list[dict[str, Any]]:
    """One a trained run: entry, name, batch_size, seed, epoch [e], and of `SHOWN` those that it has, [e] each.

    A number that is none (a loss that burst) is None.
    """
    curves = []
    for method in chapter.entries().values():
        if method.cell.batch_size is None:
            continue
        for row in method.cell.rows.to_dict("records"):
            lines = history(Run(Path(row["result"]).parent))
            if lines:
                about = {"entry": method.entry, "name": method.name, "seed": int(row["seed"])}
                columns = {key: [number(line.get(key)) for line in lines] for key in ("epoch", *SHOWN)}
                curves.append(about | {"batch_size": method.cell.batch_size} | columns)
    return curves


def history(run: Run) -> list[dict[str, str]]:
    """The lines of `history.csv`; none if there is no such file."""
    try:
        with (run.folder / "history.csv").open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, csv.Error):
        return []


def number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return float(f"{value:.5g}") if math.isfinite(value) else None
