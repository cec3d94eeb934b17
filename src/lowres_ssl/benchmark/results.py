"""Read the results that a benchmark decides by: those of its rungs, of its random encoders and of its frozen rows."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from lowres_ssl.benchmark.plan import BenchmarkPlan
from lowres_ssl.benchmark.schedule import START_WORD, get_start
from lowres_ssl.config.experiment_schema import RANDOM_BASELINES
from lowres_ssl.console import log_warning
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.query import ResultColumn

SHORTCUT_BASELINE = "trivial"


def read_results(folder: Path) -> pd.DataFrame:
    """Read the rows of the index that are scored with all labels."""
    frame, problems = read_index(folder)
    for problem in problems:
        log_warning(problem)
    whole = (frame["state"] == "finished") & frame["result"].notna() & (frame["label_fraction"] == 1.0)
    return frame[whole]


def select_candidate(rows: pd.DataFrame, plan: BenchmarkPlan, name: str, epochs: int) -> pd.DataFrame:
    """Select the results of a candidate after so many epochs, under its name."""
    method, start = name.partition(START_WORD)[0], get_start(name)
    backbone, size = plan.get_architecture(name)
    started = rows["entry"].astype(str).str.startswith(f"{method}{START_WORD}")
    meant = (rows["method"] == method) & (started if start else rows["entry"] == method)
    meant &= (rows["backbone"] == backbone) & (rows["image_size"] == size) & (rows["epochs"] == epochs)
    # Weights that were fetched first and lie in a cache now make a second run of the same.
    return rows[meant].assign(entry=name).drop_duplicates(["probe", "seed"])


def select_column(rows: pd.DataFrame, plan: BenchmarkPlan, probe: str) -> ResultColumn | None:
    """Put beside each other what the answer compares by one probe, under the names that the answer uses: random
    encoders, mean colour, the encoders of others, and the finalist. They may be of unlike size: the images and their
    split are the same. None without results."""
    rows = rows[rows["probe"] == probe]
    own = (rows["image_size"] == plan.settings.image_size) & (rows["backbone"] == plan.settings.backbone)
    # Mean colour is the same run whatever the backbone.
    shortcut = rows[(rows["entry"] == SHORTCUT_BASELINE) & (rows["image_size"] == plan.settings.image_size)]
    parts = [rows[own & rows["entry"].isin(RANDOM_BASELINES)], shortcut.drop_duplicates("seed")]
    for each in plan.pretrained:
        mine = (rows["entry"] == each.entry) & (rows["image_size"] == each.image_size)
        if not each.of_timm:
            mine &= rows["backbone"] == each.backbone
        parts.append(rows[mine].assign(entry=each.name).drop_duplicates("seed"))
    race = plan.race
    if race.finalist is not None and race.last_rung is not None:
        finalist = select_candidate(rows, plan, race.finalist, race.last_rung.epochs)
        parts.append(finalist[finalist["seed"].isin(race.finalist_seeds)])
    together = pd.concat(parts)
    if together.empty:
        return None
    dataset, split_seed = together[["dataset", "split_seed"]].iloc[0]
    return ResultColumn(dataset, probe, int(split_seed), together)


def find_best_pretrained(plan: BenchmarkPlan, rows: pd.DataFrame) -> str | None:
    """Find the encoder of others with the highest validation accuracy by the probe that chooses."""
    column = select_column(rows, plan, plan.asked.chosen_by)
    scores = {} if column is None else read_validation_scores(column)
    names = [each.name for each in plan.pretrained if each.name in scores]
    return max(names, key=lambda name: scores[name], default=None)


def read_validation_scores(column: ResultColumn) -> Mapping[str, float]:
    """The mean validation accuracy of each entry; rounded, so that equal results in another order are equal."""
    means = column.rows.groupby("entry")["validation_accuracy"].mean().astype(float)
    return {str(entry): round(float(mean), 12) for entry, mean in means.items()}
