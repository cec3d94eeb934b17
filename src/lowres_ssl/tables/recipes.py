"""What recipes and splits cost: a block a data set, probe and metric, a line an entry, a column a recipe and split."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from lowres_ssl.results.agreement import is_trained, refuse_several
from lowres_ssl.results.selection import Column, Filters
from lowres_ssl.results.tested import check_same_images
from lowres_ssl.schemas.table import TableConfig
from lowres_ssl.statistics.comparison import Scored as SeededCounts
from lowres_ssl.statistics.comparison import aligned
from lowres_ssl.statistics.uncertainty import Interval, Term, contrast, draw
from lowres_ssl.tables import DASH, Block, Record, Table, Text
from lowres_ssl.tables.missing import Hole, commands, entry_for
from lowres_ssl.tables.numbers import (
    METRIC_NAMES,
    described,
    difference_text,
    interval_text,
    mark_of,
    provenance_of,
    record,
    results_of,
    value_text,
)
from lowres_ssl.tables.scores import Line, columns_for, datasets_of, lines_of, rows_meant

COST = "After a comma: the difference to {first} on the same split, for the same method, and its 95% interval."


@dataclass(frozen=True, order=True)
class Axis:
    """What a column of this table stands for."""

    split: str
    split_seed: int
    recipe: str


# By axis, label of the line and metric.
Costs = dict[tuple[Axis, str, str], Interval]


def recipes_table(name: str, table: TableConfig, frame: pd.DataFrame, filters: Filters, output_dir: Path) -> Table:
    """Raises `ConfigError` for results that cannot stand in one column, `CheckpointError` for damaged ones."""
    table = rows_meant(table, filters)
    found = columns_by_axis(table, frame, filters)
    axes = in_order(table, [axis for axis, _ in found])
    present = [column.dataset for column in found.values()]
    seeds = {axis.split_seed for axis in axes}
    blocks: list[Block] = []
    records: list[Record] = []
    holes: list[Hole] = []
    for dataset in [dataset for dataset in datasets_of(table, present, filters) if dataset in present]:
        for probe in table.probe:
            own = {axis: column for (axis, key), column in found.items() if key == (dataset, probe)}
            if not own:
                continue
            refuse_other_images(own, f"{dataset}, {probe}")
            lines = {}
            for axis in axes:
                there, empty = lines_of(table, own.get(axis), {})
                lines[axis] = {line.label: line for line in there}
                at = replace(filters, recipe=axis.recipe, split=axis.split, split_seed=axis.split_seed)
                holes += [Hole(entry_for(row, at, None), dataset, probe, table.batch_size, at) for row in empty]
            costs = costs_of(table, lines)
            blocks += blocks_of(table, dataset, probe, own, lines, costs)
            records += records_of(name, table, dataset, lines, costs)
    return Table(
        name=name,
        title=table.title,
        heads=["", *(head_of(axis, several=len(seeds) > 1) for axis in axes)],
        blocks=blocks,
        notes=[COST.format(first=f"recipe {table.recipes[0]}"), *table.notes],
        records=records,
        missing=[f"{hole.method} on {hole.dataset} by {hole.probe}, recipe {hole.filters.recipe}" for hole in holes],
        commands=commands(holes, frame, output_dir),
    )


def columns_by_axis(
    table: TableConfig, frame: pd.DataFrame, filters: Filters
) -> dict[tuple[Axis, tuple[str, str]], Column]:
    """By axis, then data set and probe. A recipe stands in the table where something was trained by it."""
    found = {}
    for probe in [probe for probe in table.probe if filters.probe in (None, probe)]:
        for recipe in [recipe for recipe in table.recipes if filters.recipe in (None, recipe)]:
            for split in [split for split in table.splits if filters.split in (None, split)]:
                chosen = replace(filters, probe=probe, recipe=recipe, split=split)
                for column in columns_for(table, frame, chosen):
                    if is_trained(column.rows).any():
                        found[Axis(split, column.split_seed, recipe), (column.dataset, probe)] = column
    return found


def in_order(table: TableConfig, axes: Sequence[Axis]) -> list[Axis]:
    def place(axis: Axis) -> tuple[int, int, int]:
        return table.splits.index(axis.split), axis.split_seed, table.recipes.index(axis.recipe)

    return sorted(set(axes), key=place)


def refuse_other_images(columns: dict[Axis, Column], where: str) -> None:
    """The recipes of one split are compared on the same images with the same encoder. Raises `ConfigError`."""
    for split in {(axis.split, axis.split_seed) for axis in columns}:
        rows = pd.concat([own.rows for axis, own in columns.items() if (axis.split, axis.split_seed) == split])
        for key in ("split_digest", "image_size"):
            refuse_several(key, rows, where)
        refuse_several("backbone", rows[is_trained(rows)], where)


def head_of(axis: Axis, *, several: bool) -> str:
    return f"{axis.split}, {axis.recipe}" + (f", split_seed {axis.split_seed}" if several else "")


def blocks_of(
    table: TableConfig,
    dataset: str,
    probe: str,
    columns: dict[Axis, Column],
    lines: dict[Axis, dict[str, Line]],
    costs: Costs,
) -> list[Block]:
    """One a metric; the last says where all of them come from."""
    labels = dict.fromkeys(label for own in lines.values() for label in own)
    first = next(iter(columns.values())).rows.iloc[0]
    footer = []
    for own in lines.values():
        there = [line.found for line in own.values() if line.found is not None]
        if there:
            sizes = ", ".join(f"{each.cell.entry} {each.cell.batch_size}" for each in there if each.cell.batch_size)
            notes = "".join(f" {note}." for each in there for note in each.cell.notes)
            footer.append(f"{described(there)} Batch sizes: {sizes}.{notes} {provenance_of(results_of(there))}")
    blocks = []
    for metric in table.metrics:
        heading = f"{first['title']}, {first['label']}: {METRIC_NAMES[metric]}"
        texts = [
            [
                Text(label),
                *(text_of(own.get(label), metric, costs.get((axis, label, metric))) for axis, own in lines.items()),
            ]
            for label in labels
        ]
        blocks.append(Block(heading, texts, footer if metric == table.metrics[-1] else ()))
    return blocks


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
            ours, theirs = aligned([SeededCounts(said.counts(), tuple(cell.seeds)) for cell, said in read])
            for metric in table.metrics:
                terms = [Term(1.0, ours, metric), Term(-1.0, theirs, metric)]
                costs[axis, label, metric] = contrast(terms, draw(ours.shape[1]))
    return costs


def text_of(line: Line | None, metric: str, cost: Interval | None) -> Text:
    if line is None or line.found is None:
        return Text(DASH)
    found = line.found.intervals[metric]
    text = f"{value_text(found)}{mark_of(line.found)} ({interval_text(found)})"
    if cost is not None:
        ends = " to ".join(difference_text(end) for end in (cost.low, cost.high))
        text += f", {difference_text(cost.value)} ({ends})"
    return Text(text)


def records_of(
    name: str, table: TableConfig, dataset: str, lines: dict[Axis, dict[str, Line]], costs: Costs
) -> list[Record]:
    records: list[Record] = []
    for axis, own in lines.items():
        for label, line in own.items():
            for metric in table.metrics:
                about = {"table": name, "dataset": dataset, "label": label}
                if line.found is not None:
                    cost = costs.get((axis, label, metric))
                    against = dict.fromkeys(("difference", "difference_low", "difference_high"))
                    if cost is not None:
                        numbers = (cost.value, cost.low, cost.high)
                        against = dict(zip(against, (round(number, 6) for number in numbers), strict=True))
                    # A baseline keeps the name of the recipe that it was first made by; here the column's counts.
                    records.append(record(line.found, metric, **about, **against) | {"recipe": axis.recipe})
    return records
