"""A table of scores: a block a data set, probe and split seed, a line an entry, ours beside the paper's numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from lowres_ssl.results.agreement import refuse_disagreement
from lowres_ssl.results.selection import BatchSize, Column, Filters, columns_of
from lowres_ssl.results.tested import check_same_images
from lowres_ssl.runs import END_TO_END
from lowres_ssl.schemas.table import RowConfig, TableConfig
from lowres_ssl.tables import DASH, Block, Record, Table, Text
from lowres_ssl.tables.missing import Hole, commands, entry_for
from lowres_ssl.tables.numbers import (
    METRIC_NAMES,
    Scored,
    described,
    difference_text,
    interval_text,
    mark_of,
    provenance_of,
    record,
    results_of,
    scored,
    value_text,
)

EVERYTHING_ELSE = "*"
CHOSEN = "Batch size: that with the highest mean validation accuracy over the seeds, of equals the smallest."


@dataclass(frozen=True)
class Line:
    """A row of one block: what was found for it, or nothing."""

    label: str
    row: RowConfig
    found: Scored | None


def scores_table(name: str, table: TableConfig, frame: pd.DataFrame, filters: Filters, output_dir: Path) -> Table:
    """Raises `ConfigError` for results that cannot stand beside each other, `CheckpointError` for damaged ones."""
    table = rows_meant(table, filters)
    blocks: list[Block] = []
    records: list[Record] = []
    holes: list[Hole] = []
    probes = [probe for probe in table.probe if filters.probe in (None, probe)]
    columns = {probe: columns_for(table, frame, replace(filters, probe=probe)) for probe in probes}
    present = [column.dataset for own in columns.values() for column in own]
    datasets = datasets_of(table, present, filters)
    compared = any(dataset in row.paper for row in table.rows.values() for dataset in datasets)
    for dataset in datasets:
        for probe in probes:
            mine: list[Column | None] = [column for column in columns[probe] if column.dataset == dataset]
            for column in mine or [None]:
                of_block = filters if column is None else replace(filters, split_seed=column.split_seed)
                others = columns_beside(table, frame, of_block, dataset)
                lines, empty = lines_of(table, column, others)
                rows = None if column is None else column.rows
                holes += [
                    Hole(entry_for(row, of_block, rows), dataset, row.probe or probe, table.batch_size, of_block)
                    for row in empty
                ]
                heading = heading_of(dataset, probe, column, several=len(mine) > 1)
                blocks.append(block_of(heading, table, lines, dataset, compared))
                records += records_of(name, table, lines, dataset)
    return Table(
        name=name,
        title=table.title,
        heads=heads_of(table, compared),
        blocks=blocks,
        notes=[*([CHOSEN] if table.batch_size == "best" else []), *table.notes],
        records=records,
        missing=[f"{hole.method} on {hole.dataset} by {hole.probe}" for hole in holes],
        commands=commands(holes, frame, output_dir),
    )


def rows_meant(table: TableConfig, filters: Filters) -> TableConfig:
    """The table without the rows that the filters leave out; what is optional is left out where there is nothing."""
    meant = {
        key: row
        for key, row in table.rows.items()
        if row.optional or any(filters.means(entry) for entry in row.entries)
    }
    return replace(table, rows=meant)


def columns_for(
    table: TableConfig, frame: pd.DataFrame, filters: Filters, *, trained_only: bool = False
) -> list[Column]:
    """The columns of the rows that have no probe of their own (see `columns_of`)."""
    entries = [pattern for row in table.rows.values() if row.probe is None for pattern in row.entries]
    if EVERYTHING_ELSE not in table.datasets:
        frame = frame[frame["dataset"].isin(table.datasets)]
    return columns_of(frame, filters, entries, trained_only=trained_only)


def columns_beside(table: TableConfig, frame: pd.DataFrame, filters: Filters, dataset: str) -> dict[str, Column]:
    """By probe, the columns of the rows that have one of their own, at the split seed of the filters."""
    found: dict[str, Column] = {}
    for probe in {row.probe for row in table.rows.values() if row.probe is not None}:
        entries = [pattern for row in table.rows.values() if row.probe == probe for pattern in row.entries]
        own = columns_of(frame, replace(filters, probe=probe, dataset=dataset), entries)
        found |= {probe: own[0]} if len(own) == 1 else {}
    return found


def datasets_of(table: TableConfig, present: Sequence[str], filters: Filters) -> list[str]:
    """The table's data sets in its order; "*" are the others that are present."""
    if filters.dataset is not None:
        return [filters.dataset]
    rest = sorted(set(present) - set(table.datasets))
    return [name for each in table.datasets for name in (rest if each == EVERYTHING_ELSE else [each])]


def lines_of(
    table: TableConfig, column: Column | None, others: dict[str, Column]
) -> tuple[list[Line], list[RowConfig]]:
    """The lines of a block, and the rows that lack a result."""
    lines: list[Line] = []
    empty: list[RowConfig] = []
    for key, row in table.rows.items():
        own = column if row.probe is None else others.get(row.probe)
        found = [] if own is None else found_for(row, own, table)
        lines += [Line(label_of(row, each, len(found)), row, each) for each in found]
        if not found and not row.optional:
            lines.append(Line(row.label or key, row, None))
            empty.append(row)
    there = [line.found for line in lines if line.found is not None]
    if there:
        refuse_disagreement(pd.concat([each.cell.rows for each in there], ignore_index=True), str(column))
        check_same_images([(each.cell, each.tested) for each in there])
    return lines, empty


def found_for(row: RowConfig, column: Column, table: TableConfig) -> list[Scored]:
    """Of the first of the row's patterns that has any, one an entry."""
    size: BatchSize = table.batch_size
    for pattern in row.entries:
        cells = [column.cell(entry, size) for entry in column.entries(pattern)]
        if any(cell is not None for cell in cells):
            return [scored(cell, table.metrics) for cell in cells if cell is not None]
    return []


def label_of(row: RowConfig, found: Scored, several: int) -> str:
    """The row's label; the entry's own name where the row has none or stands for several."""
    label = found.cell.entry if row.label is None or several > 1 else row.label
    end_to_end = " (end to end)" if row.probe == END_TO_END else ""
    return f"{label}{end_to_end}"


def heads_of(table: TableConfig, compared: bool) -> list[str]:
    heads = ["", "batch size"]
    for metric in table.metrics:
        heads += [METRIC_NAMES[metric], "95% interval", *(["paper", "difference"] if compared else [])]
    return heads


def heading_of(dataset: str, probe: str, column: Column | None, *, several: bool) -> str:
    if column is None:
        return f"{dataset}, {probe}"
    first = column.rows.iloc[0]
    seed = f", split_seed {column.split_seed}" if several else ""
    return f"{first['title']}, {first['label']}, split {first['split']}{seed}"


def block_of(heading: str, table: TableConfig, lines: Sequence[Line], dataset: str, compared: bool) -> Block:
    best = {metric: best_value(lines, metric) for metric in table.metrics}
    texts = []
    for line in lines:
        size = None if line.found is None else line.found.cell.batch_size
        cells = [Text(line.label + mark_of(line.found)), Text(DASH if size is None else str(size))]
        for metric in table.metrics:
            cells += texts_of(line, metric, dataset, best[metric], compared)
        texts.append(cells)
    there = [line.found for line in lines if line.found is not None]
    if not there:
        return Block(heading, texts, ["No results."])
    notes = [note for each in there for note in each.cell.notes]
    return Block(heading, texts, [described(there), *(f"{note}." for note in notes), provenance_of(results_of(there))])


def best_value(lines: Sequence[Line], metric: str) -> float | None:
    """Of the lines that are compared with each other; None if those are fewer than two."""
    values = [line.found.intervals[metric].value for line in lines if line.found is not None and line.row.compared]
    return max(values) if len(values) > 1 else None


def texts_of(line: Line, metric: str, dataset: str, best: float | None, compared: bool) -> list[Text]:
    published = line.row.paper.get(dataset, {}).get(metric)
    beside = [Text(DASH if published is None else f"{published:.3f}")]
    if line.found is None:
        return [Text(DASH), Text(DASH), *([*beside, Text(DASH)] if compared else [])]
    found = line.found.intervals[metric]
    bold = best is not None and line.row.compared and found.value >= best
    texts = [Text(value_text(found), bold), Text(interval_text(found))]
    if compared:
        difference = DASH if published is None else difference_text(found.value - published)
        texts += [*beside, Text(difference)]
    return texts


def records_of(name: str, table: TableConfig, lines: Sequence[Line], dataset: str) -> list[Record]:
    records: list[Record] = []
    for line in lines:
        for metric in table.metrics:
            published = line.row.paper.get(dataset, {}).get(metric)
            about = {"table": name, "dataset": dataset, "label": line.label, "paper": published}
            if line.found is None:
                records.append(about | {"metric": metric})
                continue
            value = line.found.intervals[metric].value
            difference = None if published is None else round(value - published, 6)
            best = line.row.compared and value == best_value(lines, metric)
            records.append(record(line.found, metric, **about, difference=difference, best=best))
    return records
