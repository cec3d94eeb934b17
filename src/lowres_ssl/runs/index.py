"""Every stored run and result as rows of a table, made by scanning `outputs/` each time."""

from pathlib import Path
from typing import Any

import pandas as pd

from lowres_ssl.errors import CheckpointError
from lowres_ssl.io.checksummed_json import hash_content
from lowres_ssl.runs.collapse import NO_MARKS, RUN_MARKS, find_run_marks
from lowres_ssl.runs.result_io import check_predictions_file, read_result
from lowres_ssl.runs.run import RETRAIN_HINT, Run, find_runs, get_encoder_name

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

    Columns: `RUN_COLUMNS`, `RESULT_COLUMNS`, then `METRICS` of the test images. `state` is "finished" or how far it is;
    `learnt_nothing`, `collapsed`: whether the run has these marks (see `collapse`); `entry` is what tables call the
    run: its method, and where its weights came from, if that was elsewhere. `result` is the folder of the result.
    `made`: a digest of how a trained run was made, the same for its other seeds.
    """
    rows: list[dict[str, Any]] = []
    problems = []
    for run in find_runs(output_dir):
        try:
            description = run.description()
            about = build_run_row(run, description)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        results = []
        for folder in run.result_folders():
            try:
                if (result := read_result(folder)) is not None:
                    check_predictions_file(folder, result)
                    results.append(about | build_result_row(folder, result))
            except CheckpointError as error:  # the others are sound all the same
                problems.append(str(error))
        try:
            marks = find_run_marks(run, description)
        except CheckpointError as error:  # its scores are sound all the same
            problems.append(f"{error}; until then nobody knows whether it learnt anything or collapsed")
            marks = NO_MARKS
        rows += [row | marks for row in results or [about]]
    frame = pd.DataFrame(rows, columns=[*RUN_COLUMNS, *RESULT_COLUMNS, *INDEX_METRICS])
    return frame.astype(
        dict.fromkeys(RUN_MARKS, bool)
        | {"storage_size": "Int64", "batch_size": "Int64", "epochs": "Int64", "n": "Int64"}
    ), problems


def build_run_row(run: Run, description: dict[str, Any]) -> dict[str, Any]:
    wanted = description.get("epochs_wanted", 0)
    about = {column: description.get(column) for column in RUN_COLUMNS}
    about |= {key: description[key] for key in ("dataset", "method", "backbone", "image_size", "precision", "seed")}
    if description.get("identity", {}).get("training") and about["batch_size"] is None:
        raise CheckpointError(f"{run.folder / 'run.json'}: no batch_size, though something was trained; {RETRAIN_HINT}")
    state = "finished" if description["finished"] else f"epoch {run.epochs_done()} of {wanted}"
    split = description["split"]
    return about | {
        "run": run.name,
        "state": state,
        "epochs": wanted,
        "split": split["kind"],
        "split_seed": split["seed"],
        "split_digest": split["digest"],
        "storage_size": store[2] if (store := description.get("identity", {}).get("store")) else None,
        "made": compute_training_digest(description),
        "entry": get_encoder_name(description),
    }


def compute_training_digest(description: dict[str, Any]) -> str | None:
    identity = description.get("identity")
    if not identity or "training" not in identity:
        return None
    # What a run starts with is another file for each seed.
    return hash_content({key: value for key, value in identity.items() if key not in ("seed", "initial_weights")})


def build_result_row(folder: Path, result: dict[str, Any]) -> dict[str, Any]:
    settings = ", ".join(f"{key}={value}" for key, value in result["settings"].items())
    labels = result.get("labels", {"fraction": 1.0, "draw": 0})
    about = {
        "precision": result["precision"],
        "probe": result["probe"],
        "label": result["label"],
        "settings": settings,
        "label_fraction": labels["fraction"],
        "label_draw": labels["draw"],
        "n": result["test"]["n"],
        "validation_accuracy": result["validation"] and result["validation"]["accuracy"],
        "split_digest": result["split"]["digest"],
        "result": str(folder),
    }
    return about | {metric: result["test"][metric] for metric in INDEX_METRICS}
