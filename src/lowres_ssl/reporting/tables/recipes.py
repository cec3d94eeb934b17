"""What recipes and splits cost: a block a data set, probe and metric, a line an entry, a column a recipe and split."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from lowres_ssl.config.command_schemas import TableConfig
from lowres_ssl.reporting.tables import DASH, Block, Record, Table, Text
from lowres_ssl.reporting.tables.cells import (
    METRIC_TITLES,
    build_record,
    describe_cells,
    format_provenance,
    format_score,
    format_score_interval,
    format_signed,
    get_mark_sign,
    list_results,
)
from lowres_ssl.reporting.tables.fill_commands import MissingCell, choose_encoder_name, list_fill_commands
from lowres_ssl.reporting.tables.score_table import (
    TableLine,
    build_lines,
    find_best_value,
    list_table_datasets,
    select_rows,
    select_table_columns,
)
from lowres_ssl.runs.comparability import check_single_value, is_trained
from lowres_ssl.runs.predictions import check_same_predicted_images
from lowres_ssl.runs.query import ResultColumn, ResultFilters, read_backbone
from lowres_ssl.stats.paired_tests import ContrastPart, ContrastTerm, Difference, MethodCounts, compute_contrast


@dataclass(frozen=True, order=True)
class RecipeColumn:
    """What a column of this table stands for."""

    split: str
    split_seed: int
    recipe: str


# By axis, label of the line and metric.
RecipeDifferences = dict[tuple[RecipeColumn, str, str], Difference]


def compute_recipe_differences(
    table: TableConfig, lines: dict[RecipeColumn, dict[str, TableLine]]
) -> RecipeDifferences:
    """The differences to the first recipe on the same split; none for that recipe itself, or where one of the two is
    missing."""
    costs: RecipeDifferences = {}
    for axis, own in lines.items():
        others = lines.get(replace(axis, recipe=table.recipes[0]), {})
        if axis.recipe == table.recipes[0]:
            continue
        for label, line in own.items():
            other = others.get(label)
            if line.found is None or other is None or other.found is None:
                continue
            read = [(each.cell, each.tested) for each in (line.found, other.found)]
            check_same_predicted_images(read)
            ours, theirs = (said.scored(cell.seeds) for cell, said in read)
            for metric in table.metrics:
                costs[axis, label, metric] = compute_recipe_difference(ours, theirs, metric)
    return costs


def compute_recipe_difference(ours: MethodCounts, theirs: MethodCounts, metric: str) -> Difference:
    """Ours minus theirs, of the same method under two recipes.

    Where both have the same seeds they are paired: under one seed both began with the same encoder, and random
    initialisation is the very same one, so that its seeds' spread is no error of the difference. With other seeds
    nothing is paired, and all are used.
    """
    if ours.seeds != theirs.seeds:
        return compute_contrast([(1.0, ours.make_part(**{metric: 1.0})), (-1.0, theirs.make_part(**{metric: 1.0}))])
    terms = ContrastTerm(1.0, ours.counts, metric), ContrastTerm(-1.0, theirs.counts, metric)
    return compute_contrast([(1.0, ContrastPart(terms, ours.depends_on_seed or theirs.depends_on_seed))])


def build_difference_fields(cost: Difference | None) -> dict[str, Any]:
    """What a record says of the difference to the first recipe. Of one seed there is no interval."""
    keys = ("difference", "difference_low", "difference_high")
    if cost is None:
        return dict.fromkeys(keys)
    low, high = (None, None) if cost.is_of_one_seed else (round(cost.low, 6), round(cost.high, 6))
    return dict(zip(keys, (round(cost.value, 6), low, high), strict=True))


DIFFERENCE_NOTE = (
    "After a comma: the difference to {first} on the same split, for the same method, and its 95% interval, paired by "
    "seed where both have the same seeds; of one seed there is none."
)


def build_recipes_table(
    name: str, table: TableConfig, frame: pd.DataFrame, filters: ResultFilters, output_dir: Path
) -> Table:
    """Raises `ConfigError` for results that cannot stand in one column, `CheckpointError` for damaged ones."""
    table = select_rows(table, filters)
    found = select_recipe_columns(table, frame, filters)
    axes = list_table_columns(table, [axis for axis, _ in found], filters)
    present = [column.dataset for column in found.values()]
    seeds = {axis.split_seed for axis in axes}
    blocks: list[Block] = []
    records: list[Record] = []
    holes: list[MissingCell] = []
    compared = False
    for dataset in [dataset for dataset in list_table_datasets(table, present, filters) if dataset in present]:
        for probe in list_probes(table, filters):
            own = {axis: column for (axis, key), column in found.items() if key == (dataset, probe)}
            check_same_split_images(own, f"{dataset}, {probe}")
            lines = {}
            for axis in axes:
                there, empty = build_lines(table, own.get(axis), {})
                lines[axis] = {line.label: line for line in there}
                at = replace(filters, recipe=axis.recipe, split=axis.split, split_seed=axis.split_seed)
                beside = replace(at, recipe=None)
                holes += [
                    MissingCell(choose_encoder_name(row, at, None), dataset, probe, table.batch_size, at, beside)
                    for row in empty
                ]
            costs = compute_recipe_differences(table, lines)
            compared = compared or bool(costs)
            blocks += build_recipe_blocks(table, dataset, probe, own, lines, costs)
            records += build_recipe_records(name, table, dataset, lines, costs)
    return Table(
        name=name,
        title=table.title,
        heads=["", *(format_column_head(axis, several=len(seeds) > 1) for axis in axes)],
        blocks=blocks,
        notes=[*([DIFFERENCE_NOTE.format(first=f"recipe {table.recipes[0]}")] if compared else []), *table.notes],
        records=records,
        missing=[f"{hole.method} on {hole.dataset} by {hole.probe}, recipe {hole.filters.recipe}" for hole in holes],
        commands=list_fill_commands(holes, frame, output_dir),
    )


def select_recipe_columns(
    table: TableConfig, frame: pd.DataFrame, filters: ResultFilters
) -> dict[tuple[RecipeColumn, tuple[str, str]], ResultColumn]:
    """What there is, by axis, then data set and probe. Where nothing was trained by a recipe there is nothing of it: a
    random start is built and scored like what it stands beside."""
    found = {}
    for probe in list_probes(table, filters):
        for recipe in list_recipes(table, filters):
            for split in [split for split in table.splits if filters.split in (None, split)]:
                chosen = replace(filters, probe=probe, recipe=recipe, split=split)
                for column in select_table_columns(table, frame, chosen, trained_only=True):
                    found[RecipeColumn(split, column.split_seed, recipe), (column.dataset, probe)] = column
    return found


def list_probes(table: TableConfig, filters: ResultFilters) -> list[str]:
    return [probe for probe in table.probe if filters.probe in (None, probe)]


def list_recipes(table: TableConfig, filters: ResultFilters) -> list[str]:
    return [recipe for recipe in table.recipes if filters.recipe in (None, recipe)]


def list_table_columns(table: TableConfig, found: Sequence[RecipeColumn], filters: ResultFilters) -> list[RecipeColumn]:
    """Every recipe that is meant, found or not, on each of the splits that have results."""
    splits = sorted(
        {(axis.split, axis.split_seed) for axis in found}, key=lambda each: (table.splits.index(each[0]), each[1])
    )
    return [RecipeColumn(*split, recipe) for split in splits for recipe in list_recipes(table, filters)]


def check_same_split_images(columns: dict[RecipeColumn, ResultColumn], where: str) -> None:
    """The recipes of one split are compared on the same images with the same encoder. Raises `ConfigError`."""
    for split in {(axis.split, axis.split_seed) for axis in columns}:
        rows = pd.concat([own.rows for axis, own in columns.items() if (axis.split, axis.split_seed) == split])
        for key in ("split_digest", "image_size"):
            check_single_value(key, rows, where)
        check_single_value("backbone", rows[is_trained(rows)], where)


def list_backbone_differences(columns: dict[RecipeColumn, ResultColumn]) -> list[str]:
    """A line for each field of `backbone` in which the recipes' trained encoders differ: their columns then compare two
    networks, not two trainings alone."""
    fields: dict[str, dict[str, list[str]]] = {}  # field -> value -> recipes
    for axis, column in columns.items():
        for result in column.rows.loc[is_trained(column.rows), "result"]:
            for key, value in (read_backbone(result) or {}).items():
                recipes = fields.setdefault(key, {}).setdefault(str(value).lower(), [])
                recipes += [] if axis.recipe in recipes else [axis.recipe]
    return [
        f"Different networks: backbone.{key} is "
        + ", ".join(f"{value} under {' and '.join(recipes)}" for value, recipes in values.items())
        + ". A difference between these columns, in the rows without training as well, is also one of the networks."
        for key, values in fields.items()
        if len(values) > 1
    ]


def format_column_head(axis: RecipeColumn, *, several: bool) -> str:
    return f"{axis.split}, {axis.recipe}" + (f", split_seed {axis.split_seed}" if several else "")


def build_recipe_blocks(
    table: TableConfig,
    dataset: str,
    probe: str,
    columns: dict[RecipeColumn, ResultColumn],
    lines: dict[RecipeColumn, dict[str, TableLine]],
    costs: RecipeDifferences,
) -> list[Block]:
    """One a metric; the last says where all of them come from."""
    labels = list_row_labels(table, lines)
    title = f"{dataset}, {probe}"
    if columns:
        first = next(iter(columns.values())).rows.iloc[0]
        title = f"{first['title']}, {first['label']}"
    best = {
        (axis, metric): find_best_value([*own.values()], metric)
        for axis, own in lines.items()
        for metric in table.metrics
    }
    footer = []
    for own in lines.values():
        there = [line.found for line in own.values() if line.found is not None]
        if there:
            sizes = ", ".join(f"{each.cell.entry} {each.cell.batch_size}" for each in there if each.cell.batch_size)
            notes = "".join(f" {note}." for each in there for note in each.cell.notes)
            footer.append(
                f"{describe_cells(there)} Batch sizes: {sizes}.{notes} {format_provenance(list_results(there))}"
            )
    footer += list_backbone_differences(columns)
    blocks = []
    for metric in table.metrics:
        texts = [
            [
                Text(label),
                *(
                    format_recipe_cell(own.get(label), metric, costs.get((axis, label, metric)), best[axis, metric])
                    for axis, own in lines.items()
                ),
            ]
            for label in labels
        ]
        last = metric == table.metrics[-1]
        blocks.append(Block(f"{title}: {METRIC_TITLES[metric]}", texts, (footer or ["No results."]) if last else ()))
    return blocks


def list_row_labels(table: TableConfig, lines: dict[RecipeColumn, dict[str, TableLine]]) -> list[str]:
    """In the table's order. A row without a label has its entry's name where a recipe has a result for it."""
    labels: list[str] = []
    for row in table.rows.values():
        own = [line for there in lines.values() for line in there.values() if line.row is row]
        labels += [line.label for line in own if line.found is not None] or [line.label for line in own]
    return list(dict.fromkeys(labels))


def format_recipe_cell(line: TableLine | None, metric: str, cost: Difference | None, best: float | None) -> Text:
    if line is None or line.found is None:
        return Text(DASH)
    found = line.found.intervals[metric]
    text = f"{format_score(found)}{get_mark_sign(line.found)} ({format_score_interval(found)})"
    if cost is not None:
        ends = " to ".join(format_signed(end) for end in (cost.low, cost.high))
        text += f", {format_signed(cost.value)} ({'one seed' if cost.is_of_one_seed else ends})"
    return Text(text, best is not None and line.row.compared and found.value >= best)


def build_recipe_records(
    name: str,
    table: TableConfig,
    dataset: str,
    lines: dict[RecipeColumn, dict[str, TableLine]],
    costs: RecipeDifferences,
) -> list[Record]:
    records: list[Record] = []
    for axis, own in lines.items():
        for label, line in own.items():
            for metric in table.metrics:
                about = {"table": name, "dataset": dataset, "label": label}
                if line.found is not None:
                    against = build_difference_fields(costs.get((axis, label, metric)))
                    # A baseline keeps the name of the recipe that it was first made by; here the column's counts.
                    records.append(build_record(line.found, metric, **about, **against) | {"recipe": axis.recipe})
    return records
