"""Every stored run and result as rows of a table, made by scanning `outputs/` each time."""

from pathlib import Path

import pandas as pd

from lowres_ssl.errors import CheckpointError
from lowres_ssl.runs.collapse import NO_MARKS, RUN_MARKS, find_run_marks
from lowres_ssl.runs.records import ResultRecord, RunRecord
from lowres_ssl.runs.result_io import check_predictions_file, read_result
from lowres_ssl.runs.run import Run, find_runs

RUN_COLUMNS = (
    "run",
    "state",
    *RUN_MARKS,
    "dataset",
    "title",
    "method",
    "entry",
    "recipe",
    "backbone",
    "image_size",
    "storage_size",
    "batch_size",
    "epochs",
    "seed",
    "split",
    "split_seed",
    "pretrain_on",
    "precision",
    "made",
)
RESULT_COLUMNS = (
    "probe",
    "label",
    "settings",
    "label_fraction",
    "label_draw",
    "n",
    "validation_accuracy",
    "split_digest",
    "result",
)
INDEX_METRICS = ("accuracy", "weighted_f1", "macro_f1", "balanced_accuracy", "auroc")


def read_index(output_dir: Path) -> tuple[pd.DataFrame, list[str]]:
    """A row a result, a run without results one row; and a line for each run that cannot be read, in all or in part.

    Columns: `RUN_COLUMNS`, `RESULT_COLUMNS`, then `INDEX_METRICS` of the test images. `state` is "finished" or how far
    it is; `learnt_nothing`, `collapsed`: whether the run has these marks (see `collapse`); `entry` is what tables call
    the run: its method, and where its weights came from, if that was elsewhere. `result` is the folder of the result.
    `made`: a digest of how a trained run was made, the same for its other seeds.
    """
    rows: list[dict[str, object]] = []
    problems = []
    for run in find_runs(output_dir):
        try:
            record = run.read()
        except CheckpointError as error:
            problems.append(str(error))
            continue
        about = build_run_row(run, record)
        results = []
        for folder in run.result_folders():
            try:
                result = read_result(folder)
                check_predictions_file(folder, result)
                results.append(about | build_result_row(folder, result))
            except CheckpointError as error:  # the others are sound all the same
                problems.append(str(error))
        try:
            marks = find_run_marks(run, record)
        except CheckpointError as error:  # its scores are sound all the same
            problems.append(f"{error}; until then nobody knows whether it learnt anything or collapsed")
            marks = NO_MARKS
        rows += [row | marks for row in results or [about]]
    frame = pd.DataFrame(rows, columns=[*RUN_COLUMNS, *RESULT_COLUMNS, *INDEX_METRICS])
    return frame.astype(
        dict.fromkeys(RUN_MARKS, bool)
        | {"storage_size": "Int64", "batch_size": "Int64", "epochs": "Int64", "n": "Int64"}
    ), problems


def build_run_row(run: Run, record: RunRecord) -> dict[str, object]:
    config, training, identity = record.config, record.training, record.identity
    wanted = 0 if training is None else training.epochs
    return {
        "run": run.name,
        "state": f"epoch {run.count_epochs()} of {wanted}" if record.outcome is None else "finished",
        "dataset": config.dataset.name,
        "title": config.dataset.title,
        "method": record.method,
        "entry": record.entry,
        "recipe": config.recipe,
        "backbone": config.backbone.name,
        "image_size": config.image_size,
        "batch_size": None if training is None else training.batch_size,
        "epochs": wanted,
        "seed": config.seed,
        "split": record.split.kind,
        "split_seed": record.split.seed,
        "split_digest": record.split.digest,
        "storage_size": identity.store[2],
        "pretrain_on": record.pretrain_on,
        "precision": identity.precision,
        "made": identity.drop_seed().digest if identity.is_trained else None,
    }


def build_result_row(folder: Path, result: ResultRecord) -> dict[str, object]:
    about = {
        "precision": result.precision,
        "probe": result.probe,
        "label": result.label,
        "settings": ", ".join(f"{key}={value}" for key, value in result.settings.items()),
        "label_fraction": result.labels.fraction,
        "label_draw": result.labels.number,
        "n": result.test.n,
        "validation_accuracy": result.validation and result.validation.accuracy,
        "split_digest": result.split.digest,
        "result": str(folder),
    }
    return about | {metric: getattr(result.test, metric) for metric in INDEX_METRICS}
