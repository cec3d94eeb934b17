"""Decide which method to recommend: validation chooses it, the test images show whether it gains anything.

The method with the highest mean validation accuracy by one probe is chosen, of equals the one named first; it need not
beat random initialisation there. On the test images it is compared with the better random encoder and with each other
method, with p after Holm's correction for all of these: a method with lucky seeds is lucky on validation and on test
images. Random initialisation is recommended only where it is measurably better than the chosen method, on the test
images or on the validation images. Imports no torch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from lowres_ssl.config.experiment_schema import RANDOM_BASELINES
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

SHORTCUT_BASELINE = "trivial"
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

    chosen: the method that validation chose; start: the random encoder that it is compared with. validated: mean
    validation accuracy of `start` and each method. on_validation: chosen minus start there. gain, ahead: chosen minus
    start, and minus each other method; p is corrected for all of these. others_gain: each other method minus start; p
    is corrected for these. left_out_gain: see `compute_left_out_gain`. intervals: accuracy of chosen, start and, if it
    is there, `SHORTCUT_BASELINE`; against_shortcut: chosen minus that. images, groups: of the test set.
    """

    label: str
    chosen: str
    start: str
    seeds: tuple[int, ...]
    validated: Mapping[str, float]
    on_validation: Difference
    gain: Comparison
    ahead: Mapping[str, Comparison]
    others_gain: Mapping[str, Comparison]
    left_out_gain: float | None
    intervals: Mapping[str, Interval]
    against_shortcut: Difference | None
    images: int
    groups: int

    @property
    def is_random_validated(self) -> bool:
        """Whether random initialisation is measurably better than the chosen method on the validation images."""
        return len(self.seeds) >= MIN_POOLED_SEEDS and self.on_validation.high < 0

    @property
    def verdict(self) -> Verdict:
        """Whether to use the chosen method, none of the methods, or whether the results leave it open."""
        if self.gain.is_better:
            return "cannot tell" if self.is_random_validated else "use"
        return "none" if self.gain.is_worse or self.is_random_validated else "cannot tell"

    @property
    def comparisons(self) -> int:
        """How many the p of `gain` and `ahead` is corrected for."""
        return 1 + len(self.ahead)

    @property
    def none_is_better(self) -> bool:
        """Whether no method is significantly above the random encoder on the test images."""
        return not any(compared.is_better for compared in (self.gain, *self.others_gain.values()))


def choose_method(
    column: ResultColumn, methods: Sequence[str], seeds: Sequence[int], chosen: str | None = None
) -> Decision | None:
    """Decide by the results of one probe; None if there is nothing to compare.

    methods: in the order of preference; the candidates are those that have every one of `seeds`, without random
    encoders and mean colour. `chosen`: the method that another probe has chosen, if one has.

    Raises `ConfigError` for a run that is there twice, `CheckpointError` if predictions are damaged.
    """
    start = find_better_random(column)
    complete = [entry for entry in column.entries() if has_all_seeds(column, entry, seeds)]
    if start not in complete:  # one of its runs failed
        start = next((each for each in RANDOM_BASELINES if each in complete), None)
    untrained = (*RANDOM_BASELINES, SHORTCUT_BASELINE)
    candidates = [method for method in methods if method in complete and method not in untrained]
    if start is None or not candidates or chosen not in (None, *candidates):
        return None
    entries = [start, *candidates, *column.entries(SHORTCUT_BASELINE)]
    cells = {entry: cell for entry in entries if (cell := column.cell(entry)) is not None}
    validated = {
        entry: compute_rounded_mean(cells[entry].rows["validation_accuracy"]) for entry in (start, *candidates)
    }
    chosen = chosen or max(candidates, key=lambda method: validated[method])
    test = read_score_parts(cells, "test")
    validation = read_score_parts({entry: cells[entry] for entry in (start, chosen)}, "validation")
    everyone = {entry: test[entry] for entry in (start, *candidates)}
    others = [method for method in candidates if method != chosen]
    gain, *ahead = compare_pairs(everyone, [(chosen, each) for each in (start, *others)])
    counts = test[start].terms[0].counts
    shortcut = test.get(SHORTCUT_BASELINE)
    return Decision(
        label=str(column.rows["label"].iloc[0]),
        chosen=chosen,
        start=start,
        seeds=tuple(seeds),
        validated=validated,
        on_validation=compute_differences(validation, [(chosen, start)])[0],
        gain=gain,
        ahead=dict(zip(others, ahead, strict=True)),
        others_gain=dict(zip(others, compare_pairs(everyone, [(each, start) for each in others]), strict=True)),
        left_out_gain=compute_left_out_gain(cells, candidates, start),
        intervals={
            entry: compute_interval(test[entry].terms[0].counts, DECISION_METRIC)
            for entry in (chosen, start, SHORTCUT_BASELINE)
            if entry in test
        },
        against_shortcut=None if shortcut is None else compute_differences(test, [(chosen, SHORTCUT_BASELINE)])[0],
        images=int(counts[0].sum()),
        groups=counts.shape[1],
    )


def has_all_seeds(column: ResultColumn, entry: str, seeds: Sequence[int]) -> bool:
    """Whether an entry has a validation accuracy for each of the seeds."""
    rows = column.rows[column.rows["entry"] == entry]
    return set(rows["seed"]) >= set(seeds) and not rows["validation_accuracy"].isna().any()


def compute_rounded_mean(accuracies: "pd.Series[Any]") -> float:
    """Rounded, so that equal results in another order are equal."""
    return round(float(accuracies.astype(float).mean()), 12)


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


def compute_left_out_gain(cells: Mapping[str, ResultCell], candidates: Sequence[str], start: str) -> float | None:
    """Leave each seed out of the choice in turn and measure the gain on it: the mean is not flattered by the choice."""
    by_seed = {entry: cells[entry].rows.set_index("seed") for entry in (start, *candidates)}
    seeds = sorted(set.intersection(*(set(by_seed[each].index) for each in candidates)))
    if len(seeds) < 2 or len(candidates) < 2:
        return None
    gains = []
    for seed in seeds:
        means = {each: compute_rounded_mean(by_seed[each]["validation_accuracy"].drop(seed)) for each in candidates}
        chosen = max(candidates, key=lambda each: means[each])
        gains.append(float(by_seed[chosen].loc[seed, "accuracy"]) - float(by_seed[start]["accuracy"].mean()))
    return float(np.mean(gains))
