"""Compare the methods of one column of stored results, and judge the paper's claims by it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from lowres_ssl.config.experiment_schema import RANDOM_BASELINES
from lowres_ssl.errors import ConfigError
from lowres_ssl.runs.filters import ResultFilters
from lowres_ssl.runs.predictions import ResultCell, check_same_predicted_images
from lowres_ssl.runs.query import BatchSize, ResultColumn, find_better_random
from lowres_ssl.runs.run import CLASSIFIER_PROBE, WEIGHTS_PREFIX
from lowres_ssl.stats.intervals import Interval
from lowres_ssl.stats.paired_tests import (
    MIN_POOLED_SEEDS,
    SIGNIFICANCE_LEVEL,
    ContrastPart,
    Difference,
    compute_differences,
    compute_p_values,
    correct_holm,
)
from lowres_ssl.stats.paper_claims import CellKey, ClaimVerdict, judge_claims

BETTER_RANDOM = "bar"  # as a reference: the better random encoder of the column, by validation accuracy


@dataclass(frozen=True)
class ComparedPair:
    """Hold one method minus another. p, corrected: how often chance alone makes such a difference, and the same after
    Holm's correction of all pairs that were tested; None for a pair that was not."""

    first: CellKey
    second: CellKey
    found: Difference
    p: float | None = None
    corrected: float | None = None

    @property
    def significant(self) -> bool:
        """Whether p is small enough; never with fewer than three seeds, of which it errs too often."""
        seeds = self.found.seeds
        enough = seeds is None or seeds >= MIN_POOLED_SEEDS
        return enough and self.corrected is not None and self.corrected < SIGNIFICANCE_LEVEL


@dataclass(frozen=True)
class ComparisonFindings:
    """Hold what a comparison found. `intervals`: each method at its chosen batch size, the best first; `pairs`: the
    better one first, by that order.

    `references`: the entries that the others are tested against; empty where all are tested against each other.
    `one_seed`: the methods that depend on a seed and have a single one, so that no difference to them can be tested.
    `images`, `groups`: of the test set. `notes`: what was left out.
    """

    column: ResultColumn
    metric: str
    intervals: Mapping[CellKey, Interval]
    pairs: tuple[ComparedPair, ...]
    references: tuple[str, ...]
    one_seed: tuple[CellKey, ...]
    judgements: tuple[ClaimVerdict, ...]
    images: int
    groups: int
    notes: tuple[str, ...]

    @property
    def test_count(self) -> int:
        """Count the pairs that p is corrected for."""
        return sum(pair.p is not None for pair in self.pairs)


def compare_methods(
    column: ResultColumn,
    metric: str,
    batch_size: BatchSize,
    *,
    imagenet: str,
    draws: int,
    reference: Sequence[str],
    filters: ResultFilters,
) -> ComparisonFindings:
    """Compare every method with every other; test each against the entries that `reference` names.

    `batch_size`: of the pairs, and of those claims that are not about batch sizes; "best": by validation accuracy.
    `reference`: entries, or "bar" (see `find_better_random`). Every pair that is tested costs the others power, so the
    question is asked beforehand. Without references, or where the column has none of them, all are tested against each
    other.

    `filters`: those that chose the column; what they hide is not missing.

    Raises `ConfigError` for a run that is there twice, and where nothing has the batch size; `CheckpointError` if
    predictions are damaged or not of the same test images.
    """
    notes: list[str] = []
    cells: dict[CellKey, ResultCell] = {}
    chosen: dict[str, CellKey] = {}
    for entry in column.entries():
        if entry.startswith(WEIGHTS_PREFIX):
            continue
        cell = column.cell(entry, batch_size)
        if cell is None:
            there = " or ".join(f"batch_size={size}" for size in column.batch_sizes(entry))
            notes.append(f"{column}: {entry} has no run at batch size {batch_size}; there is {there}")
        else:
            chosen[entry] = (entry, cell.batch_size)
            notes += cell.notes
        sizes: list[BatchSize] = [*column.batch_sizes(entry)] or [batch_size]
        for size in sizes:
            if (stored := column.cell(entry, size)) is not None:
                cells[entry, stored.batch_size] = stored
    if not chosen:
        raise ConfigError(
            "; ".join(notes) or f"{column}: nothing but the weights of other runs, which are not compared"
        )
    better = find_better_random(column) or BETTER_RANDOM
    named = tuple(dict.fromkeys(better if entry == BETTER_RANDOM else entry for entry in reference))
    references = tuple(entry for entry in named if entry in chosen)
    if column.probe != CLASSIFIER_PROBE:  # an untrained encoder has no head of its own
        notes += list_missing_random(column, chosen, filters)
        if named and not references and named != (BETTER_RANDOM,):
            notes.append(
                f"{column}: no {' or '.join(named)}, so each is tested against each; there is {', '.join(chosen)}"
            )
    check_same_predicted_images([cell.tested for cell in cells.values()])
    scored = {key: cell.tested.scored() for key, cell in cells.items()}
    found = {key: cells[key].interval(metric) for key in chosen.values()}
    best_first = sorted(found, key=lambda key: -found[key].value)
    judged: tuple[ClaimVerdict, ...] = ()
    if column.probe != CLASSIFIER_PROBE:  # no claim is of heads that were trained with their encoder
        judged = tuple(judge_claims(scored, chosen, metric, imagenet=imagenet))
    parts = {key: scored[key].make_part(**{metric: 1.0}) for key in best_first}
    first = next(iter(scored))
    return ComparisonFindings(
        column=column,
        metric=metric,
        intervals={key: found[key] for key in best_first},
        pairs=tuple(build_pairs(parts, references, draws)),
        references=references,
        one_seed=tuple(key for key, part in parts.items() if part.is_of_one_seed),
        judgements=judged,
        images=len(cells[first].tested.ids),
        groups=scored[first].counts.shape[1],
        notes=tuple(dict.fromkeys(notes)),
    )


def list_missing_random(column: ResultColumn, chosen: Mapping[str, CellKey], filters: ResultFilters) -> list[str]:
    """List a line where one of the random encoders, or both, are not among the results, though the filters mean
    them."""
    missing = [start for start in RANDOM_BASELINES if start not in chosen and filters.means(start)]
    there = [start for start in RANDOM_BASELINES if start in chosen]
    alike = "with the data set, backbone and image_size of the others"
    if missing and not there:
        typed = f"lowres-ssl pretrain -m method={','.join(missing)}"
        return [f"{column}: no random initialisation to compare with; type {typed} {alike}"]
    return [
        f"{column}: of the two random encoders only {there[0]} is among these results; for the other type lowres-ssl "
        f"pretrain method={start} {alike}"
        for start in missing
    ]


def build_pairs(methods: Mapping[CellKey, ContrastPart], references: Sequence[str], draws: int) -> list[ComparedPair]:
    """Build every pair, in the order of the methods; with a p those that are tested and whose chance is known."""
    every = list(combinations(methods, 2))
    found = dict(zip(every, compute_differences(methods, every), strict=True))
    family = [
        pair
        for pair in every
        if not found[pair].is_of_one_seed and (not references or {entry for entry, _ in pair} & set(references))
    ]
    p = compute_p_values(methods, family, draws=draws)
    tested_pairs = dict(zip(family, zip(p, correct_holm(p), strict=True), strict=True))
    return [ComparedPair(*pair, difference, *tested_pairs.get(pair, ())) for pair, difference in found.items()]
