"""Build a table of what recipes and splits cost: a block for each data set, probe and metric, a column for each."""

from collections import defaultdict
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

import pandas as pd

from lowres_ssl.config.command_schemas import TableConfig
from lowres_ssl.config.experiment_schema import BackboneConfig
from lowres_ssl.reporting.cells import (
    METRIC_TITLES,
    build_record,
    describe_cells,
    format_cell_provenance,
    format_score,
    format_score_interval,
    format_signed,
    get_mark_sign,
)
from lowres_ssl.reporting.stored import MissingCell, Stored, choose_encoder_name, list_fill_commands
from lowres_ssl.reporting.tables.formats import DASH, Block, Record, Table, Text
from lowres_ssl.reporting.tables.score_table import (
    TableLine,
    build_lines,
    find_best_labels,
    list_found,
    list_table_datasets,
    list_table_probes,
    select_rows,
    select_table_columns,
)
from lowres_ssl.runs.filters import is_trained
from lowres_ssl.runs.predictions import ResultCell, check_same_predicted_images
from lowres_ssl.runs.query import ResultColumn, check_single_value, read_backbone
from lowres_ssl.stats.paired_tests import ContrastPart, Difference, compute_contrast

DIFFERENCE_NOTE = (
    "After a comma: the difference to recipe {first} on the same split, for the same method, and its 95% interval, "
    "paired by seed where both have the same seeds; of one seed there is none."
)


@dataclass(frozen=True)
class RecipeColumn:
    """Name what a column of this table stands for."""

    split: str
    split_seed: int
    recipe: str


RecipeColumns = dict[RecipeColumn, ResultColumn]
RecipeLines = dict[RecipeColumn, dict[str, TableLine]]  # the lines by their labels
RecipeDifferences = dict[tuple[RecipeColumn, str, str], Difference]  # by column, label of the line and metric


def build_recipes_table(name: str, table: TableConfig, stored: Stored) -> Table:
    """Raises `ConfigError` for results that cannot stand in one column, `CheckpointError` for damaged ones."""
    frame, filters = stored.results, stored.filters
    table = select_rows(table, filters)
    probes = list_table_probes(table, frame, filters)
    recipes = [recipe for recipe in table.recipes if filters.recipe in (None, recipe)]
    splits = [split for split in table.splits if filters.split in (None, split)]
    found: dict[tuple[str, str], RecipeColumns] = defaultdict(dict)  # by data set and probe
    for probe, recipe, split in product(probes, recipes, splits):
        chosen = replace(filters, probe=probe, recipe=recipe, split=split)
        # A random encoder is built and scored like the trained ones beside it, so it needs one of the recipe.
        for column in select_table_columns(table, frame, chosen, trained_only=True):
            found[column.dataset, probe][RecipeColumn(split, column.split_seed, recipe)] = column
    present = {(axis.split, axis.split_seed) for own in found.values() for axis in own}
    ordered = sorted(present, key=lambda each: (table.splits.index(each[0]), each[1]))
    axes = [RecipeColumn(*split, recipe) for split in ordered for recipe in recipes]
    blocks: list[Block] = []
    records: list[Record] = []
    missing: list[MissingCell] = []
    compared = False
    for dataset in list_table_datasets(table, {dataset for dataset, _ in found}, filters):
        for probe in probes if any(key[0] == dataset for key in found) else ():
            columns = found[dataset, probe]
            check_same_split_images(columns, f"{dataset}, {probe}")
            lines: RecipeLines = {}
            for axis in axes:
                there, empty = build_lines(table, columns.get(axis), {})
                lines[axis] = {line.label: line for line in there}
                at = replace(filters, recipe=axis.recipe, split=axis.split, split_seed=axis.split_seed)
                for row in empty:
                    encoder = choose_encoder_name(row, at, None)
                    missing.append(MissingCell(encoder, dataset, probe, table.batch_size, at))
            differences = compute_recipe_differences(table, lines)
            compared = compared or bool(differences)
            blocks += build_recipe_blocks(table, f"{dataset}, {probe}", columns, lines, differences)
            records += build_recipe_records(name, table, dataset, lines, differences)
    several = len({axis.split_seed for axis in axes}) > 1
    heads = [f"{axis.split}, {axis.recipe}" + f", split_seed {axis.split_seed}" * several for axis in axes]
    return Table(
        name=name,
        title=table.title,
        heads=["", *heads],
        blocks=blocks,
        notes=[*([DIFFERENCE_NOTE.format(first=table.recipes[0])] if compared else []), *table.notes],
        records=records,
        missing=[f"{cell.method} on {cell.dataset} by {cell.probe}, recipe {cell.filters.recipe}" for cell in missing],
        commands=list_fill_commands(missing, frame, stored.output_dir),
    )


def check_same_split_images(columns: RecipeColumns, where: str) -> None:
    """Check that the recipes of one split have the same images and encoder. Raises `ConfigError`."""
    for split in {(axis.split, axis.split_seed) for axis in columns}:
        rows = pd.concat([own.rows for axis, own in columns.items() if (axis.split, axis.split_seed) == split])
        for key in ("split_digest", "image_size"):
            check_single_value(key, rows, where)
        check_single_value("backbone", rows[is_trained(rows)], where)


def compute_recipe_differences(table: TableConfig, lines: RecipeLines) -> RecipeDifferences:
    """Compute the differences to the first recipe on the same split, where both have a result."""
    differences: RecipeDifferences = {}
    for axis, own in lines.items():
        others = lines.get(replace(axis, recipe=table.recipes[0]), {})
        for label, line in own.items():
            theirs = others[label].found if label in others else None
            if axis.recipe == table.recipes[0] or line.found is None or theirs is None:
                continue
            check_same_predicted_images([line.found.tested, theirs.tested])
            for metric in table.metrics:
                differences[axis, label, metric] = compute_recipe_difference(line.found, theirs, metric)
    return differences


def compute_recipe_difference(ours: ResultCell, theirs: ResultCell, metric: str) -> Difference:
    """Compute ours minus theirs, of the same method under two recipes.

    Where both have the same seeds they are paired: under one seed both began with the same encoder, and random
    initialisation is the very same one, so that its seeds' spread is no error of the difference. With other seeds
    nothing is paired, and all are used.
    """
    first, second = (each.tested.scored() for each in (ours, theirs))
    if ours.seeds != theirs.seeds:
        return compute_contrast([(1.0, first.make_part(**{metric: 1.0})), (-1.0, second.make_part(**{metric: 1.0}))])
    terms = (1.0, first.counts, metric), (-1.0, second.counts, metric)
    return compute_contrast([(1.0, ContrastPart(terms, first.depends_on_seed or second.depends_on_seed))])


def build_recipe_blocks(
    table: TableConfig,
    title: str,
    columns: RecipeColumns,
    lines: RecipeLines,
    differences: RecipeDifferences,
) -> list[Block]:
    """Build a block for each metric; the last has the provenance of all."""
    if columns:
        first = next(iter(columns.values())).rows.iloc[0]
        title = f"{first['title']}, {first['label']}"
    footer = []
    for own in lines.values():
        if there := list_found(own.values()):
            sizes = ", ".join(f"{each.entry} {each.batch_size}" for each in there if each.batch_size)
            notes = "".join(dict.fromkeys(f" {note}." for each in there for note in each.notes))
            about = describe_cells(there, table.metrics[0])
            footer.append(f"{about} Batch sizes: {sizes}.{notes} {format_cell_provenance(there)}")
    footer += list_backbone_differences(columns)
    blocks = []
    for metric in table.metrics:
        best = {axis: find_best_labels(own.values(), metric) for axis, own in lines.items()}
        texts = []
        for label in list_row_labels(table, lines):
            cells = []
            for axis, own in lines.items():
                text = format_recipe_cell(own.get(label), metric, differences.get((axis, label, metric)))
                cells.append(Text(text, label in best[axis]))
            texts.append([Text(label), *cells])
        last = metric == table.metrics[-1]
        blocks.append(Block(f"{title}: {METRIC_TITLES[metric]}", texts, (footer or ["No results."]) if last else ()))
    return blocks


def list_backbone_differences(columns: RecipeColumns) -> list[str]:
    """List a line for each field of `backbone` in which the recipes' trained encoders differ: their columns then
    compare two networks, not two trainings alone."""
    built = {
        axis.recipe: read_backbone(column.rows.loc[is_trained(column.rows), "result"].iloc[0])
        for axis, column in columns.items()
    }
    lines = []
    for key in (each.name for each in fields(BackboneConfig)):
        values = {recipe: str(getattr(backbone, key)).lower() for recipe, backbone in built.items()}
        if len(set(values.values())) > 1:
            named = ", ".join(f"{value} under {recipe}" for recipe, value in values.items())
            lines.append(
                f"Different networks: backbone.{key} is {named}. A difference between these columns, in the rows "
                "without training as well, is also one of the networks."
            )
    return lines


def list_row_labels(table: TableConfig, lines: RecipeLines) -> list[str]:
    """List the labels in the table's order. A row without a label has its entry's name where a recipe has a result for
    it."""
    labels: list[str] = []
    for row in table.rows.values():
        own = [line for there in lines.values() for line in there.values() if line.row is row]
        labels += [line.label for line in own if line.found is not None] or [line.label for line in own]
    return list(dict.fromkeys(labels))


def format_recipe_cell(line: TableLine | None, metric: str, difference: Difference | None) -> str:
    if line is None or line.found is None:
        return DASH
    found = line.found.interval(metric)
    text = f"{format_score(found)}{get_mark_sign(line.found)} ({format_score_interval(found)})"
    if difference is not None:
        ends = " to ".join(format_signed(end) for end in (difference.low, difference.high))
        text += f", {format_signed(difference.value)} ({'one seed' if difference.is_of_one_seed else ends})"
    return text


def build_recipe_records(
    name: str, table: TableConfig, dataset: str, lines: RecipeLines, differences: RecipeDifferences
) -> list[Record]:
    records: list[Record] = []
    for axis, own in lines.items():
        for line, metric in product(own.values(), table.metrics):
            if line.found is None:
                continue
            about: dict[str, Any] = {"table": name, "dataset": dataset, "label": line.label}
            about |= dict.fromkeys(("difference", "difference_low", "difference_high"))
            if found := differences.get((axis, line.label, metric)):
                about["difference"] = round(found.value, 6)
                if not found.is_of_one_seed:
                    about |= {"difference_low": round(found.low, 6), "difference_high": round(found.high, 6)}
            # A baseline keeps the name of the recipe that it was first made by; here the column's counts.
            records.append(build_record(line.found, metric, **about) | {"recipe": axis.recipe})
    return records
