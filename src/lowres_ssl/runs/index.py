"""Scan `outputs/`: every stored run and result as rows of a table, that table in words, and what nobody needs."""

import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from lowres_ssl.console import count_bytes, format_bytes, format_table
from lowres_ssl.errors import CheckpointError
from lowres_ssl.io.atomic import get_previous_path
from lowres_ssl.io.checksummed_json import hash_content
from lowres_ssl.runs.filters import list_differing_settings
from lowres_ssl.runs.history import NO_MARKS, RUN_MARKS, find_run_marks
from lowres_ssl.runs.records import ResultRecord, RunRecord
from lowres_ssl.runs.result_io import check_file_hash, read_result
from lowres_ssl.runs.run import Run, find_runs
from lowres_ssl.stats.intervals import CONFUSION_METRICS

SPECIAL_IMAGES = ("half", "all")  # values of `pretrain_on` whose encoders stand in no table beside the others
INDEX_METRICS = (*CONFUSION_METRICS, "auroc")
RUN_COLUMNS: dict[str, Callable[[RunRecord], object]] = {
    "dataset": lambda record: record.config.dataset.name,
    "title": lambda record: record.config.dataset.title,
    "method": lambda record: record.method,
    "entry": lambda record: record.entry,
    "recipe": lambda record: record.config.recipe,
    "backbone": lambda record: record.config.backbone.title,
    "image_size": lambda record: record.config.image_size,
    "storage_size": lambda record: record.identity.store[2],
    "batch_size": lambda record: record.training and record.training.batch_size,
    "epochs": lambda record: record.training.epochs if record.training else 0,
    "optimiser": lambda record: record.training and record.training.optimiser["name"],
    "seed": lambda record: record.config.seed,
    "split": lambda record: record.split.kind,
    "split_seed": lambda record: record.split.seed,
    "pretrain_on": lambda record: record.pretrain_on,
    "precision": lambda record: record.identity.precision,
    "made": lambda record: record.identity.drop_seed().digest if record.identity.is_trained else None,
    "split_digest": lambda record: record.split.digest,
}
RESULT_COLUMNS: dict[str, Callable[[ResultRecord], object]] = {
    "probe": lambda result: result.probe,
    "label": lambda result: result.label,
    "settings": lambda result: ", ".join(f"{key}={value}" for key, value in result.settings.items()),
    "label_fraction": lambda result: result.labels.fraction,
    "label_draw": lambda result: result.labels.number,
    "n": lambda result: result.test.n,
    "validation_accuracy": lambda result: result.validation and result.validation.accuracy,
    "precision": lambda result: result.precision,
    "split_digest": lambda result: result.split.digest,
}
RUN_TABLE_COLUMNS = ["run", "title", "state", "split", "recipe", "backbone", "image_size", "epochs"]
WHOLE_NUMBERS = ("storage_size", "batch_size", "epochs", "n")
SECONDS_PER_DAY = 24 * 60 * 60  # what is younger may belong to a process that is still at work


def read_index(output_dir: Path) -> tuple[pd.DataFrame, list[str]]:
    """Read a row for each result, a run without results one row; and a line for each run that cannot be read, in all or
    in part.

    Columns: "run", "state" ("finished" or how far it is), `RUN_MARKS` (whether the run has them, see `history`),
    `RUN_COLUMNS`, "start" (see `identify_start`), `RESULT_COLUMNS`, "result" (the folder of the result) and
    `INDEX_METRICS` of the test images. `entry` is what tables call the run: its method, and where its weights came
    from, if that was elsewhere. `made`: a digest of how a trained run was made, the same for its other seeds.
    """
    rows: list[dict[str, object]] = []
    problems = []
    records: dict[Run, RunRecord] = {}
    for run in find_runs(output_dir):
        try:
            records[run] = run.read()
        except CheckpointError as error:
            problems.append(str(error))
    writers = {digest: record for record in records.values() for digest in record.encoders.values()}
    for run, record in records.items():
        about: dict[str, object] = {"run": run.name} | {column: get(record) for column, get in RUN_COLUMNS.items()}
        about["start"] = identify_start(record, writers)
        is_finished = record.outcome is not None
        about["state"] = "finished" if is_finished else f"epoch {run.count_epochs()} of {about['epochs']}"
        results = []
        for folder in run.result_folders():
            try:
                result = read_result(folder)
                check_file_hash(folder / "predictions.npz", result.predictions_sha256)
            except CheckpointError as error:  # the others are sound all the same
                problems.append(str(error))
                continue
            scores = {metric: getattr(result.test, metric) for metric in INDEX_METRICS}
            own = {column: get(result) for column, get in RESULT_COLUMNS.items()}
            results.append(about | own | {"result": str(folder)} | scores)
        try:
            marks = find_run_marks(run, record)
        except CheckpointError as error:  # its scores are sound all the same
            problems.append(f"{error}; until then nobody knows whether it learnt anything or collapsed")
            marks = NO_MARKS
        rows += [row | marks for row in results or [about]]
    columns = dict.fromkeys(
        ["run", "state", *RUN_MARKS, *RUN_COLUMNS, "start", *RESULT_COLUMNS, "result", *INDEX_METRICS]
    )
    frame = pd.DataFrame(rows, columns=list(columns))
    return frame.astype(dict.fromkeys(RUN_MARKS, bool) | dict.fromkeys(WHOLE_NUMBERS, "Int64")), problems


def identify_start(record: RunRecord, writers: Mapping[str, RunRecord]) -> str | None:
    """Identify the weights that a training started with, so that its seeds can be compared: by how the run was made
    that wrote them, which is the same for each of its seeds, or else by the bytes of the file.

    `writers`: the runs that there are, by the SHA-256 of each encoder. None of a random start, and of the encoder of a
    run that is there no longer.
    """
    digest, training = record.identity.initial_weights, record.training
    if digest is None or training is None:
        return None
    if (writer := writers.get(digest)) is not None:
        made = [writer.identity.drop_seed().digest, identify_start(writer, writers)]
        return hash_content(made)
    named = training.initial_weights
    is_file = any(f" from {name}" in record.entry for name in (named, Path(named).name))
    return digest if is_file else None


def format_state(row: "pd.Series[Any]") -> str:
    """Describe how far a run is, and its marks: "finished, collapsing"."""
    return ", ".join([row["state"], *(mark.word for key, mark in RUN_MARKS.items() if row[key])])


def format_run_table(frame: pd.DataFrame) -> str:
    """Show a line a run: accuracy / weighted F1 of each probe that was fitted on all training labels.

    Scores with fewer labels are several draws of several fractions; a note lists them and where to see them.
    """
    frame = frame.assign(column=name_scoring_columns(frame))
    labels = list(frame["column"].dropna().unique())
    # An encoder that has seen the test images, or half of the others, is never shown without saying so.
    shown = (
        [*RUN_TABLE_COLUMNS, "pretrain_on"] if frame["pretrain_on"].isin(SPECIAL_IMAGES).any() else RUN_TABLE_COLUMNS
    )
    rows = []
    for _, group in frame.groupby("run", sort=True):
        first = group.iloc[0].copy()
        first["state"] = format_state(first)
        if group["column"].isna().all() and (parts := format_label_fractions(group)):
            first["state"] += f", scored with {parts} only"
        described = ["-" if pd.isna(first[key]) else str(first[key]) for key in shown]
        rows.append([*described, *[format_run_scores(group[group["column"] == label]) for label in labels]])
    heads = [*(head.replace("_", " ") for head in shown), *labels]
    note = (
        "Scores: accuracy / weighted F1 on the test images. More: format=csv or format=json. "
        "Score one again: lowres-ssl evaluate run=RUN"
    )
    if parts := format_label_fractions(frame):
        note += (
            f"\nNot shown: scores with {parts}. Each draw: format=csv. Their means: lowres-ssl figures figure=[labels]"
        )
    for key, mark in RUN_MARKS.items():
        if frame[key].any():
            note += f"\n{mark.word.capitalize()}: {mark.meaning}."
    return format_table(heads, rows) + f"\n\n{note}"


def name_scoring_columns(frame: pd.DataFrame) -> "pd.Series[str]":
    """Name the column of each result; none for a run without results, and for a result with fewer labels.

    One column is one way of scoring: a label that stands for several settings is distinguished by them.
    """
    named = frame["label"].where(frame["label_fraction"] == 1).astype(object)
    for label, settings in frame["settings"].groupby(named):
        ways = list(settings.unique())
        differing = dict(zip(ways, list_differing_settings(ways), strict=True))
        named[settings.index] = [", ".join(filter(None, [label, differing[way]])) for way in settings]
    return named


def format_run_scores(results: pd.DataFrame) -> str:
    """Show the result of one run and way of scoring; several are of several precisions, each with its name."""
    texts = [f"{row.accuracy:.3f} / {row.weighted_f1:.3f} ({row.precision})" for row in results.itertuples()]
    return "; ".join(texts if len(texts) > 1 else [text.partition(" (")[0] for text in texts]) or "-"


def format_label_fractions(frame: pd.DataFrame) -> str:
    """Name the label fractions below 1 that were scored: "1%, 10% of the labels"; "" if there are none."""
    below = sorted({float(each) for each in frame["label_fraction"].dropna() if each < 1})
    return f"{', '.join(f'{100 * each:g}%' for each in below)} of the labels" if below else ""


def find_leftovers(output_dir: Path, store_dir: Path) -> dict[Path, str]:
    """Find what can go, and why. Stores that lie outside `output_dir` may serve runs elsewhere: they are left alone.

    Raises `CheckpointError` if a run cannot be read, since then it is not known which store it needs.
    """
    found: dict[Path, str] = {}
    needed = set()
    for folder in (output_dir, *sorted((output_dir / "benchmark").glob("*"))):  # whose runs use the same decoded images
        for run in find_runs(folder):
            record = run.read()
            needed.add(record.store)
            for checkpoint in (run.checkpoint, get_previous_path(run.checkpoint)):
                if record.outcome is not None and checkpoint.exists():
                    found[checkpoint] = "training state of a finished run"
    if output_dir.resolve() in store_dir.resolve().parents:
        for store in sorted(store_dir.glob("*/store.json")):
            if store.parent.name not in needed and is_older_than_a_day(store):
                found[store.parent] = "decoded images that no run needs, a day old"
    for ending in (".part", ".lock"):  # what is locked has a heartbeat, so it is never old
        for path in sorted(output_dir.rglob(f".*{ending}")):
            if is_older_than_a_day(path):
                found[path] = "broken off more than a day ago"
    return found


def is_older_than_a_day(path: Path) -> bool:
    """Whether it is; False for a file that another process has removed meanwhile."""
    try:
        return time.time() - path.stat().st_mtime > SECONDS_PER_DAY
    except FileNotFoundError:
        return False


def remove_leftovers(output_dir: Path, store_dir: Path) -> None:
    """Show what can go, then remove it. Raises as `find_leftovers`, and `OSError`."""
    found = find_leftovers(output_dir, store_dir)
    if not found:
        print(f"nothing to remove below {output_dir}")
        return
    sizes = {path: count_bytes(path) for path in found}
    rows = [[str(path), format_bytes(sizes[path]), why] for path, why in found.items()]
    print(format_table(["removed", "", ""], rows), flush=True)
    for path in found:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    print(f"{format_bytes(sum(sizes.values()))} freed")
