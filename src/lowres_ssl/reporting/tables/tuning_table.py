"""Build a table of the settings of the linear evaluation that validation chose, beside the paper's Table 1."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import pandas as pd
from omegaconf import OmegaConf

from lowres_ssl.config.command_schemas import RowConfig, TableConfig
from lowres_ssl.config.overrides import format_command
from lowres_ssl.console import pluralise
from lowres_ssl.errors import DamagedError
from lowres_ssl.evaluate.tuned_settings import (
    GridLine,
    TunedSettings,
    format_tuned_cell,
    read_tuned_settings,
    sort_by_preference,
)
from lowres_ssl.reporting.cells import OTHERS, describe_rows, format_provenance, list_others
from lowres_ssl.reporting.stored import (
    MissingCell,
    Stored,
    build_output_override,
    choose_encoder_name,
    list_fill_commands,
)
from lowres_ssl.reporting.tables.formats import DASH, Block, Record, Table, Text
from lowres_ssl.reporting.tables.score_table import list_row_patterns, list_table_datasets, select_rows
from lowres_ssl.runs.index import SPECIAL_IMAGES
from lowres_ssl.runs.query import check_same_kind

TUNED_HEADS = ("", "ours", "validation accuracy", "chosen by", "paper")
TUNED_NOTE = (
    "Batch size (learning rate). Where several runs of an entry were tuned (its batch sizes and seeds), the choice is "
    "that of the run with the highest validation accuracy; how many of them chose the same stands beside it. ±: the "
    "standard deviation over the seeds of the probe, where there are several."
)


def build_tuned_table(name: str, table: TableConfig, stored: Stored) -> Table:
    """Raises `ConfigError` for runs that cannot stand in one column."""
    frame, filters = stored.results, stored.filters
    table = select_rows(table, filters)
    finished = frame[(frame["state"] == "finished") & ~frame["pretrain_on"].isin(SPECIAL_IMAGES)]
    runs = replace(filters, probe=None, settings=None).apply(finished).drop_duplicates("run")
    tuned, damaged = read_all_tuned(list(runs["run"]), stored.output_dir)
    runs = runs[runs["run"].isin(tuned.keys())]
    published = read_paper_settings()
    blocks: list[Block] = []
    records: list[Record] = []
    missing: list[MissingCell] = []
    for dataset in list_table_datasets(table, list(runs["dataset"]), filters):
        mine = runs[runs["dataset"] == dataset]
        for split_seed in sorted(mine["split_seed"].unique()) or [None]:
            own = mine[mine["split_seed"] == split_seed]
            heading = dataset if split_seed is None else f"{dataset}, split_seed {split_seed}"
            check_same_kind(own, heading)
            lines = []
            for key, row in table.rows.items():
                choices = list_row_choices(row, own, tuned, list_row_patterns(table))
                if not choices and not row.optional:
                    entry = choose_encoder_name(row, filters, own)
                    choices = {entry: []}
                    at = replace(filters, split_seed=filters.split_seed if split_seed is None else int(split_seed))
                    missing.append(MissingCell(entry, dataset, "linear", table.batch_size, at))
                for entry, chosen in choices.items():
                    label = entry if OTHERS in row.entries else row.label or key
                    paper = published.get(entry, {}).get(dataset, {})
                    lines.append(format_tuned_line(label, chosen, paper))
                    about = {"table": name, "dataset": dataset, "split_seed": split_seed, "label": label}
                    records.append(about | {"entry": entry} | build_tuned_record(chosen, paper))
            blocks.append(Block(heading, lines, [describe_tuned_runs(own, tuned)]))
    return Table(
        name=name,
        title=table.title,
        heads=TUNED_HEADS,
        blocks=blocks,
        notes=[TUNED_NOTE, *table.notes, *damaged],
        records=records,
        missing=[f"{cell.method} on {cell.dataset}" for cell in missing],
        commands=list_tune_commands(missing, finished, stored),
    )


def read_all_tuned(runs: Sequence[str], output_dir: Path) -> tuple[dict[str, TunedSettings], list[str]]:
    """Read what was tuned for the runs, and a line for each damaged file, which costs no other."""
    found, damaged = {}, []
    for run in runs:
        try:
            if (there := read_tuned_settings(output_dir, run)) is not None:
                found[run] = there
        except DamagedError as error:
            damaged.append(f"{error}")
    return found, damaged


def read_paper_settings() -> dict[str, dict[str, dict[str, Any]]]:
    """Read the paper's Table 1, by method and data set, from where the linear evaluation takes it."""
    text = files("lowres_ssl.conf").joinpath("probe", "linear.yaml").read_text(encoding="utf-8")
    config: Any = OmegaConf.to_container(OmegaConf.create(text))
    return cast(dict[str, dict[str, dict[str, Any]]], config["table_1"])


def list_row_choices(
    row: RowConfig, runs: pd.DataFrame, tuned: dict[str, TunedSettings], patterns: Sequence[str]
) -> dict[str, list[GridLine]]:
    """List by entry the choices for its runs, the best first: of the first of the row's entries that has any, or of all
    others. `patterns`: of all rows."""
    for pattern in row.entries:
        entries = list_others(runs["entry"], patterns) if pattern == OTHERS else [pattern]
        runs_of = {entry: runs.loc[runs["entry"] == entry, "run"] for entry in entries}
        choices = {entry: sort_by_preference([tuned[run].chosen for run in own]) for entry, own in runs_of.items()}
        if found := {entry: chosen for entry, chosen in choices.items() if chosen}:
            return found
    return {}


def format_tuned_line(label: str, tuned: Sequence[GridLine], paper: dict[str, Any]) -> list[Text]:
    cells = [DASH, DASH, DASH]
    if tuned:
        best = tuned[0]
        same = [each for each in tuned if each.format_cell() == best.format_cell()]
        spread = "" if best.accuracy_spread is None else f" ± {best.accuracy_spread:.3f}"
        runs = pluralise(len(tuned), "run")
        cells = [best.format_cell(), f"{best.accuracy:.3f}{spread}", f"{len(same)} of {runs}"]
    return [Text(each) for each in (label, *cells, format_tuned_cell(paper) if paper else DASH)]


def build_tuned_record(tuned: Sequence[GridLine], paper: dict[str, Any]) -> dict[str, Any]:
    """Build the choice as a record; nothing where there is none."""
    best = tuned[0] if tuned else None
    return {
        "batch_size": best and best.batch_size,
        "learning_rate": best and best.learning_rate,
        "validation_accuracy": best and best.accuracy,
        "validation_standard_deviation": best and best.accuracy_spread,
        "runs": len(tuned),
        "paper_batch_size": paper.get("batch_size"),
        "paper_learning_rate": paper.get("learning_rate"),
    }


def describe_tuned_runs(runs: pd.DataFrame, tuned: dict[str, TunedSettings]) -> str:
    if runs.empty:
        return "Nothing tuned."
    own = [tuned[run] for run in runs["run"]]
    searched = dict.fromkeys(f"rule {each.rule}, {pluralise(each.seeds, 'seed')} of the probe" for each in own)
    seeds = ", ".join(map(str, sorted(runs["seed"].unique())))
    return (
        f"{describe_rows(runs)}; {pluralise(len(runs), 'run')} tuned, pre-trained with seeds {seeds}; "
        f"{'; '.join(searched)}. {format_provenance([each.environment for each in own])}"
    )


def list_tune_commands(missing: list[MissingCell], finished: pd.DataFrame, stored: Stored) -> list[str]:
    """List the commands that tune the runs that are there, and pre-train the others."""
    lines, untrained = [], []
    for cell in missing:
        own = replace(cell.filters, probe=None, settings=None).apply(finished[finished["dataset"] == cell.dataset])
        runs = sorted(set(own.loc[own["entry"] == cell.method, "run"]))
        if runs:
            lines.append(format_command("tune", f"run=[{','.join(runs)}]", *build_output_override(stored.output_dir)))
        else:
            untrained.append(cell)
    return lines + list_fill_commands(untrained, stored.results, stored.output_dir)
