"""Plan the trainings of a benchmark: rungs of growing length, the weaker half dropped, seeds of the best. No clock.

1. One epoch of one candidate of each kind (random start, pre-trained start) measures what an epoch and a command take.
2. One seed of each candidate at about 10,000 views; the better half, by validation, at 30,000, then 100,000 and so on.
   The last rung is as long as leaves time for the seeds, at least twice the one before.
3. The best of the last complete rung, the finalist, gets two more seeds. If there is time, it is trained on half of the
   images for as many views, and gets further seeds.

What is next is decided anew before each run, by what the runs so far took. docs/which_method.md has the reasons.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

RUNG_VIEWS = (10_000, 30_000, 100_000, 300_000, 1_000_000)
MIN_GROWTH = 2.0  # of the last rung over the one before
MIN_SEEDS, MAX_SEEDS = 3, 5
START_WORD = " from "  # "dcl from imagenet resnet18"


def get_start(name: str) -> str:
    """Return the encoder that a candidate starts from, "" for random initialisation."""
    return name.partition(START_WORD)[2]


@dataclass(frozen=True)
class FinishedRun:
    """A training that has ended. seconds: of the whole command; training: of its epochs. score: validation accuracy of
    the probe that chooses, None where it failed. half: on half of the training images, for about as many views.
    sees_labels: of a supervised method."""

    name: str
    epochs: int
    seed: int
    seconds: float
    training: float
    score: float | None
    half: bool = False
    sees_labels: bool = False


@dataclass(frozen=True)
class NextRun:
    name: str
    epochs: int
    seed: int
    half: bool = False


@dataclass(frozen=True)
class RunCost:
    """Seconds: of an epoch, and of a run beside its epochs (start, features, scores)."""

    epoch: float
    base: float

    def run(self, epochs: int) -> float:
        return self.base + epochs * self.epoch


@dataclass(frozen=True)
class Rung:
    """All candidates of it are trained for so many epochs, with seed 0."""

    epochs: int
    names: tuple[str, ...]


@dataclass(frozen=True)
class Race:
    """The candidates, in order of preference, and what has been run of them.

    epoch_views: views of an epoch. epochs, seeds: as typed, None if they are to be chosen. half_epoch_views: views of
    an epoch on half of the images, 0 where these fill no batch or are far from half.
    """

    candidates: tuple[str, ...]
    epoch_views: int
    epochs: int | None = None
    seeds: int | None = None
    rungs: tuple[Rung, ...] = ()
    runs: tuple[FinishedRun, ...] = ()
    half_epoch_views: int = 0

    def add(self, run: FinishedRun) -> Self:
        return replace(self, runs=(*self.runs, run))

    def find_run(self, name: str, epochs: int, seed: int = 0) -> FinishedRun | None:
        wanted = (name, epochs, seed, False)
        return next((each for each in self.runs if (each.name, each.epochs, each.seed, each.half) == wanted), None)

    @property
    def half_run(self) -> FinishedRun | None:
        """The training on half of the images, of the finalist for about as many views as in the last rung."""
        return next((each for each in self.runs if each.half), None)

    def rank(self, rung: Rung) -> list[str]:
        """The candidates of a rung by validation accuracy, the best first, of equals the one named first; without those
        that failed."""
        found = ((name, self.find_run(name, rung.epochs)) for name in rung.names)
        scores = {name: run.score for name, run in found if run is not None and run.score is not None}
        return sorted(scores, key=lambda name: -scores[name])

    def is_complete(self, rung: Rung) -> bool:
        return all(self.find_run(name, rung.epochs) for name in rung.names)

    @property
    def last_rung(self) -> Rung | None:
        """The longest rung that is complete and has a result."""
        return next((each for each in reversed(self.rungs) if self.is_complete(each) and self.rank(each)), None)

    @property
    def finalist(self) -> str | None:
        return self.rank(self.last_rung)[0] if self.last_rung is not None else None

    @property
    def finalist_seeds(self) -> list[int]:
        """The seeds that the finalist has been scored with, at the last rung's length."""
        finalist, rung = self.finalist, self.last_rung
        if finalist is None or rung is None:
            return []
        same = (each for each in self.runs if (each.name, each.epochs, each.half) == (finalist, rung.epochs, False))
        return sorted(each.seed for each in same if each.score is not None)

    @property
    def not_tried(self) -> list[str]:
        """Candidates that no rung had time for; not those that failed."""
        if not self.rungs:
            return []
        failed = {run.name for run in self.runs if run.score is None}
        return [name for name in self.candidates if name not in failed and name not in self.rungs[0].names]

    def estimate_cost(self, name: str) -> RunCost | None:
        """Estimate by the candidate's own longest run, else by the slowest of those with the same start; None where
        neither has been run."""
        scored = [each for each in self.runs if each.score is not None and not each.half]
        own = sorted((each for each in scored if each.name == name), key=lambda each: each.epochs)[-1:]
        kin = own or [each for each in scored if get_start(each.name) == get_start(name)]
        costs = (RunCost(each.training / each.epochs, each.seconds - each.training) for each in kin)
        return max(costs, key=lambda cost: cost.epoch, default=None)

    def estimate_costs(self, names: Sequence[str]) -> dict[str, RunCost]:
        """The same of those of which it is known."""
        costs = {name: self.estimate_cost(name) for name in names}
        return {name: cost for name, cost in costs.items() if cost is not None}

    def count_views(self, epochs: int) -> int:
        return epochs * self.epoch_views

    def count_epochs(self, views: int) -> int:
        return max(1, round(views / self.epoch_views))


def find_next_run(race: Race, left: float, slack: float) -> tuple[Race, NextRun | None]:
    """Decide what to train next, and open a rung where one begins; None if nothing more fits.

    left: the seconds that trainings may still take; slack: how much longer a run may take that belongs to the answer.
    """
    timed = {get_start(run.name) for run in race.runs if run.score is not None}
    tried = {run.name for run in race.runs}
    for name in race.candidates:
        if get_start(name) not in timed and name not in tried:
            return race, NextRun(name, 1, 0) if left > 0 else None
    if not race.rungs or race.is_complete(race.rungs[-1]):
        race = open_rung(race, left)
    costs = race.estimate_costs(race.candidates)
    if race.rungs and not race.is_complete(rung := race.rungs[-1]):
        name = next(name for name in rung.names if race.find_run(name, rung.epochs) is None)
        if costs[name].run(rung.epochs) <= left + slack:
            return race, NextRun(name, rung.epochs, 0)
    if race.finalist is None or race.last_rung is None:
        return race, None
    epochs, needed = race.last_rung.epochs, race.seeds or MIN_SEEDS
    missing = [each for each in range(race.seeds or MAX_SEEDS) if not race.find_run(race.finalist, epochs, each)]
    seconds = costs[race.finalist].run(epochs)
    if missing and missing[0] < needed:
        return race, NextRun(race.finalist, epochs, missing[0]) if seconds <= left + slack else None
    if seconds > left:
        return race, None
    whole = race.find_run(race.finalist, epochs)
    is_supervised = whole is not None and whole.sees_labels  # half of its images are half of the labels
    if race.half_epoch_views and race.half_run is None and not is_supervised:
        as_many = max(1, round(race.count_views(epochs) / race.half_epoch_views))
        return race, NextRun(race.finalist, as_many, 0, half=True)
    return race, NextRun(race.finalist, epochs, missing[0]) if missing else None


def open_rung(race: Race, left: float) -> Race:
    """Add the next rung, if there is time for it and for the seeds that follow it."""
    ranked = race.rank(race.rungs[-1]) if race.rungs else []
    names = ranked[: math.ceil(len(ranked) / 2)] if race.rungs else race.candidates
    costs = race.estimate_costs(names)
    failed = {run.name for run in race.runs if run.score is None}
    names = [name for name in names if name in costs and name not in failed]
    # Rather fewer methods than trainings that are too short to show anything; at last the cheapest one.
    fewer = [names] if race.rungs else [names[:number] for number in range(len(names), 0, -1)]
    for kept in [*fewer, sorted(names, key=lambda name: costs[name].epoch)[:1]]:
        epochs = plan_rungs(race, [costs[name] for name in kept], left)
        is_deep = race.rungs or race.epochs or len(kept) == 1
        if epochs and (is_deep or epochs[0] >= race.count_epochs(RUNG_VIEWS[0])):
            return replace(race, rungs=(*race.rungs, Rung(epochs[0], tuple(kept))))
    return race


def plan_rungs(race: Race, costs: Sequence[RunCost], left: float) -> list[int]:
    """Choose the epochs of the rungs that follow, the first with candidates of these costs; none if nothing fits.

    As many rungs as fit, their lengths those of `RUNG_VIEWS` but for the last, which takes what the seeds leave; until
    it is known which candidates go on, the costliest are counted.
    """
    last = race.rungs[-1].epochs if race.rungs else 0
    most = race.epochs or max(1, RUNG_VIEWS[-1] // race.epoch_views)
    usual = [epochs for epochs in dict.fromkeys(map(race.count_epochs, RUNG_VIEWS)) if last < epochs < most]
    by_cost = sorted(costs, key=lambda cost: -cost.epoch)
    counts = [len(by_cost)] if by_cost else []
    while counts and counts[-1] > 1:
        counts.append(math.ceil(counts[-1] / 2))
    for number in range(min(len(counts), len(usual) + 1), 0, -1):
        before = usual[: number - 1]
        spent = sum(
            cost.run(epochs)
            for epochs, count in zip(before, counts[: number - 1], strict=True)
            for cost in by_cost[:count]
        )
        final = [*by_cost[: counts[number - 1]], *by_cost[:1] * ((race.seeds or MIN_SEEDS) - 1)]
        room = left - spent - sum(cost.base for cost in final)
        an_epoch = sum(cost.epoch for cost in final)
        longest = most if room >= most * an_epoch else math.floor(room / an_epoch)
        previous = before[-1] if before else last
        if longest == race.epochs > previous if race.epochs else longest >= max(1, MIN_GROWTH * previous):
            return [*before, longest]
    return []
