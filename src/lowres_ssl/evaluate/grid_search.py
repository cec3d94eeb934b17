"""Many linear evaluations at once: every batch size and learning rate, several seeds each, chosen on validation.

Heads are trained side by side (`MLPProbe.fit`), a few in a pass on a CPU, where a thread takes a pass; all of one batch
size on a GPU.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from math import ceil, inf
from threading import Event
from typing import Any

import torch

from lowres_ssl.console import CountProgress
from lowres_ssl.errors import DataError, TrainingError
from lowres_ssl.evaluate.tuned_settings import GridLine, sort_by_preference, summarise_seeds
from lowres_ssl.probes.base import Features, build_probe
from lowres_ssl.probes.linear import HeadFit, MLPProbe

# Heads in a pass on a CPU, for one thread. Measured in processor time of a step of 16 images, for one head: at D = 512
# 0.49 ms alone, 0.45 with 2, 0.46 with 4, 0.55 with 8; at D = 2,048 2.0 ms whatever their number: so wide, Adam's state
# of several heads outgrows the cache, and each stands alone.
HEADS_PER_PASS = 4
WIDE_FEATURES = 1024
# The part of the epochs, by rule, after which a quarter of the settings is left.
FIRST_ROUND_DIVISOR = {"quarter": 4, "eighth": 8}

GridPoint = tuple[int, float]  # batch size and learning rate


@dataclass(frozen=True)
class SearchGrid:
    """What to try: every batch size with every rate, a head for each of `seeds`; `settings` are the probe's others.

    `rule`: "full" trains all for all epochs. "quarter" trains all for a quarter of the epochs, and the best quarter of
    them, of which one is chosen, again for all: the schedule of the rate is the same, so a head that is trained again
    passes through the epochs it had. "eighth" is the same with an eighth of the epochs.
    """

    batch_sizes: Sequence[int]
    rates: Sequence[float]
    seeds: Sequence[int]
    rule: str
    settings: dict[str, Any]  # of the probe, but for batch_size and learning_rate

    @property
    def epochs(self) -> int:
        return int(self.settings["epochs"])

    @property
    def pairs(self) -> list[GridPoint]:
        return [(batch_size, rate) for batch_size in self.batch_sizes for rate in self.rates]

    def probe(self, batch_size: int, epochs: int, rate: float | None = None) -> MLPProbe:
        """For `MLPProbe.fit`, which is given rates. Raises `ConfigError` for a value out of its range."""
        given = {"batch_size": batch_size, "learning_rate": rate or self.rates[0], "epochs": epochs}
        probe = build_probe("linear", self.settings | given)
        assert isinstance(probe, MLPProbe)
        return probe


@dataclass(frozen=True)
class HeadPass:
    """Heads that are trained side by side: one batch size, and for each head a rate and a seed."""

    batch_size: int
    heads: Sequence[tuple[float, int]]


def search_grid(features: Features, grid: SearchGrid) -> tuple[list[GridLine], GridLine]:
    """The grid's lines (`summarise_seeds`), in its order, and the one chosen.

    The test features are not looked at and may be empty. A head that diverges counts as accuracy 0. Raises `DataError`
    if a class has no validation image, `TrainingError` if all heads diverge.
    """
    if not features.can_validate:
        raise DataError(
            "tune: a class has no validation image, so nothing can be chosen; type another split or split_seed"
        )
    first_epochs = ceil(grid.epochs / FIRST_ROUND_DIVISOR.get(grid.rule, 1))
    found = train_grid_points(features, grid, grid.pairs, first_epochs)
    finalists = found
    if grid.rule != "full":
        best = sort_by_preference(list(found.values()))[: ceil(len(found) / 4)]
        kept = [pair for pair, line in found.items() if line in best]
        finalists = train_grid_points(features, grid, kept, grid.epochs)
    chosen = sort_by_preference(list(finalists.values()))[0]
    if chosen.accuracy == 0:
        raise TrainingError(
            f"tune: every head diverged or was always wrong; try learning_rate=[{min(grid.rates) / 10:g}]"
        )
    return list((found | finalists).values()), chosen


def get_heads_per_pass(features: Features) -> int | None:
    """How many heads share a pass; None: all of a batch size."""
    if features.train.device.type != "cpu":
        return None
    return HEADS_PER_PASS if features.train.shape[1] <= WIDE_FEATURES else 1


def get_thread_count(features: Features) -> int:
    """How many passes are computed at a time."""
    return torch.get_num_threads() if features.train.device.type == "cpu" else 1


def train_grid_points(
    features: Features, grid: SearchGrid, pairs: Sequence[GridPoint], epochs: int
) -> dict[GridPoint, GridLine]:
    """A line for each of `pairs`, in their order, after this many epochs."""
    passes = group_into_passes(pairs, grid.seeds, get_heads_per_pass(features) or len(pairs) * len(grid.seeds))

    def run(each: HeadPass, called_off: Event) -> list[HeadFit]:
        rates, seeds = zip(*each.heads, strict=True)
        return grid.probe(each.batch_size, epochs).fit(features, rates, seeds, called_off)[1]

    steps = [len(each.heads) * epochs * ceil(len(features.train) / each.batch_size) for each in passes]
    found: dict[GridPoint, list[tuple[float, float]]] = {pair: [] for pair in pairs}
    for each, fits in zip(passes, run_passes_in_threads(run, passes, steps, get_thread_count(features)), strict=True):
        for (rate, _), fit in zip(each.heads, fits, strict=True):
            found[each.batch_size, rate].append((0.0, inf) if fit.diverged else (fit.accuracy, fit.loss))
    return {pair: summarise_seeds(*pair, epochs, fits) for pair, fits in found.items()}


def group_into_passes(pairs: Sequence[GridPoint], seeds: Sequence[int], side_by_side: int) -> list[HeadPass]:
    """All heads, those of one batch size and neighbouring rates together; the smallest batches, which take the most
    steps, first."""
    passes = []
    for batch_size in sorted({batch_size for batch_size, _ in pairs}):
        heads = [(rate, seed) for size, rate in pairs if size == batch_size for seed in seeds]
        starts = range(0, len(heads), side_by_side)
        passes += [HeadPass(batch_size, heads[start : start + side_by_side]) for start in starts]
    return passes


def run_passes_in_threads(
    run: Callable[[HeadPass, Event], list[HeadFit]], passes: Sequence[HeadPass], steps: Sequence[int], threads: int
) -> list[list[HeadFit]]:
    """`run` of each pass, of so many `steps`, in their order. Each thread computes alone: steps this small gain little
    from two.

    Whatever ends it early, such as Ctrl-C, calls the passes off that are under way: Python would wait for them.
    """
    before = torch.get_num_threads()
    if threads > 1:
        torch.set_num_threads(1)  # before the pool's threads start: they take it over
    pool, called_off = ThreadPoolExecutor(threads), Event()
    try:
        futures = {pool.submit(run, each, called_off): own for each, own in zip(passes, steps, strict=True)}
        with CountProgress("search", sum(steps), "step", first=f"search: {sum(steps):,} steps of heads") as shown:
            for future in as_completed(futures):
                shown.add(futures[future])
        return [future.result() for future in futures]
    finally:
        called_off.set()
        pool.shutdown(wait=False, cancel_futures=True)
        torch.set_num_threads(before)
