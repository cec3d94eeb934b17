"""One column of stored results compared: each method with each other, and what becomes of the paper's claims."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

from lowres_ssl.results.selection import BatchSize, Cell, Column
from lowres_ssl.results.tested import check_same_images, tested
from lowres_ssl.runs import AS_THEY_ARE, END_TO_END
from lowres_ssl.statistics.claims import Judgement, Key, judgements
from lowres_ssl.statistics.comparison import Comparison, Scored, aligned, compare, draw_swaps, holm
from lowres_ssl.statistics.uncertainty import Interval, draw, interval

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Pair:
    """One method minus another. `corrected`: p after Holm's correction of all pairs of the column."""

    first: Key
    second: Key
    found: Comparison
    corrected: float

    @property
    def significant(self) -> bool:
        return self.corrected < SIGNIFICANT


@dataclass(frozen=True)
class Findings:
    """`intervals`: each method at its chosen batch size, the best first; `pairs`: the better one first, by that order.

    `images`, `groups`: of the test set. `notes`: what was left out.
    """

    column: Column
    metric: str
    intervals: Mapping[Key, Interval]
    pairs: tuple[Pair, ...]
    judgements: tuple[Judgement, ...]
    images: int
    groups: int
    notes: tuple[str, ...]


def findings(column: Column, metric: str, batch_size: BatchSize, *, imagenet: str, draws: int) -> Findings:
    """`batch_size`: of the pairs, and of those claims that are not about batch sizes; "best": by validation accuracy.

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
    if "random" not in chosen and column.probe != END_TO_END:  # an untrained encoder has no head of its own
        notes.append(
            f"{column}: no random initialisation to compare with; type lowres-ssl pretrain method=random with the data "
            "set, backbone and image_size of the others"
        )
    read = {key: tested(cell) for key, cell in cells.items()}
    check_same_images([(cells[key], said) for key, said in read.items()])
    scored = {key: Scored(said.counts(), tuple(cells[key].seeds)) for key, said in read.items()}
    found = {key: interval(scored[key].counts, metric, draws=draws) for key in chosen.values()}
    best_first = sorted(found, key=lambda key: -found[key].value)
    first = next(iter(scored.values()))
    images, groups = len(next(iter(read.values())).ids), first.counts.shape[1]
    resampled, swaps = draw(groups, draws=draws), draw_swaps(groups, seed=1, draws=draws)
    compared = []
    for better, worse in combinations(best_first, 2):
        ours, theirs = aligned([scored[better], scored[worse]])
        compared.append((better, worse, compare(ours, theirs, metric, resampled, swaps)))
    corrected = holm([comparison.p for _, _, comparison in compared])
    judged: tuple[Judgement, ...] = ()
    if column.probe != END_TO_END:  # no claim is of heads that were trained with their encoder
        judged = tuple(judgements(scored, chosen, metric, resampled, imagenet=imagenet))
    return Findings(
        column=column,
        metric=metric,
        intervals={key: found[key] for key in best_first},
        pairs=tuple(Pair(*pair, p) for pair, p in zip(compared, corrected, strict=True)),
        judgements=judged,
        images=images,
        groups=groups,
        notes=tuple(notes),
    )
