"""What recipes and splits cost: a block a data set, probe and metric, a line an entry, a column a recipe and split."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from lowres_ssl.results.agreement import is_trained, refuse_several
from lowres_ssl.results.selection import Column, Filters, built_as
from lowres_ssl.schemas.table import TableConfig
from lowres_ssl.statistics.comparison import Difference
from lowres_ssl.tables import DASH, Block, Record, Table, Text
from lowres_ssl.tables.costs import Axis, Costs, costs_of, difference_of
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
from lowres_ssl.tables.scores import Line, best_value, columns_for, datasets_of, lines_of, rows_meant

COST = (
    "After a comma: the difference to {first} on the same split, for the same method, and its 95% interval, paired by "
    "seed where both have the same seeds; of one seed there is none."
)


def recipes_table(name: str, table: TableConfig, frame: pd.DataFrame, filters: Filters, output_dir: Path) -> Table:
    """Raises `ConfigError` for results that cannot stand in one column, `CheckpointError` for damaged ones."""
    table = rows_meant(table, filters)
    found = columns_by_axis(table, frame, filters)
    axes = in_order(table, [axis for axis, _ in found], filters)
    present = [column.dataset for column in found.values()]
    seeds = {axis.split_seed for axis in axes}
    blocks: list[Block] = []
    records: list[Record] = []
    holes: list[Hole] = []
    compared = False
    for dataset in [dataset for dataset in datasets_of(table, present, filters) if dataset in present]:
        for probe in probes_meant(table, filters):
            own = {axis: column for (axis, key), column in found.items() if key == (dataset, probe)}
            refuse_other_images(own, f"{dataset}, {probe}")
            lines = {}
            for axis in axes:
                there, empty = lines_of(table, own.get(axis), {})
                lines[axis] = {line.label: line for line in there}
                at = replace(filters, recipe=axis.recipe, split=axis.split, split_seed=axis.split_seed)
                beside = replace(at, recipe=None)
                holes += [Hole(entry_for(row, at, None), dataset, probe, table.batch_size, at, beside) for row in empty]
            costs = costs_of(table, lines)
            compared = compared or bool(costs)
            blocks += blocks_of(table, dataset, probe, own, lines, costs)
            records += records_of(name, table, dataset, lines, costs)
    return Table(
        name=name,
        title=table.title,
        heads=["", *(head_of(axis, several=len(seeds) > 1) for axis in axes)],
        blocks=blocks,
        notes=[*([COST.format(first=f"recipe {table.recipes[0]}")] if compared else []), *table.notes],
        records=records,
        missing=[f"{hole.method} on {hole.dataset} by {hole.probe}, recipe {hole.filters.recipe}" for hole in holes],
        commands=commands(holes, frame, output_dir),
    )


def columns_by_axis(
    table: TableConfig, frame: pd.DataFrame, filters: Filters
) -> dict[tuple[Axis, tuple[str, str]], Column]:
    """What there is, by axis, then data set and probe. Where nothing was trained by a recipe there is nothing of it: a
    random start is built and scored like what it stands beside."""
    found = {}
    for probe in probes_meant(table, filters):
        for recipe in recipes_meant(table, filters):
            for split in [split for split in table.splits if filters.split in (None, split)]:
                chosen = replace(filters, probe=probe, recipe=recipe, split=split)
                for column in columns_for(table, frame, chosen, trained_only=True):
                    found[Axis(split, column.split_seed, recipe), (column.dataset, probe)] = column
    return found


def probes_meant(table: TableConfig, filters: Filters) -> list[str]:
    return [probe for probe in table.probe if filters.probe in (None, probe)]


def recipes_meant(table: TableConfig, filters: Filters) -> list[str]:
    return [recipe for recipe in table.recipes if filters.recipe in (None, recipe)]


def in_order(table: TableConfig, found: Sequence[Axis], filters: Filters) -> list[Axis]:
    """Every recipe that is meant, found or not, on each of the splits that have results."""
    splits = sorted(
        {(axis.split, axis.split_seed) for axis in found}, key=lambda each: (table.splits.index(each[0]), each[1])
    )
    return [Axis(*split, recipe) for split in splits for recipe in recipes_meant(table, filters)]


def refuse_other_images(columns: dict[Axis, Column], where: str) -> None:
    """The recipes of one split are compared on the same images with the same encoder. Raises `ConfigError`."""
    for split in {(axis.split, axis.split_seed) for axis in columns}:
        rows = pd.concat([own.rows for axis, own in columns.items() if (axis.split, axis.split_seed) == split])
        for key in ("split_digest", "image_size"):
            refuse_several(key, rows, where)
        refuse_several("backbone", rows[is_trained(rows)], where)


def network_differences(columns: dict[Axis, Column]) -> list[str]:
    """A line for each field of `backbone` in which the recipes' trained encoders differ: their columns then compare two
    networks, not two trainings alone."""
    fields: dict[str, dict[str, list[str]]] = {}  # field -> value -> recipes
    for axis, column in columns.items():
        for result in column.rows.loc[is_trained(column.rows), "result"]:
            for key, value in (built_as(result) or {}).items():
                recipes = fields.setdefault(key, {}).setdefault(str(value).lower(), [])
                recipes += [] if axis.recipe in recipes else [axis.recipe]
    return [
        f"Different networks: backbone.{key} is "
        + ", ".join(f"{value} under {' and '.join(recipes)}" for value, recipes in values.items())
        + ". A difference between these columns, in the rows without training as well, is also one of the networks."
        for key, values in fields.items()
        if len(values) > 1
    ]


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
    labels = labels_of(table, lines)
    title = f"{dataset}, {probe}"
    if columns:
        first = next(iter(columns.values())).rows.iloc[0]
        title = f"{first['title']}, {first['label']}"
    best = {
        (axis, metric): best_value([*own.values()], metric) for axis, own in lines.items() for metric in table.metrics
    }
    footer = []
    for own in lines.values():
        there = [line.found for line in own.values() if line.found is not None]
        if there:
            sizes = ", ".join(f"{each.cell.entry} {each.cell.batch_size}" for each in there if each.cell.batch_size)
            notes = "".join(f" {note}." for each in there for note in each.cell.notes)
            footer.append(f"{described(there)} Batch sizes: {sizes}.{notes} {provenance_of(results_of(there))}")
    footer += network_differences(columns)
    blocks = []
    for metric in table.metrics:
        texts = [
            [
                Text(label),
                *(
                    text_of(own.get(label), metric, costs.get((axis, label, metric)), best[axis, metric])
                    for axis, own in lines.items()
                ),
            ]
            for label in labels
        ]
        last = metric == table.metrics[-1]
        blocks.append(Block(f"{title}: {METRIC_NAMES[metric]}", texts, (footer or ["No results."]) if last else ()))
    return blocks


def labels_of(table: TableConfig, lines: dict[Axis, dict[str, Line]]) -> list[str]:
    """In the table's order. A row without a label has its entry's name where a recipe has a result for it."""
    labels: list[str] = []
    for row in table.rows.values():
        own = [line for there in lines.values() for line in there.values() if line.row is row]
        labels += [line.label for line in own if line.found is not None] or [line.label for line in own]
    return list(dict.fromkeys(labels))


def text_of(line: Line | None, metric: str, cost: Difference | None, best: float | None) -> Text:
    if line is None or line.found is None:
        return Text(DASH)
    found = line.found.intervals[metric]
    text = f"{value_text(found)}{mark_of(line.found)} ({interval_text(found)})"
    if cost is not None:
        ends = " to ".join(difference_text(end) for end in (cost.low, cost.high))
        text += f", {difference_text(cost.value)} ({'one seed' if cost.is_of_one_seed else ends})"
    return Text(text, best is not None and line.row.compared and found.value >= best)


def records_of(
    name: str, table: TableConfig, dataset: str, lines: dict[Axis, dict[str, Line]], costs: Costs
) -> list[Record]:
    records: list[Record] = []
    for axis, own in lines.items():
        for label, line in own.items():
            for metric in table.metrics:
                about = {"table": name, "dataset": dataset, "label": label}
                if line.found is not None:
                    against = difference_of(costs.get((axis, label, metric)))
                    # A baseline keeps the name of the recipe that it was first made by; here the column's counts.
                    records.append(record(line.found, metric, **about, **against) | {"recipe": axis.recipe})
    return records
