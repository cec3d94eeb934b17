"""The settings of the linear evaluation that validation chose, from `output_dir/tuned/`, beside the paper's Table 1."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from lowres_ssl.command_line.overrides import command_line
from lowres_ssl.errors import DamagedError
from lowres_ssl.evaluation.tuning import by_preference, in_table_1, read_tuned
from lowres_ssl.results.agreement import refuse_disagreement
from lowres_ssl.results.selection import Filters
from lowres_ssl.schemas.table import RowConfig, TableConfig
from lowres_ssl.tables import DASH, Block, Record, Table, Text
from lowres_ssl.tables.missing import Hole, commands, entry_for, place_of
from lowres_ssl.tables.numbers import provenance_of
from lowres_ssl.tables.scores import datasets_of, rows_meant
from lowres_ssl.terminal import count

HEADS = ("", "ours", "validation accuracy", "chosen by", "paper")
READING = (
    "Batch size (learning rate). Where several runs of an entry were tuned (its batch sizes and seeds), the choice is "
    "that of the run with the highest validation accuracy; how many of them chose the same stands beside it. ±: the "
    "standard deviation over the seeds of the probe, where there are several."
)

Tuned = dict[str, Any]  # what `lowres-ssl tune` wrote for a run


def tuned_table(name: str, table: TableConfig, frame: pd.DataFrame, filters: Filters, output_dir: Path) -> Table:
    """Raises `ConfigError` for runs that cannot stand in one column."""
    table = rows_meant(table, filters)
    finished = frame[(frame["state"] == "finished") & (frame["pretrain_on"] != "all")]
    runs = replace(filters, probe=None, settings=None).applied(finished).drop_duplicates("run")
    files_of, damaged = all_of(list(runs["run"]), output_dir)
    runs = runs[runs["run"].isin(files_of.keys())]
    published = published_settings()
    blocks: list[Block] = []
    records: list[Record] = []
    holes: list[Hole] = []
    for dataset in datasets_of(table, list(runs["dataset"]), filters):
        mine = runs[runs["dataset"] == dataset]
        for split_seed in sorted(mine["split_seed"].unique()) or [None]:
            own = mine[mine["split_seed"] == split_seed]
            heading = dataset if split_seed is None else f"{dataset}, split_seed {split_seed}"
            refuse_disagreement(own.assign(probe="linear", settings=""), heading)
            lines = []
            for key, row in table.rows.items():
                entry, tuned = tuned_for(row, own, files_of)
                if not tuned:
                    entry = entry_for(row, filters, own)
                if not tuned and row.optional:
                    continue
                label, paper = row.label or key, published.get(entry, {}).get(dataset)
                lines.append(line_of(label, tuned, paper))
                about = {"table": name, "dataset": dataset, "split_seed": split_seed, "label": label, "entry": entry}
                records.append(about | numbers_of(tuned, paper))
                if not tuned:
                    seed = filters.split_seed if split_seed is None else int(split_seed)
                    holes.append(Hole(entry, dataset, "linear", table.batch_size, replace(filters, split_seed=seed)))
            blocks.append(Block(heading, lines, [described(own, files_of)]))
    return Table(
        name=name,
        title=table.title,
        heads=HEADS,
        blocks=blocks,
        notes=[READING, *table.notes, *damaged],
        records=records,
        missing=[f"{hole.method} on {hole.dataset}" for hole in holes],
        commands=commands_for(holes, finished, frame, output_dir),
    )


def all_of(runs: Sequence[str], output_dir: Path) -> tuple[dict[str, Tuned], list[str]]:
    """What was tuned for the runs, and a line for each file that is damaged, which costs no other."""
    found, damaged = {}, []
    for run in runs:
        try:
            if (there := read_tuned(output_dir, run)) is not None:
                found[run] = there
        except DamagedError as error:
            damaged.append(f"{error}")
    return found, damaged


def published_settings() -> dict[str, dict[str, dict[str, Any]]]:
    """The paper's Table 1, by method and data set, from where the linear evaluation takes it."""
    text = files("lowres_ssl.conf").joinpath("probe", "linear.yaml").read_text(encoding="utf-8")
    said: Any = OmegaConf.to_container(OmegaConf.create(text))
    table: dict[str, dict[str, dict[str, Any]]] = said["table_1"]
    return table


def tuned_for(row: RowConfig, runs: pd.DataFrame, files_of: dict[str, Tuned]) -> tuple[str, list[dict[str, Any]]]:
    """The first of the row's entries that has any, and what was chosen for its runs, the best first."""
    for entry in row.entries:
        chosen = [files_of[run]["chosen"] for run in runs.loc[runs["entry"] == entry, "run"]]
        if chosen:
            return entry, by_preference(chosen)
    return row.entries[0], []


def line_of(label: str, tuned: Sequence[dict[str, Any]], paper: dict[str, Any] | None) -> list[Text]:
    published = DASH if paper is None else in_table_1(paper)
    if not tuned:
        return [Text(label), Text(DASH), Text(DASH), Text(DASH), Text(published)]
    best, same = tuned[0], [each for each in tuned if in_table_1(each) == in_table_1(tuned[0])]
    chosen_by = f"{len(same)} of {count(len(tuned), 'run')}"
    return [Text(label), Text(in_table_1(best)), Text(accuracy_text(best)), Text(chosen_by), Text(published)]


def accuracy_text(chosen: dict[str, Any]) -> str:
    spread = chosen.get("accuracy_spread")
    return f"{chosen['accuracy']:.3f}" + ("" if spread is None else f" ± {spread:.3f}")


def numbers_of(tuned: Sequence[dict[str, Any]], paper: dict[str, Any] | None) -> dict[str, Any]:
    """What a record says of the choice; nothing where there is none."""
    best = tuned[0] if tuned else {}
    return {
        "batch_size": best.get("batch_size"),
        "learning_rate": best.get("learning_rate"),
        "validation_accuracy": best.get("accuracy"),
        "validation_standard_deviation": best.get("accuracy_spread"),
        "runs": len(tuned),
        "paper_batch_size": (paper or {}).get("batch_size"),
        "paper_learning_rate": (paper or {}).get("learning_rate"),
    }


def described(runs: pd.DataFrame, files_of: dict[str, Tuned]) -> str:
    if runs.empty:
        return "Nothing tuned."
    first, trained = runs.iloc[0], runs[runs["batch_size"].notna()]
    recipe = "" if trained.empty else f"recipe {trained['recipe'].iloc[0]}, "
    searched = dict.fromkeys(
        f"rule {files_of[run]['rule']}, {count(files_of[run]['seeds'], 'seed')} of the probe" for run in runs["run"]
    )
    seeds = ", ".join(map(str, sorted(runs["seed"].unique())))
    return (
        f"{recipe}{first['backbone']} at {first['image_size']} px; split {first['split']} (split_seed "
        f"{first['split_seed']}, digest {first['split_digest'][:8]}); {count(len(runs), 'run')} tuned, pre-trained "
        f"with seeds {seeds}; {'; '.join(searched)}. {provenance_of([files_of[run] for run in runs['run']])}"
    )


def commands_for(holes: list[Hole], finished: pd.DataFrame, frame: pd.DataFrame, output_dir: Path) -> list[str]:
    """Tune the runs that are there, pre-train the others."""
    lines, untrained = [], []
    for hole in holes:
        own = replace(hole.filters, probe=None, settings=None).applied(finished[finished["dataset"] == hole.dataset])
        runs = sorted(set(own.loc[own["entry"] == hole.method, "run"]))
        if runs:
            lines.append(command_line("tune", f"run=[{','.join(runs)}]", *place_of(output_dir)))
        else:
            untrained.append(hole)
    return lines + commands(untrained, frame, output_dir)
