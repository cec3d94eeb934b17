"""Read a benchmark's results and decide which encoder to recommend: validation names it, the test images show its gain.

The finalist, the best trained encoder by validation, is named unless a pre-trained encoder is there, frozen, and the
finalist is not measurably better than that on the validation images, by three seeds at least: training that adds
nothing is not recommended. On the test images the named encoder is compared with the better random encoder, and the
finalist with the frozen one, with p after Holm's correction for these two. Imports no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pandas as pd

from lowres_ssl.benchmark.plan import SHORTCUT_BASELINE, BenchmarkPlan
from lowres_ssl.benchmark.schedule import START_WORD, get_start
from lowres_ssl.config.experiment_schema import RANDOM_BASELINES
from lowres_ssl.console import log_warning
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.predictions import (
    EvaluatedSubset,
    ResultCell,
    check_same_predicted_images,
    read_cell_predictions,
)
from lowres_ssl.runs.query import ResultColumn, find_better_random
from lowres_ssl.stats.intervals import Interval, compute_interval
from lowres_ssl.stats.paired_tests import (
    MIN_POOLED_SEEDS,
    SIGNIFICANCE_LEVEL,
    ContrastPart,
    Difference,
    compute_differences,
    compute_p_values,
    correct_holm,
)


def read_results(folder: Path) -> pd.DataFrame:
    """Read the rows of the index that are scored with all labels."""
    frame, problems = read_index(folder)
    for problem in problems:
        log_warning(problem)
    whole = (frame["state"] == "finished") & frame["result"].notna() & (frame["label_fraction"] == 1.0)
    return frame[whole]


def select_candidate(
    rows: pd.DataFrame, plan: BenchmarkPlan, name: str, epochs: int, *, half: bool = False
) -> pd.DataFrame:
    """Select the results of a candidate after so many epochs, on all or on `half` of the images, under its name."""
    method, start = name.partition(START_WORD)[0], get_start(name)
    backbone, size = plan.get_architecture(name)
    started = rows["entry"].astype(str).str.startswith(f"{method}{START_WORD}")
    meant = (rows["method"] == method) & (started if start else rows["entry"] == method)
    meant &= rows["pretrain_on"] == ("half" if half else "training")
    meant &= (rows["backbone"] == backbone) & (rows["image_size"] == size) & (rows["epochs"] == epochs)
    # Weights that were fetched first and lie in a cache now make a second run of the same.
    return rows[meant].assign(entry=name).drop_duplicates(["probe", "seed"])


def select_column(rows: pd.DataFrame, plan: BenchmarkPlan, probe: str) -> ResultColumn | None:
    """Put beside each other what the answer compares by one probe, under the names that the answer uses: random
    encoders, mean colour, the pre-trained encoders, and the finalist. They may be of unlike size: the images and their
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
    """Find the pre-trained encoder with the highest validation accuracy by the probe that chooses."""
    column = select_column(rows, plan, plan.asked.chosen_by)
    scores = {} if column is None else read_validation_scores(column)
    names = [each.name for each in plan.pretrained if each.name in scores]
    return max(names, key=lambda name: scores[name], default=None)


def read_validation_scores(column: ResultColumn) -> Mapping[str, float]:
    """The mean validation accuracy of each entry; rounded, so that equal results in another order are equal."""
    means = column.rows.groupby("entry")["validation_accuracy"].mean().astype(float)
    return {str(entry): round(float(mean), 12) for entry, mean in means.items()}


DECISION_METRIC = "accuracy"
RESAMPLES = 4000  # draws for a p, as in `lowres-ssl compare`

Verdict = Literal["use", "none", "cannot tell"]


@dataclass(frozen=True)
class Comparison:
    """One encoder minus another on the test images. `p`: after Holm's correction of all comparisons it was made with;
    None where a method has fewer than three seeds, of which p is too small too often."""

    difference: Difference
    p: float | None

    @property
    def is_significant(self) -> bool:
        return self.p is not None and self.p < SIGNIFICANCE_LEVEL

    @property
    def is_better(self) -> bool:
        return self.is_significant and self.difference.value > 0

    @property
    def is_worse(self) -> bool:
        return self.is_significant and self.difference.value < 0


@dataclass(frozen=True)
class Decision:
    """The results by one probe.

    start: the better random encoder by validation. finalist: the trained encoder that validation chose, None if none
    was trained, and its `seeds`; frozen: the best pre-trained encoder, if there is one. named: finalist or frozen.
    validated: mean validation accuracy by entry. On the validation images: on_validation, named minus start; ahead,
    finalist minus frozen. On the test images: gain, named minus start; over_frozen, finalist minus frozen; p is
    corrected for both. fresh_gain: the gain of the finalist's seeds that had no part in its choice. intervals: test
    accuracy. against_shortcut: named minus `SHORTCUT_BASELINE`. images, validation_images: how many;
    validation_groups: how many patients, counted as if of one size.
    """

    label: str
    start: str
    finalist: str | None
    frozen: str | None
    named: str
    seeds: tuple[int, ...]
    validated: Mapping[str, float]
    on_validation: Difference
    ahead: Difference | None
    gain: Comparison
    over_frozen: Comparison | None
    fresh_gain: float | None
    intervals: Mapping[str, Interval]
    against_shortcut: Difference | None
    images: int
    validation_images: int
    validation_groups: float

    @property
    def is_trained(self) -> bool:
        """Whether the named encoder is the finalist."""
        return self.named == self.finalist

    @property
    def lacks_seeds(self) -> bool:
        return self.is_trained and len(self.seeds) < MIN_POOLED_SEEDS

    @property
    def is_random_validated(self) -> bool:
        """Whether random initialisation is measurably better than the named encoder on the validation images."""
        return not self.lacks_seeds and self.on_validation.high < 0

    @property
    def is_contradicted(self) -> bool:
        """Whether the test images measurably contradict what validation chose."""
        below_frozen = self.is_trained and self.over_frozen is not None and self.over_frozen.is_worse
        return self.gain.is_better and (self.is_random_validated or below_frozen)

    @property
    def is_training_missed(self) -> bool:
        """Whether the frozen encoder is named and the finalist is measurably better on the test images."""
        return not self.is_trained and self.over_frozen is not None and self.over_frozen.is_better

    @property
    def verdict(self) -> Verdict:
        """Whether to use the named encoder, none, or whether the results leave it open."""
        if self.lacks_seeds or self.is_contradicted:
            return "cannot tell"
        if self.gain.is_better:
            return "use"
        return "none" if self.gain.is_worse or self.is_random_validated else "cannot tell"

    @property
    def comparisons(self) -> int:
        """How many the p of `gain` and `over_frozen` is corrected for."""
        return 1 if self.over_frozen is None or self.over_frozen.p is None else 2


def decide(
    column: ResultColumn, pretrained: Sequence[str], finalist: str | None, named: str | None = None
) -> Decision | None:
    """Decide by the results of one probe; None if there is nothing to compare.

    pretrained: names of the pre-trained encoders, in the order of preference. named: what another probe has named.

    Raises `ConfigError` for a run that is there twice, `CheckpointError` if predictions are damaged.
    """
    start, scores = find_better_random(column), read_validation_scores(column)
    frozen = max((name for name in pretrained if name in scores), key=lambda name: scores[name], default=None)
    frozen = named if named in pretrained and named in scores else frozen
    finalist = finalist if finalist in scores else None
    rivals = [each for each in (finalist, frozen) if each is not None]
    if start is None or not rivals or (named is not None and named not in rivals):
        return None
    entries = [each for each in (start, *rivals, SHORTCUT_BASELINE) if each in scores]
    cells = {entry: cell for entry in entries if (cell := column.cell(entry)) is not None}
    seeds = tuple(cells[finalist].seeds) if finalist is not None else ()
    compared = {entry: cell for entry, cell in cells.items() if entry != SHORTCUT_BASELINE}
    validation, test = read_score_parts(compared, "validation"), read_score_parts(cells, "test")
    pairs = [(rivals[0], rivals[1])] if len(rivals) > 1 else []
    ahead = next(iter(compute_differences(validation, pairs)), None)
    if named is None:
        named = rivals[0] if ahead is None or (len(seeds) >= MIN_POOLED_SEEDS and ahead.low > 0) else rivals[1]
    gain, *others = compare_pairs({entry: test[entry] for entry in compared}, [(named, start), *pairs])
    shortcut = compute_differences(test, [(named, SHORTCUT_BASELINE)])[0] if SHORTCUT_BASELINE in test else None
    return Decision(
        label=str(column.rows["label"].iloc[0]),
        start=start,
        finalist=finalist,
        frozen=frozen,
        named=named,
        seeds=seeds,
        validated=scores,
        on_validation=compute_differences(validation, [(named, start)])[0],
        ahead=ahead,
        gain=gain,
        over_frozen=others[0] if others else None,
        fresh_gain=compute_fresh_gain(cells[finalist], cells[start]) if finalist is not None else None,
        intervals={entry: compute_interval(own.counts, DECISION_METRIC) for entry, own in test.items()},
        against_shortcut=shortcut,
        images=int(test[start].counts[0].sum()),
        validation_images=int(validation[start].counts[0].sum()),
        validation_groups=compute_interval(validation[start].counts, DECISION_METRIC).effective_groups,
    )


def read_score_parts(cells: Mapping[str, ResultCell], side: EvaluatedSubset) -> dict[str, ContrastPart]:
    """Read what each entry did on the test or validation images, by accuracy."""
    read = {entry: read_cell_predictions(cell, side) for entry, cell in cells.items()}
    check_same_predicted_images(list(read.values()))
    return {entry: own.scored().make_part(**{DECISION_METRIC: 1.0}) for entry, own in read.items()}


def compare_pairs(parts: Mapping[str, ContrastPart], pairs: Sequence[tuple[str, str]]) -> list[Comparison]:
    """First minus second of each pair, with p corrected for all the pairs."""
    found = compute_differences(parts, pairs)
    testable = [
        pair for pair, own in zip(pairs, found, strict=True) if own.seeds is None or own.seeds >= MIN_POOLED_SEEDS
    ]
    corrected = dict(zip(testable, correct_holm(compute_p_values(parts, testable, draws=RESAMPLES)), strict=True))
    return [Comparison(own, corrected.get(pair)) for pair, own in zip(pairs, found, strict=True)]


def compute_fresh_gain(finalist: ResultCell, start: ResultCell) -> float | None:
    """The gain on the test images of the seeds after the first, by which alone the finalist was chosen."""
    fresh = finalist.rows.loc[finalist.rows["seed"] > 0, DECISION_METRIC]
    if fresh.empty:
        return None
    return float(fresh.astype(float).mean()) - float(start.rows[DECISION_METRIC].astype(float).mean())
