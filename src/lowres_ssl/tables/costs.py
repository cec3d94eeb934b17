"""Compute what a recipe costs against the first one of its table: differences with their intervals."""

from dataclasses import dataclass, replace
from typing import Any

from lowres_ssl.results.tested import check_same_images
from lowres_ssl.schemas.table import TableConfig
from lowres_ssl.statistics.comparison import Difference, Part, Scored, Term, contrast
from lowres_ssl.tables.scores import Line


@dataclass(frozen=True, order=True)
class Axis:
    """What a column of this table stands for."""

    split: str
    split_seed: int
    recipe: str


# By axis, label of the line and metric.
Costs = dict[tuple[Axis, str, str], Difference]


def costs_of(table: TableConfig, lines: dict[Axis, dict[str, Line]]) -> Costs:
    """The differences to the first recipe on the same split; none for that recipe itself, or where one of the two is
    missing."""
    costs: Costs = {}
    for axis, own in lines.items():
        others = lines.get(replace(axis, recipe=table.recipes[0]), {})
        if axis.recipe == table.recipes[0]:
            continue
        for label, line in own.items():
            other = others.get(label)
            if line.found is None or other is None or other.found is None:
                continue
            read = [(each.cell, each.tested) for each in (line.found, other.found)]
            check_same_images(read)
            ours, theirs = (said.scored(cell.seeds) for cell, said in read)
            for metric in table.metrics:
                costs[axis, label, metric] = difference_between(ours, theirs, metric)
    return costs


def difference_between(ours: Scored, theirs: Scored, metric: str) -> Difference:
    """Ours minus theirs, of the same method under two recipes.

    Where both have the same seeds they are paired: under one seed both began with the same encoder, and random
    initialisation is the very same one, so that its seeds' spread is no error of the difference. With other seeds
    nothing is paired, and all are used.
    """
    if ours.seeds != theirs.seeds:
        return contrast([(1.0, ours.by(**{metric: 1.0})), (-1.0, theirs.by(**{metric: 1.0}))])
    terms = Term(1.0, ours.counts, metric), Term(-1.0, theirs.counts, metric)
    return contrast([(1.0, Part(terms, ours.depends_on_seed or theirs.depends_on_seed))])


def difference_of(cost: Difference | None) -> dict[str, Any]:
    """What a record says of the difference to the first recipe. Of one seed there is no interval."""
    keys = ("difference", "difference_low", "difference_high")
    if cost is None:
        return dict.fromkeys(keys)
    low, high = (None, None) if cost.is_of_one_seed else (round(cost.low, 6), round(cost.high, 6))
    return dict(zip(keys, (round(cost.value, 6), low, high), strict=True))
