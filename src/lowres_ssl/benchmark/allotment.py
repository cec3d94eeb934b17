"""A budget divided: how many seeds and epochs fit into so many seconds, by a named rule. Arithmetic only; no clock.

The rule, `seeds_first` (docs/which_method.md has the reasons):

1. Every method gets the same epochs, batch size and seeds, so the same number of views and steps, whatever it costs.
2. A tenth of the budget is kept back for what turns out slower than measured.
3. Three seeds if they can have two epochs each, else two; an answer from one seed has no spread.
4. As many further seeds of the random encoders, up to ten in all, as a tenth of the budget pays for: nothing is trained
   for them, and every method is compared with their mean.
5. What else can be had for a tenth of the budget each, in this order: scores with fewer labels, the MLP probe.
6. Then as many epochs as fit, but no more than the recipe has; then further seeds, up to five.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from lowres_ssl.benchmark.budget import typed_time
from lowres_ssl.errors import ConfigError
from lowres_ssl.schemas.experiment import RANDOM_SEEDS
from lowres_ssl.terminal import count

RULE = "seeds_first"
KEPT_BACK = 0.1
EXTRA_SHARE = 0.1
LEAST_SEEDS, USUAL_SEEDS, MOST_SEEDS = 2, 3, 5
LEAST_EPOCHS = 2
MARGIN = 1.1
# The second seed is worth more than punctuality: it is begun if it ends within so many budgets.
LATE_FOR_SECOND_SEED = 1.25


@dataclass(frozen=True)
class Costs:
    """Seconds on this machine, as measured.

    epoch: of one epoch, by method, of those that train. round_base: what a seed takes beside its epochs, all methods
    together: starting, features, scores. start: of a command. random_seed: what one more seed of the random encoders
    takes, all of them together, scores included. extras: what scoring all methods of one seed otherwise takes, by name,
    in the order in which they are wanted. prepare: reading and decoding the images, and measuring. report: tables,
    comparison, report.
    """

    epoch: Mapping[str, float]
    round_base: float
    prepare: float
    report: float
    start: float
    random_seed: float
    extras: Mapping[str, float] = field(default_factory=dict)

    def round(self, epochs: int) -> float:
        """All methods, one seed."""
        return self.round_base + epochs * sum(self.epoch.values())

    def further_random(self, seeds: int) -> float:
        """So many more seeds of the random encoders."""
        return self.start + seeds * self.random_seed if seeds > 0 else 0.0

    def whole(self, seeds: int, epochs: int, extras: Sequence[str] = (), random_seeds: int = 0) -> float:
        """All of it; `random_seeds`: how many the random encoders have, if more than the others."""
        every_seed = self.round(epochs) + sum(self.extras[name] for name in extras)
        return self.prepare + self.report + seeds * every_seed + self.further_random(random_seeds - seeds)


@dataclass(frozen=True)
class Allotment:
    """What fits. `random_seeds`: those of the random encoders, as many as of the others or more. `seconds`: how long
    all of it takes, as measured, without what is kept back."""

    seeds: int
    random_seeds: int
    epochs: int
    extras: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class Typed:
    """What the user has decided; None is left to the rule. `recipe_epochs`: the most that are chosen."""

    recipe_epochs: int
    epochs: int | None = None
    seeds: int | None = None


def allot(costs: Costs, budget: float, typed: Typed) -> Allotment:
    """Seeds, epochs and extras for a budget in seconds. Raises `ConfigError`, with the least that would do, if the
    least plan does not fit."""
    usable = budget * (1 - KEPT_BACK)
    least_epochs = least_epochs_of(typed)
    least_seeds = typed.seeds or LEAST_SEEDS

    def fits(seeds: int, epochs: int, extras: Sequence[str] = (), random_seeds: int = 0) -> bool:
        return costs.whole(seeds, epochs, extras, random_seeds) <= usable + 1e-9

    if not fits(least_seeds, least_epochs):
        least = least_budget(costs, typed)
        raise ConfigError(
            f"budget={typed_time(budget)}: too little for {count(least_seeds, 'seed')} of "
            f"{count(least_epochs, 'epoch')} of every method; wanted at least {typed_time(least)}; type "
            f"budget={typed_time(MARGIN * least)}, since the next measurement differs a little, or fewer "
            "methods=[...], a smaller image_size or dataset.subset=N"
        )
    seeds = typed.seeds or (USUAL_SEEDS if fits(USUAL_SEEDS, least_epochs) else LEAST_SEEDS)
    random_seeds = seeds
    for more in range(seeds + 1, RANDOM_SEEDS + 1):
        paid = costs.further_random(more - seeds) <= EXTRA_SHARE * budget
        if paid and fits(seeds, least_epochs, random_seeds=more):
            random_seeds = more
    extras: list[str] = []
    for name, seconds in costs.extras.items():
        paid = seeds * seconds <= EXTRA_SHARE * budget
        if paid and fits(seeds, least_epochs, [*extras, name], random_seeds):
            extras.append(name)
    left = usable - costs.whole(seeds, 0, extras, random_seeds)
    epochs = typed.epochs or most_epochs(costs, left, seeds, typed.recipe_epochs)
    if typed.seeds is None and epochs == (typed.epochs or typed.recipe_epochs):
        while seeds < MOST_SEEDS and fits(seeds + 1, epochs, extras, random_seeds):
            seeds += 1
    random_seeds = max(random_seeds, seeds)
    return Allotment(seeds, random_seeds, epochs, tuple(extras), costs.whole(seeds, epochs, extras, random_seeds))


def least_epochs_of(typed: Typed) -> int:
    return typed.epochs or min(LEAST_EPOCHS, typed.recipe_epochs)


def least_budget(costs: Costs, typed: Typed) -> float:
    """The smallest budget that is not refused, in seconds."""
    return costs.whole(typed.seeds or LEAST_SEEDS, least_epochs_of(typed)) / (1 - KEPT_BACK)


def most_epochs(costs: Costs, left: float, seeds: int, at_most: int) -> int:
    """As fit into what all the rest leaves, in seconds."""
    an_epoch = seeds * sum(costs.epoch.values())
    return at_most if an_epoch == 0 else min(at_most, math.floor((left + 1e-9) / an_epoch))


def is_in_time(seconds: float, *, spent: float, still_to_come: float, budget: float, seed: int | None) -> bool:
    """Whether a step of so many seconds is begun, `spent` seconds after the start, when what cannot be left out takes
    `still_to_come` after it. `seed`: the place of the seed whose step it is, from 0; None for an extra.

    The first seed always is; the second if it ends within `LATE_FOR_SECOND_SEED` budgets.
    """
    if seed == 0:
        return True
    return spent + seconds + still_to_come <= budget * (LATE_FOR_SECOND_SEED if seed == 1 else 1.0)
