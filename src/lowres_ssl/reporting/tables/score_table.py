"""Build a table of scores: a block for each data set, probe and split seed; a line for each encoder."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from glob import escape
from itertools import product

import pandas as pd

from lowres_ssl.config.command_schemas import RowConfig, TableConfig
from lowres_ssl.reporting.cells import (
    METRIC_TITLES,
    OTHERS,
    build_record,
    describe_cells,
    format_cell_provenance,
    format_score,
    format_score_interval,
    format_signed,
    get_mark_sign,
    list_others,
    replace_others,
)
from lowres_ssl.reporting.stored import MissingCell, Stored, choose_encoder_name, list_fill_commands
from lowres_ssl.reporting.tables.formats import DASH, Block, Record, Table, Text
from lowres_ssl.runs.filters import ResultFilters
from lowres_ssl.runs.predictions import ResultCell, check_same_predicted_images
from lowres_ssl.runs.query import ResultColumn, check_same_kind, select_columns, select_ordinary
from lowres_ssl.runs.run import CLASSIFIER_PROBE

BATCH_SIZE_NOTE = "Batch size: that with the highest mean validation accuracy over the seeds, of equals the smallest."


@dataclass(frozen=True)
class TableLine:
    """Hold a line of one block: the row it belongs to, and its result if there is one."""

    label: str
    row: RowConfig
    found: ResultCell | None


def build_scores_table(name: str, table: TableConfig, stored: Stored) -> Table:
    """Raises `ConfigError` for results that cannot stand beside each other, `CheckpointError` for damaged ones."""
    frame, filters = stored.results, stored.filters
    table = select_rows(table, filters)
    blocks: list[Block] = []
    records: list[Record] = []
    missing: list[MissingCell] = []
    probes = list_table_probes(table, frame, filters)
    columns = {probe: select_table_columns(table, frame, replace(filters, probe=probe)) for probe in probes}
    present = {column.dataset for own in columns.values() for column in own} or set(select_ordinary(frame)["dataset"])
    datasets = list_table_datasets(table, present, filters)
    compared = any(dataset in row.paper for row in table.rows.values() for dataset in datasets)
    for dataset, probe in product(datasets, probes):
        mine: list[ResultColumn | None] = [column for column in columns[probe] if column.dataset == dataset]
        for column in mine or [None]:
            own = filters if column is None else replace(filters, split_seed=column.split_seed)
            lines, empty = build_lines(table, column, select_probe_columns(table, frame, own, dataset))
            for row in empty:
                encoder = choose_encoder_name(row, own, None if column is None else column.rows)
                missing.append(MissingCell(encoder, dataset, row.probe or probe, table.batch_size, own))
            heading = f"{dataset}, {probe}" if column is None else format_heading(column, several=len(mine) > 1)
            blocks.append(build_score_block(heading, table, lines, dataset, compared))
            records += build_score_records(name, table, lines, dataset)
    heads = ["", "batch size"]
    for metric in table.metrics:
        heads += [METRIC_TITLES[metric], "95% interval", *(["paper", "difference"] if compared else [])]
    return Table(
        name=name,
        title=table.title,
        heads=heads,
        blocks=blocks,
        notes=[*([BATCH_SIZE_NOTE] if table.batch_size == "best" else []), *table.notes],
        records=records,
        missing=[f"{cell.method} on {cell.dataset} by {cell.probe}" for cell in missing],
        commands=list_fill_commands(missing, frame, stored.output_dir),
    )


def select_rows(table: TableConfig, filters: ResultFilters) -> TableConfig:
    """Drop the rows that the filters leave out; an optional row is left out where it has no result."""
    rows = table.rows.items()
    meant = {key: row for key, row in rows if row.optional or any(filters.means(entry) for entry in row.entries)}
    return replace(table, rows=meant)


def list_table_probes(table: TableConfig, frame: pd.DataFrame, filters: ResultFilters) -> list[str]:
    """List the table's probes in its order; "*" are the others that have results."""
    probes = replace_others(table.probe, set(select_ordinary(frame)["probe"]))
    return [probe for probe in probes if filters.probe in (None, probe)]


def list_table_datasets(table: TableConfig, present: Collection[str], filters: ResultFilters) -> list[str]:
    """List the table's data sets in its order; "*" are the others that are present, alone where no named one is."""
    if filters.dataset is not None:
        return [filters.dataset]
    names = replace_others(table.datasets, present)
    others = [name for name in names if name not in table.datasets]
    return names if not others or any(name in present for name in table.datasets) else others


def list_row_patterns(table: TableConfig) -> list[str]:
    return [pattern for row in table.rows.values() for pattern in row.entries]


def select_table_columns(
    table: TableConfig, frame: pd.DataFrame, filters: ResultFilters, *, trained_only: bool = False
) -> list[ResultColumn]:
    """Select the columns of the rows that have no probe of their own (see `select_columns`)."""
    if OTHERS not in table.datasets:
        frame = frame[frame["dataset"].isin(table.datasets)]
    patterns = [pattern for row in table.rows.values() if row.probe is None for pattern in row.entries]
    if OTHERS in patterns:
        others = list_others(filters.apply(select_ordinary(frame))["entry"], list_row_patterns(table))
        patterns = [each for each in patterns if each != OTHERS] + [escape(entry) for entry in others]
    return select_columns(frame, filters, patterns, trained_only=trained_only)


def select_probe_columns(
    table: TableConfig, frame: pd.DataFrame, filters: ResultFilters, dataset: str
) -> dict[str, ResultColumn]:
    """Select by probe the columns of the rows that have one of their own, at the split seed of the filters."""
    found: dict[str, ResultColumn] = {}
    for probe in {row.probe for row in table.rows.values() if row.probe is not None}:
        entries = [pattern for row in table.rows.values() if row.probe == probe for pattern in row.entries]
        own = select_columns(frame, replace(filters, probe=probe, dataset=dataset), entries)
        found |= {probe: own[0]} if len(own) == 1 else {}
    return found


def build_lines(
    table: TableConfig, column: ResultColumn | None, others: dict[str, ResultColumn]
) -> tuple[list[TableLine], list[RowConfig]]:
    """Build the lines of a block, and the rows that lack a result. `others`: as from `select_probe_columns`."""
    lines: list[TableLine] = []
    empty: list[RowConfig] = []
    for key, row in table.rows.items():
        own = column if row.probe is None else others.get(row.probe)
        found = [] if own is None else read_row_cells(row, own, table)
        for each in found:
            label = each.entry if row.label is None or len(found) > 1 else row.label
            end_to_end = " (end to end)" if row.probe == CLASSIFIER_PROBE else ""
            lines.append(TableLine(f"{label}{end_to_end}", row, each))
        if not found and not row.optional:
            lines.append(TableLine(row.label or key, row, None))
            empty.append(row)
    there = list_found(lines)
    if there:
        check_same_kind(pd.concat([each.rows for each in there], ignore_index=True), str(column))
        check_same_predicted_images([each.tested for each in there])
    return lines, empty


def list_found(lines: Iterable[TableLine]) -> list[ResultCell]:
    return [line.found for line in lines if line.found is not None]


def read_row_cells(row: RowConfig, column: ResultColumn, table: TableConfig) -> list[ResultCell]:
    """Read the cells of the first of the row's patterns that has any, one for each entry it means."""
    for pattern in row.entries:
        is_others = pattern == OTHERS
        entries = list_others(column.entries(), list_row_patterns(table)) if is_others else column.entries(pattern)
        cells = [cell for entry in entries if (cell := column.cell(entry, table.batch_size)) is not None]
        if cells:
            return cells
    return []


def format_heading(column: ResultColumn, *, several: bool) -> str:
    first = column.rows.iloc[0]
    seed = f", split_seed {column.split_seed}" if several else ""
    return f"{first['title']}, {first['label']}, split {first['split']}{seed}"


def build_score_block(
    heading: str, table: TableConfig, lines: Sequence[TableLine], dataset: str, compared: bool
) -> Block:
    best = {metric: find_best_labels(lines, metric) for metric in table.metrics}
    texts = []
    for line in lines:
        size = None if line.found is None else line.found.batch_size
        cells = [Text(line.label + get_mark_sign(line.found)), Text(DASH if size is None else str(size))]
        for metric in table.metrics:
            published = line.row.paper.get(dataset, {}).get(metric)
            score, interval, difference = Text(DASH), Text(DASH), DASH
            if line.found is not None:
                found = line.found.interval(metric)
                score = Text(format_score(found), line.label in best[metric])
                interval = Text(format_score_interval(found))
                difference = DASH if published is None else format_signed(found.value - published)
            beside = [Text(DASH if published is None else f"{published:.3f}"), Text(difference)]
            cells += [score, interval, *(beside if compared else [])]
        texts.append(cells)
    there = list_found(lines)
    if not there:
        return Block(heading, texts, ["No results."])
    notes = dict.fromkeys(f"{note}." for each in there for note in each.notes)
    return Block(heading, texts, [describe_cells(there, table.metrics[0]), *notes, format_cell_provenance(there)])


def find_best_labels(lines: Iterable[TableLine], metric: str) -> set[str]:
    """Find the labels of the best of the lines that are compared with each other; none if those are fewer than two. A
    method that has learnt nothing in one of its runs is never the best."""
    values = {
        line.label: line.found.interval(metric).value
        for line in lines
        if line.found is not None and line.row.compared and not line.found.marks["learnt_nothing"]
    }
    return {label for label, value in values.items() if value == max(values.values())} if len(values) > 1 else set()


def build_score_records(name: str, table: TableConfig, lines: Sequence[TableLine], dataset: str) -> list[Record]:
    records: list[Record] = []
    for line, metric in product(lines, table.metrics):
        published = line.row.paper.get(dataset, {}).get(metric)
        about = {"table": name, "dataset": dataset, "label": line.label, "paper": published}
        if line.found is None:
            records.append(about | {"metric": metric})
            continue
        difference = None if published is None else round(line.found.interval(metric).value - published, 6)
        best = line.label in find_best_labels(lines, metric)
        records.append(build_record(line.found, metric, **about, difference=difference, best=best))
    return records
