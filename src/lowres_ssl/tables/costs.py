"""What a recipe costs against the first one of its table: paired differences, and of which seeds they are."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from lowres_ssl.results.tested import check_same_images
from lowres_ssl.schemas.table import TableConfig
from lowres_ssl.statistics.comparison import Scored, paired
from lowres_ssl.statistics.uncertainty import Interval, Term, contrast, draw
from lowres_ssl.tables.numbers import seeds_named
from lowres_ssl.tables.scores import Line


@dataclass(frozen=True, order=True)
class Axis:
    """What a column of this table stands for."""

    split: str
    split_seed: int
    recipe: str


@dataclass(frozen=True)
class Cost:
    """The difference to the first recipe. `seeds`: of which of this recipe's seeds it is, `first_seeds`: of which of
    the first one's. `partly`: the two cells are not of the same seeds, so that it is not the difference of their means.
    """

    found: Interval
    seeds: Sequence[int]
    first_seeds: Sequence[int]
    partly: bool

    @property
    def of_seeds(self) -> str:
        """What is to be said of the seeds; nothing where both cells have the same."""
        if not self.partly:
            return ""
        against = "" if self.seeds == self.first_seeds else f" against {seeds_named(self.first_seeds)}"
        return f" of {seeds_named(self.seeds)}{against}"


# By axis, label of the line and metric.
Costs = dict[tuple[Axis, str, str], Cost]


def costs_of(table: TableConfig, lines: dict[Axis, dict[str, Line]]) -> Costs:
    """The differences to the first recipe on the same split, test groups and seeds resampled together as the two are
    paired by both; none for that recipe itself, or where one of the two is missing."""
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
            scored = [Scored(said.counts(), tuple(cell.seeds)) for cell, said in read]
            ours, theirs = paired(scored)
            partly = scored[0].seeds != scored[1].seeds
            for metric in table.metrics:
                terms = [Term(1.0, ours.counts, metric), Term(-1.0, theirs.counts, metric)]
                difference = contrast(terms, draw(ours.counts.shape[1]))
                costs[axis, label, metric] = Cost(difference, ours.seeds, theirs.seeds, partly)
    return costs


def seeds_of_costs(axis: Axis, costs: Costs) -> str:
    """Which differences of a column are not of all the seeds that are shown."""
    partly = {label: cost.of_seeds for (place, label, _), cost in costs.items() if place == axis and cost.partly}
    return f" Differences: {'; '.join(f'{label}{seeds}' for label, seeds in partly.items())}." if partly else ""


def difference_of(cost: Cost | None) -> dict[str, Any]:
    """What a record says of the difference to the first recipe, and of which seeds of either it is."""
    keys = ("difference", "difference_low", "difference_high", "difference_seeds", "difference_first_seeds")
    if cost is None:
        return dict.fromkeys(keys)
    numbers = [round(number, 6) for number in (cost.found.value, cost.found.low, cost.found.high)]
    seeds = [" ".join(map(str, own)) for own in (cost.seeds, cost.first_seeds)]
    return dict(zip(keys, [*numbers, *seeds], strict=True))
