"""Divide a budget: how many seeds, methods and epochs fit into so many seconds, by a named rule. No clock.

The rule, `seeds_first` (docs/which_method.md has the reasons):

1. Every method gets the same epochs, batch size and seeds, so the same number of views and steps, whatever it costs.
2. A tenth of the budget is kept back for what turns out slower than measured.
3. Three seeds, since two can show only huge differences. Where they cannot have two epochs of every method, methods are
   left out, those named last first, unless they were typed.
4. As many further seeds of the random encoders, up to ten in all, as a tenth of the budget pays for: nothing is trained
   for them, and every method is compared with their mean.
5. What else can be had for a tenth of the budget each, in this order: scores with fewer labels, the MLP probe.
6. Then as many epochs as fit, but no more than the recipe has; then further seeds, up to five.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from lowres_ssl.config.duration import format_budget
from lowres_ssl.config.experiment_schema import RANDOM_SEEDS
from lowres_ssl.console import pluralise
from lowres_ssl.errors import ConfigError

SCHEDULE_RULE = "seeds_first"
RESERVED_SHARE = 0.1
EXTRA_SHARE = 0.1
MIN_SEEDS, MAX_SEEDS = 3, 5
MIN_EPOCHS = 2
COST_MARGIN = 1.1
# The least seeds are worth more than punctuality: they are begun if they end within so many budgets.
MIN_SEEDS_OVERRUN = 1.25


@dataclass(frozen=True)
class BenchmarkCosts:
    """Seconds on this machine, as measured.

    epoch: of one epoch, by method, of those that train. round_base: what a seed takes beside its epochs, all methods
    together: starting, features, scores. run: of that, what each method takes. start: of a command. random_seed: what
    one more seed of the random encoders takes, all of them together, scores included. extras: what scoring all methods
    of one seed otherwise takes, by name, in the order in which they are wanted. prepare: reading and decoding the
    images, and measuring. report: tables, comparison, report.
    """

    epoch: Mapping[str, float]
    round_base: float
    run: float
    prepare: float
    report: float
    start: float
    random_seed: float
    extras: Mapping[str, float] = field(default_factory=dict)

    def round(self, epochs: int) -> float:
        """All methods, one seed."""
        return self.round_base + epochs * sum(self.epoch.values())

    def drop_methods(self, methods: Sequence[str]) -> "BenchmarkCosts":
        """The same without these methods; what the extras take of them is left in."""
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
    """What fits. `random_seeds`: those of the random encoders, as many as of the others or more. `left_out`: methods
    that there is no time for. `seconds`: how long all of it takes, as measured, without what is kept back."""

    seeds: int
    random_seeds: int
    epochs: int
    extras: tuple[str, ...]
    left_out: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class TypedChoices:
    """What the user has decided; None is left to the rule. `recipe_epochs`: the most that are chosen. `optional`: the
    methods that may be left out, in the order in which they are wanted."""

    recipe_epochs: int
    optional: tuple[str, ...] = ()
    epochs: int | None = None
    seeds: int | None = None


def compute_schedule(costs: BenchmarkCosts, budget: float, typed: TypedChoices) -> BenchmarkSchedule:
    """Choose methods, seeds, epochs and extras for a budget in seconds. Raises `ConfigError`, with the least that would
    do, if the least plan does not fit."""
    usable = budget * (1 - RESERVED_SHARE)
    least_epochs = get_min_epochs(typed)
    seeds = typed.seeds or MIN_SEEDS
    left_out = next(
        (each for each in list_method_exclusions(typed) if compute_min_seconds(costs, typed, each) <= usable + 1e-9),
        None,
    )
    if left_out is None:
        fewest = compute_min_budget(costs, typed, list_method_exclusions(typed)[-1])
        fewer = "" if typed.optional else "fewer methods=[...], "
        raise ConfigError(
            f"budget={format_budget(budget)}: too little for "
            f"{pluralise(seeds, 'seed')} of {pluralise(least_epochs, 'epoch')} of "
            f"{'one method' if typed.optional else 'every method'}; wanted at least {format_budget(fewest)}; type "
            f"budget={format_budget(COST_MARGIN * fewest)}, since the "
            f"next measurement differs a little, or {fewer}a smaller "
            "image_size or dataset.subset=N"
        )
    costs = costs.drop_methods(left_out)

    def fits(seeds: int, epochs: int, extras: Sequence[str] = (), random_seeds: int = 0) -> bool:
        return costs.whole(seeds, epochs, extras, random_seeds) <= usable + 1e-9

    random_seeds = seeds
    for more in range(seeds + 1, RANDOM_SEEDS + 1):
        paid = costs.compute_random_seconds(more - seeds) <= EXTRA_SHARE * budget
        if paid and fits(seeds, least_epochs, random_seeds=more):
            random_seeds = more
    extras: list[str] = []
    for name, seconds in costs.extras.items():
        paid = seeds * seconds <= EXTRA_SHARE * budget
        if paid and fits(seeds, least_epochs, [*extras, name], random_seeds):
            extras.append(name)
    left = usable - costs.whole(seeds, 0, extras, random_seeds)
    epochs = typed.epochs or compute_max_epochs(costs, left, seeds, typed.recipe_epochs)
    if typed.seeds is None and epochs == (typed.epochs or typed.recipe_epochs):
        while seeds < MAX_SEEDS and fits(seeds + 1, epochs, extras, random_seeds):
            seeds += 1
    random_seeds = max(random_seeds, seeds)
    seconds = costs.whole(seeds, epochs, extras, random_seeds)
    return BenchmarkSchedule(seeds, random_seeds, epochs, tuple(extras), left_out, seconds)


def list_method_exclusions(typed: TypedChoices) -> list[tuple[str, ...]]:
    """Which methods to leave out: none, then one more each time, the last first; one is always kept."""
    return [typed.optional[kept:] for kept in range(len(typed.optional), 0, -1)] or [()]


def get_min_epochs(typed: TypedChoices) -> int:
    return typed.epochs or min(MIN_EPOCHS, typed.recipe_epochs)


def compute_min_seconds(costs: BenchmarkCosts, typed: TypedChoices, left_out: Sequence[str]) -> float:
    """The seconds of the least plan without some of the methods."""
    return costs.drop_methods(left_out).whole(typed.seeds or MIN_SEEDS, get_min_epochs(typed))


def compute_min_budget(costs: BenchmarkCosts, typed: TypedChoices, left_out: Sequence[str] = ()) -> float:
    """The smallest budget that has room for all methods, or for those that are not left out, in seconds."""
    return compute_min_seconds(costs, typed, left_out) / (1 - RESERVED_SHARE)


def compute_max_epochs(costs: BenchmarkCosts, left: float, seeds: int, at_most: int) -> int:
    """As fit into what all the rest leaves, in seconds."""
    an_epoch = seeds * sum(costs.epoch.values())
    return at_most if an_epoch == 0 else min(at_most, math.floor((left + 1e-9) / an_epoch))


def fits_in_budget(seconds: float, *, spent: float, still_to_come: float, budget: float, seed: int | None) -> bool:
    """Whether a step of so many seconds is begun, `spent` seconds after the start, when what cannot be left out takes
    `still_to_come` after it. `seed`: the place of the seed whose step it is, from 0; None for an extra.

    The first seed always is; those up to `LEAST_SEEDS` if they end within `LATE_FOR_LEAST_SEEDS` budgets.
    """
    if seed == 0:
        return True
    late = seed is not None and seed < MIN_SEEDS
    return spent + seconds + still_to_come <= budget * (MIN_SEEDS_OVERRUN if late else 1.0)
