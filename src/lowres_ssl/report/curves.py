"""How training went: loss and collapse monitors by epoch, of the runs that a chapter shows."""

import math
from pathlib import Path
from typing import Any

from lowres_ssl.errors import CheckpointError
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


def history(run: Run) -> list[dict[str, float]]:
    """Its lines; none of a history that is damaged or gone, which the notes tell."""
    try:
        return run.read_history(run.description())
    except CheckpointError:
        return []


def number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")
