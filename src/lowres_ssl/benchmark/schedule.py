"""Divide a budget: how many seeds, methods and epochs fit into so many seconds, by a named rule. No clock.

The rule, `seeds_first` (docs/which_method.md has the reasons):

1. Every method gets the same epochs, batch size and seeds.
2. A tenth of the budget is kept back for what turns out slower than measured.
3. Three seeds. Where they cannot have two epochs of every method, methods that were not typed are left out, the last
   first.
4. Further seeds of the random encoders, up to ten in all, for a tenth of the budget.
5. For a tenth of the budget each, in this order: scores with fewer labels, the MLP probe.
6. As many epochs as fit, up to the recipe's; then further seeds, up to five.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lowres_ssl.config.experiment_schema import RANDOM_SEEDS
from lowres_ssl.config.overrides import format_budget
from lowres_ssl.console import pluralise
from lowres_ssl.errors import ConfigError

SCHEDULE_RULE = "seeds_first"
RESERVED_SHARE = 0.1
EXTRA_SHARE = 0.1
MIN_SEEDS, MAX_SEEDS = 3, 5
MIN_EPOCHS = 2
COST_MARGIN = 1.1
MIN_SEEDS_OVERRUN = 1.25  # budgets within which the first three seeds have to end
ROUNDING = 1e-9  # seconds


@dataclass(frozen=True)
class BenchmarkCosts:
    """Seconds on this machine, as measured.

    epoch: of one epoch, by method, of those that train. round_base: what a seed of all methods takes beside its epochs:
    starting, features, scores. run: each method's part of that. prepare: reading and decoding the images, and
    measuring. report: tables, comparison, report. start: of a command. random_seed: one more seed of all random
    encoders, with its scores. extras: scoring all methods of one seed otherwise, by name, in the order of preference.
    views: a second, by method, of those that train. device: the machine and the precision, in words.
    """

    epoch: Mapping[str, float]
    round_base: float
    run: float
    prepare: float
    report: float
    start: float
    random_seed: float
    extras: Mapping[str, float] = field(default_factory=dict)
    views: Mapping[str, float] = field(default_factory=dict)
    device: str = ""

    def round(self, epochs: int) -> float:
        """All methods, one seed."""
        return self.round_base + epochs * sum(self.epoch.values())

    def drop_methods(self, methods: Sequence[str]) -> "BenchmarkCosts":
        """The same without these methods; their part of the extras stays in."""
        epoch = {name: seconds for name, seconds in self.epoch.items() if name not in methods}
        return replace(self, epoch=epoch, round_base=self.round_base - len(methods) * self.run)

    def compute_random_seconds(self, seeds: int) -> float:
        """So many more seeds of the random encoders."""
        return self.start + seeds * self.random_seed if seeds > 0 else 0.0

    def whole(self, seeds: int, epochs: int, extras: Sequence[str] = (), random_seeds: int = 0) -> float:
        """All of it; `random_seeds`: how many the random encoders have, if more than the others."""
        every_seed = self.round(epochs) + sum(self.extras[name] for name in extras)
        return self.prepare + self.report + seeds * every_seed + self.compute_random_seconds(random_seeds - seeds)


@dataclass(frozen=True)
class BenchmarkSchedule:
    """What fits. random_seeds: of the random encoders, at least `seeds`. left_out: methods without time. seconds: of
    all of it, without what is kept back."""

    seeds: int
    random_seeds: int
    epochs: int
    extras: tuple[str, ...]
    left_out: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class TypedChoices:
    """What was typed; None is left to the rule. recipe_epochs: the most that are chosen. optional: the methods that may
    be left out, in the order of preference."""

    recipe_epochs: int
    optional: tuple[str, ...] = ()
    epochs: int | None = None
    seeds: int | None = None

    @property
    def exclusions(self) -> list[tuple[str, ...]]:
        """Which methods to leave out: none, then one more each time, the last first; one always stays."""
        return [self.optional[kept:] for kept in range(len(self.optional), 0, -1)] or [()]

    @property
    def min_epochs(self) -> int:
        return self.epochs or min(MIN_EPOCHS, self.recipe_epochs)


def compute_schedule(costs: BenchmarkCosts, budget: float, typed: TypedChoices) -> BenchmarkSchedule:
    """Choose methods, seeds, epochs and extras for a budget in seconds. Raises `ConfigError`, with the smallest budget
    that would do, if the smallest plan does not fit."""
    usable = budget * (1 - RESERVED_SHARE) + ROUNDING
    seeds, epochs = typed.seeds or MIN_SEEDS, typed.min_epochs
    fitting = (each for each in typed.exclusions if costs.drop_methods(each).whole(seeds, epochs) <= usable)
    left_out = next(fitting, None)
    if left_out is None:
        fewest = compute_min_budget(costs, typed, typed.exclusions[-1])
        methods, fewer = ("one method", "") if typed.optional else ("every method", "fewer methods=[...], ")
        raise ConfigError(
            f"budget={format_budget(budget)}: too little for {pluralise(seeds, 'seed')} of "
            f"{pluralise(epochs, 'epoch')} of {methods}; wanted at least {format_budget(fewest)}; type "
            f"budget={format_budget(COST_MARGIN * fewest)}, since the next measurement differs a little, or {fewer}a "
            "smaller image_size or dataset.subset=N"
        )
    costs = costs.drop_methods(left_out)
    random_seeds = seeds
    for more in range(seeds + 1, RANDOM_SEEDS + 1):
        cheap = costs.compute_random_seconds(more - seeds) <= EXTRA_SHARE * budget
        if cheap and costs.whole(seeds, epochs, random_seeds=more) <= usable:
            random_seeds = more
    extras: tuple[str, ...] = ()
    for name, seconds in costs.extras.items():
        cheap = seeds * seconds <= EXTRA_SHARE * budget
        if cheap and costs.whole(seeds, epochs, (*extras, name), random_seeds) <= usable:
            extras = (*extras, name)
    epochs = typed.epochs or typed.recipe_epochs
    if typed.epochs is None and (an_epoch := seeds * sum(costs.epoch.values())) > 0:
        epochs = min(epochs, math.floor((usable - costs.whole(seeds, 0, extras, random_seeds)) / an_epoch))
    if typed.seeds is None and epochs == (typed.epochs or typed.recipe_epochs):
        while seeds < MAX_SEEDS and costs.whole(seeds + 1, epochs, extras, random_seeds) <= usable:
            seeds += 1
    random_seeds = max(random_seeds, seeds)
    seconds = costs.whole(seeds, epochs, extras, random_seeds)
    return BenchmarkSchedule(seeds, random_seeds, epochs, extras, left_out, seconds)


def compute_min_budget(costs: BenchmarkCosts, typed: TypedChoices, left_out: Sequence[str] = ()) -> float:
    """Compute the smallest budget, in seconds, with room for all methods but those that are left out."""
    seconds = costs.drop_methods(left_out).whole(typed.seeds or MIN_SEEDS, typed.min_epochs)
    return seconds / (1 - RESERVED_SHARE)


def fits_in_budget(seconds: float, *, spent: float, still_to_come: float, budget: float, seed: int | None) -> bool:
    """Whether to begin a step of so many seconds, `spent` seconds after the start, when what cannot be left out takes
    `still_to_come` after it. `seed`: the number of the seed that the step trains, from 0; None for an extra.

    The first seed always is begun; those up to `MIN_SEEDS` if they end within `MIN_SEEDS_OVERRUN` budgets.
    """
    late = seed is not None and seed < MIN_SEEDS
    return seed == 0 or spent + seconds + still_to_come <= budget * (MIN_SEEDS_OVERRUN if late else 1.0)
