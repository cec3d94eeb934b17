"""The settings of the linear evaluation that validation chose, from `output_dir/tuned/`, beside the paper's Table 1."""

from collections import Counter
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from lowres_ssl.agreement import refuse_disagreement
from lowres_ssl.runs import read_json
from lowres_ssl.selection import Filters
from lowres_ssl.table_schema import RowConfig, TableConfig
from lowres_ssl.tables import DASH, Block, Record, Table, Text
from lowres_ssl.tables.missing import Hole, commands, place_of, typed
from lowres_ssl.tables.scores import datasets_of
from lowres_ssl.terminal import count

Setting = tuple[int, float]  # batch size, learning rate
HEADS = ("", "ours", "paper")
READING = "Batch size (learning rate); × how often, where the runs of an entry chose differently."


def tuned_table(name: str, table: TableConfig, frame: pd.DataFrame, filters: Filters, output_dir: Path) -> Table:
    """Raises `ConfigError` for runs that cannot stand in one column, `CheckpointError` for a damaged file."""
    finished = frame[(frame["state"] == "finished") & (frame["pretrain_on"] != "all")]
    runs = replace(filters, probe=None, settings=None).applied(finished).drop_duplicates("run")
    chosen = {run: setting for run in runs["run"] if (setting := chosen_for(output_dir, run)) is not None}
    runs = runs[runs["run"].isin(chosen.keys())]
    published = published_settings()
    blocks: list[Block] = []
    records: list[Record] = []
    holes: list[Hole] = []
    for dataset in datasets_of(table, list(runs["dataset"]), filters):
        mine = runs[runs["dataset"] == dataset]
        for split_seed in sorted(mine["split_seed"].unique()) or [None]:
            own = mine[mine["split_seed"] == split_seed]
            where = f"{dataset}, split_seed {split_seed}"
            refuse_disagreement(own.assign(probe="linear", settings=""), where)
            lines = []
            for key, row in table.rows.items():
                entry, counted = counted_for(row, own, chosen)
                if not counted and row.optional:
                    continue
                paper = published.get(entry, {}).get(dataset)
                lines.append(
                    [Text(row.label or key), Text(ours(counted)), Text(setting_text(paper) if paper else DASH)]
                )
                records += records_of(name, dataset, split_seed, row.label or key, entry, counted, paper)
                if not counted:
                    seed = filters.split_seed if split_seed is None else int(split_seed)
                    holes.append(Hole(entry, dataset, "linear", table.batch_size, replace(filters, split_seed=seed)))
            blocks.append(Block(where if len(own) else dataset, lines, [described(own)]))
    return Table(
        name=name,
        title=table.title,
        heads=HEADS,
        blocks=blocks,
        notes=[READING, *table.notes],
        records=records,
        missing=[f"{hole.method} on {hole.dataset}" for hole in holes],
        commands=commands_for(holes, finished, frame, output_dir),
    )


def chosen_for(output_dir: Path, run: str) -> Setting | None:
    """What `lowres-ssl tune` chose for a run; None if it was not asked."""
    path = output_dir / "tuned" / f"{run}.json"
    tuned = read_json(path, f"remove {path} and type: lowres-ssl tune run={run}")
    return None if tuned is None else (int(tuned["chosen"]["batch_size"]), float(tuned["chosen"]["learning_rate"]))


def published_settings() -> dict[str, dict[str, Setting]]:
    """The paper's Table 1, by method and data set, from where the linear evaluation takes it."""
    text = files("lowres_ssl.conf").joinpath("probe", "linear.yaml").read_text(encoding="utf-8")
    said: Any = OmegaConf.to_container(OmegaConf.create(text))
    return {
        method: {dataset: (own["batch_size"], own["learning_rate"]) for dataset, own in sets.items()}
        for method, sets in said["table_1"].items()
    }


def counted_for(row: RowConfig, runs: pd.DataFrame, chosen: dict[str, Setting]) -> tuple[str, Counter[Setting]]:
    """The first of the row's entries that has any, and how often each setting was chosen for it."""
    for entry in row.entries:
        counted = Counter(chosen[run] for run in runs.loc[runs["entry"] == entry, "run"])
        if counted:
            return entry, counted
    return row.entries[0], Counter()


def setting_text(setting: Setting) -> str:
    return f"{setting[0]} ({setting[1]:g})"


def ours(counted: Counter[Setting]) -> str:
    if len(counted) < 2:
        return "".join(map(setting_text, counted)) or DASH
    return ", ".join(f"{setting_text(setting)} ×{often}" for setting, often in counted.most_common())


def described(runs: pd.DataFrame) -> str:
    if runs.empty:
        return "Nothing tuned."
    first = runs.iloc[0]
    trained = runs[runs["batch_size"].notna()]
    recipe = "" if trained.empty else f"recipe {trained['recipe'].iloc[0]}, "
    return (
        f"{recipe}{first['backbone']} at {first['image_size']} px; split {first['split']} (split_seed "
        f"{first['split_seed']}); {count(len(runs), 'run')} tuned, pre-training seeds "
        f"{', '.join(map(str, sorted(runs['seed'].unique())))}."
    )


def records_of(
    name: str,
    dataset: str,
    split_seed: object,
    label: str,
    entry: str,
    counted: Counter[Setting],
    paper: Setting | None,
) -> list[Record]:
    about = {"table": name, "dataset": dataset, "split_seed": split_seed, "label": label, "entry": entry}
    published = dict(zip(("paper_batch_size", "paper_learning_rate"), paper or (None, None), strict=True))
    rows: list[tuple[Any, Any, int]] = [(*setting, often) for setting, often in counted.most_common()]
    return [
        about | {"batch_size": size, "learning_rate": rate, "runs": often} | published
        for size, rate, often in rows or [(None, None, 0)]
    ]


def commands_for(holes: list[Hole], finished: pd.DataFrame, frame: pd.DataFrame, output_dir: Path) -> list[str]:
    """Tune the runs that are there, pre-train the others."""
    lines, untrained = [], []
    for hole in holes:
        own = replace(hole.filters, probe=None, settings=None).applied(finished[finished["dataset"] == hole.dataset])
        runs = sorted(set(own.loc[own["entry"] == hole.method, "run"]))
        if runs:
            lines.append(typed("tune", f"run=[{','.join(runs)}]", *place_of(output_dir)))
        else:
            untrained.append(hole)
    return lines + commands(untrained, frame, output_dir)
