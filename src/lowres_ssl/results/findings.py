"""Compare the methods of one column of stored results, and judge the paper's claims by it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from lowres_ssl.results.selection import BatchSize, Cell, Column, better_start
from lowres_ssl.results.tested import check_same_images, tested
from lowres_ssl.runs import AS_THEY_ARE, END_TO_END
from lowres_ssl.schemas.experiment import RANDOM_STARTS
from lowres_ssl.statistics.claims import Judgement, Key, judgements
from lowres_ssl.statistics.comparison import Difference, Part, differences
from lowres_ssl.statistics.significance import holm, p_values
from lowres_ssl.statistics.uncertainty import Interval, interval

SIGNIFICANT = 0.05
BAR = "bar"  # as a reference: the better random encoder of the column, by validation accuracy
ALL = "all"  # as a reference: every method is tested against every other


@dataclass(frozen=True)
class Pair:
    """One method minus another. p, corrected: how often chance alone makes such a difference, and the same after Holm's
    correction of all pairs that were tested; None for a pair that was not."""

    first: Key
    second: Key
    found: Difference
    p: float | None = None
    corrected: float | None = None

    @property
    def significant(self) -> bool:
        return self.corrected is not None and self.corrected < SIGNIFICANT


@dataclass(frozen=True)
class Findings:
    """`intervals`: each method at its chosen batch size, the best first; `pairs`: the better one first, by that order.

    `references`: the entries that the others are tested against; empty where all are tested against each other.
    `one_seed`: the methods that depend on a seed and have a single one, so that no difference to them can be tested.
    `images`, `groups`: of the test set. `notes`: what was left out.
    """

    column: Column
    metric: str
    intervals: Mapping[Key, Interval]
    pairs: tuple[Pair, ...]
    references: tuple[str, ...]
    one_seed: tuple[Key, ...]
    judgements: tuple[Judgement, ...]
    images: int
    groups: int
    notes: tuple[str, ...]

    @property
    def tests(self) -> int:
        """How many pairs p is corrected for."""
        return sum(pair.p is not None for pair in self.pairs)


def findings(
    column: Column,
    metric: str,
    batch_size: BatchSize,
    *,
    imagenet: str,
    draws: int,
    reference: str | Sequence[str] = BAR,
) -> Findings:
    """Compare every method with every other; test each against the entries that `reference` names.

    `batch_size`: of the pairs, and of those claims that are not about batch sizes; "best": by validation accuracy.
    `reference`: an entry, "bar" (see `selection.better_start`), several, or "all". Every pair that is tested costs the
    others power, so the question is asked beforehand. Where the column has none of the references, all are tested
    against each other.

    Raises `ConfigError` for a run that is there twice, `CheckpointError` if predictions are damaged or not of the same
    test images.
    """
    notes: list[str] = []
    cells: dict[Key, Cell] = {}
    chosen: dict[str, Key] = {}
    for entry in column.entries():
        if entry.startswith(AS_THEY_ARE):
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
    named = references_named(reference, column)
    references = tuple(entry for entry in named if entry in chosen)
    if column.probe != END_TO_END:  # an untrained encoder has no head of its own
        notes += missing_starts(column, chosen)
        if named and not references and named != (BAR,):
            notes.append(
                f"{column}: no {' or '.join(named)}, so each is tested against each; there is {', '.join(chosen)}"
            )
    read = {key: tested(cell) for key, cell in cells.items()}
    check_same_images([(cells[key], said) for key, said in read.items()])
    scored = {key: said.scored(cells[key].seeds) for key, said in read.items()}
    found = {key: interval(scored[key].counts, metric) for key in chosen.values()}
    best_first = sorted(found, key=lambda key: -found[key].value)
    first = next(iter(scored.values()))
    images, groups = len(next(iter(read.values())).ids), first.counts.shape[1]
    judged: tuple[Judgement, ...] = ()
    if column.probe != END_TO_END:  # no claim is of heads that were trained with their encoder
        judged = tuple(judgements(scored, chosen, metric, imagenet=imagenet))
    parts = {key: scored[key].by(**{metric: 1.0}) for key in best_first}
    return Findings(
        column=column,
        metric=metric,
        intervals={key: found[key] for key in best_first},
        pairs=tuple(pairs_of(parts, references, draws)),
        references=references,
        one_seed=tuple(key for key, part in parts.items() if part.is_of_one_seed),
        judgements=judged,
        images=images,
        groups=groups,
        notes=tuple(notes),
    )


def references_named(reference: str | Sequence[str], column: Column) -> tuple[str, ...]:
    """The entries that are meant, whether the column has them or not; none for "all"; "bar" where there is none."""
    asked = () if reference == ALL else (reference,) if isinstance(reference, str) else tuple(reference)
    return tuple(dict.fromkeys((better_start(column) or BAR) if entry == BAR else entry for entry in asked))


def missing_starts(column: Column, chosen: Mapping[str, Key]) -> list[str]:
    """A line where one of the random encoders, or both, are not among the results."""
    missing = [start for start in RANDOM_STARTS if start not in chosen]
    alike = "with the data set, backbone and image_size of the others"
    if len(missing) == len(RANDOM_STARTS):
        typed = f"lowres-ssl pretrain -m method={','.join(missing)}"
        return [f"{column}: no random initialisation to compare with; type {typed} {alike}"]
    (there,) = set(RANDOM_STARTS) - set(missing) if missing else ("",)
    return [
        f"{column}: of the two random encoders only {there} is among these results; for the other type lowres-ssl "
        f"pretrain method={start} {alike}"
        for start in missing
    ]


def pairs_of(methods: Mapping[Key, Part], references: Sequence[str], draws: int) -> list[Pair]:
    """Every pair, in the order of the methods; with a p those that are tested and whose chance is known."""
    every = list(combinations(methods, 2))
    found = dict(zip(every, differences(methods, every), strict=True))
    family = [
        pair
        for pair in every
        if not found[pair].is_of_one_seed and (not references or {entry for entry, _ in pair} & set(references))
    ]
    p = p_values(methods, family, draws=draws)
    tested_pairs = dict(zip(family, zip(p, holm(p), strict=True), strict=True))
    return [Pair(*pair, difference, *tested_pairs.get(pair, ())) for pair, difference in found.items()]
