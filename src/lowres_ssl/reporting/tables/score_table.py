"""A table of scores: a block a data set, probe and split seed, a line an entry, ours beside the paper's numbers."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from lowres_ssl.config.command_schemas import RowConfig, TableConfig
from lowres_ssl.reporting.tables import DASH, Block, Record, Table, Text
from lowres_ssl.reporting.tables.cells import (
    METRIC_TITLES,
    ScoredCell,
    build_record,
    describe_cells,
    format_provenance,
    format_score,
    format_score_interval,
    format_signed,
    get_mark_sign,
    list_results,
    score_cell,
)
from lowres_ssl.reporting.tables.fill_commands import MissingCell, choose_encoder_name, list_fill_commands
from lowres_ssl.runs.comparability import check_same_kind
from lowres_ssl.runs.predictions import check_same_predicted_images
from lowres_ssl.runs.query import BatchSize, ResultColumn, ResultFilters, select_columns
from lowres_ssl.runs.run import CLASSIFIER_PROBE

OTHER_DATASETS = "*"
BATCH_SIZE_NOTE = "Batch size: that with the highest mean validation accuracy over the seeds, of equals the smallest."


@dataclass(frozen=True)
class TableLine:
    """A row of one block: what was found for it, or nothing."""

    label: str
    row: RowConfig
    found: ScoredCell | None


def build_scores_table(
    name: str, table: TableConfig, frame: pd.DataFrame, filters: ResultFilters, output_dir: Path
) -> Table:
    """Raises `ConfigError` for results that cannot stand beside each other, `CheckpointError` for damaged ones."""
    table = select_rows(table, filters)
    blocks: list[Block] = []
    records: list[Record] = []
    holes: list[MissingCell] = []
    probes = [probe for probe in table.probe if filters.probe in (None, probe)]
    columns = {probe: select_table_columns(table, frame, replace(filters, probe=probe)) for probe in probes}
    present = [column.dataset for own in columns.values() for column in own]
    datasets = list_table_datasets(table, present, filters)
    compared = any(dataset in row.paper for row in table.rows.values() for dataset in datasets)
    for dataset in datasets:
        for probe in probes:
            mine: list[ResultColumn | None] = [column for column in columns[probe] if column.dataset == dataset]
            for column in mine or [None]:
                of_block = filters if column is None else replace(filters, split_seed=column.split_seed)
                others = select_probe_columns(table, frame, of_block, dataset)
                lines, empty = build_lines(table, column, others)
                rows = None if column is None else column.rows
                holes += [
                    MissingCell(
                        choose_encoder_name(row, of_block, rows),
                        dataset,
                        row.probe or probe,
                        table.batch_size,
                        of_block,
                    )
                    for row in empty
                ]
                heading = format_block_heading(dataset, probe, column, several=len(mine) > 1)
                blocks.append(build_score_block(heading, table, lines, dataset, compared))
                records += build_score_records(name, table, lines, dataset)
    return Table(
        name=name,
        title=table.title,
        heads=build_heads(table, compared),
        blocks=blocks,
        notes=[*([BATCH_SIZE_NOTE] if table.batch_size == "best" else []), *table.notes],
        records=records,
        missing=[f"{hole.method} on {hole.dataset} by {hole.probe}" for hole in holes],
        commands=list_fill_commands(holes, frame, output_dir),
    )


def select_rows(table: TableConfig, filters: ResultFilters) -> TableConfig:
    """The table without the rows that the filters leave out; what is optional is left out where there is nothing."""
    meant = {
        key: row
        for key, row in table.rows.items()
        if row.optional or any(filters.means(entry) for entry in row.entries)
    }
    return replace(table, rows=meant)


def select_table_columns(
    table: TableConfig, frame: pd.DataFrame, filters: ResultFilters, *, trained_only: bool = False
) -> list[ResultColumn]:
    """The columns of the rows that have no probe of their own (see `columns_of`)."""
    entries = [pattern for row in table.rows.values() if row.probe is None for pattern in row.entries]
    if OTHER_DATASETS not in table.datasets:
        frame = frame[frame["dataset"].isin(table.datasets)]
    return select_columns(frame, filters, entries, trained_only=trained_only)


def select_probe_columns(
    table: TableConfig, frame: pd.DataFrame, filters: ResultFilters, dataset: str
) -> dict[str, ResultColumn]:
    """By probe, the columns of the rows that have one of their own, at the split seed of the filters."""
    found: dict[str, ResultColumn] = {}
    for probe in {row.probe for row in table.rows.values() if row.probe is not None}:
        entries = [pattern for row in table.rows.values() if row.probe == probe for pattern in row.entries]
        own = select_columns(frame, replace(filters, probe=probe, dataset=dataset), entries)
        found |= {probe: own[0]} if len(own) == 1 else {}
    return found


def list_table_datasets(table: TableConfig, present: Sequence[str], filters: ResultFilters) -> list[str]:
    """The table's data sets in its order; "*" are the others that are present."""
    if filters.dataset is not None:
        return [filters.dataset]
    rest = sorted(set(present) - set(table.datasets))
    return [name for each in table.datasets for name in (rest if each == OTHER_DATASETS else [each])]


def build_lines(
    table: TableConfig, column: ResultColumn | None, others: dict[str, ResultColumn]
) -> tuple[list[TableLine], list[RowConfig]]:
    """The lines of a block, and the rows that lack a result."""
    lines: list[TableLine] = []
    empty: list[RowConfig] = []
    for key, row in table.rows.items():
        own = column if row.probe is None else others.get(row.probe)
        found = [] if own is None else score_row_cells(row, own, table)
        lines += [TableLine(get_row_label(row, each, len(found)), row, each) for each in found]
        if not found and not row.optional:
            lines.append(TableLine(row.label or key, row, None))
            empty.append(row)
    there = [line.found for line in lines if line.found is not None]
    if there:
        check_same_kind(pd.concat([each.cell.rows for each in there], ignore_index=True), str(column))
        check_same_predicted_images([(each.cell, each.tested) for each in there])
    return lines, empty


def score_row_cells(row: RowConfig, column: ResultColumn, table: TableConfig) -> list[ScoredCell]:
    """Of the first of the row's patterns that has any, one an entry."""
    size: BatchSize = table.batch_size
    for pattern in row.entries:
        cells = [column.cell(entry, size) for entry in column.entries(pattern)]
        if any(cell is not None for cell in cells):
            return [score_cell(cell, table.metrics) for cell in cells if cell is not None]
    return []


def get_row_label(row: RowConfig, found: ScoredCell, several: int) -> str:
    """The row's label; the entry's own name where the row has none or stands for several."""
    label = found.cell.entry if row.label is None or several > 1 else row.label
    end_to_end = " (end to end)" if row.probe == CLASSIFIER_PROBE else ""
    return f"{label}{end_to_end}"


def build_heads(table: TableConfig, compared: bool) -> list[str]:
    heads = ["", "batch size"]
    for metric in table.metrics:
        heads += [METRIC_TITLES[metric], "95% interval", *(["paper", "difference"] if compared else [])]
    return heads


def format_block_heading(dataset: str, probe: str, column: ResultColumn | None, *, several: bool) -> str:
    if column is None:
        return f"{dataset}, {probe}"
    first = column.rows.iloc[0]
    seed = f", split_seed {column.split_seed}" if several else ""
    return f"{first['title']}, {first['label']}, split {first['split']}{seed}"


def build_score_block(
    heading: str, table: TableConfig, lines: Sequence[TableLine], dataset: str, compared: bool
) -> Block:
    best = {metric: find_best_value(lines, metric) for metric in table.metrics}
    texts = []
    for line in lines:
        size = None if line.found is None else line.found.cell.batch_size
        cells = [Text(line.label + get_mark_sign(line.found)), Text(DASH if size is None else str(size))]
        for metric in table.metrics:
            cells += format_line(line, metric, dataset, best[metric], compared)
        texts.append(cells)
    there = [line.found for line in lines if line.found is not None]
    if not there:
        return Block(heading, texts, ["No results."])
    notes = [note for each in there for note in each.cell.notes]
    return Block(
        heading, texts, [describe_cells(there), *(f"{note}." for note in notes), format_provenance(list_results(there))]
    )


def find_best_value(lines: Sequence[TableLine], metric: str) -> float | None:
    """Of the lines that are compared with each other; None if those are fewer than two."""
    values = [line.found.intervals[metric].value for line in lines if line.found is not None and line.row.compared]
    return max(values) if len(values) > 1 else None


def format_line(line: TableLine, metric: str, dataset: str, best: float | None, compared: bool) -> list[Text]:
    published = line.row.paper.get(dataset, {}).get(metric)
    beside = [Text(DASH if published is None else f"{published:.3f}")]
    if line.found is None:
        return [Text(DASH), Text(DASH), *([*beside, Text(DASH)] if compared else [])]
    found = line.found.intervals[metric]
    bold = best is not None and line.row.compared and found.value >= best
    texts = [Text(format_score(found), bold), Text(format_score_interval(found))]
    if compared:
        difference = DASH if published is None else format_signed(found.value - published)
        texts += [*beside, Text(difference)]
    return texts


def build_score_records(name: str, table: TableConfig, lines: Sequence[TableLine], dataset: str) -> list[Record]:
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
            best = line.row.compared and value == find_best_value(lines, metric)
            records.append(build_record(line.found, metric, **about, difference=difference, best=best))
    return records
