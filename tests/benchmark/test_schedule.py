"""Rungs, halving and seeds: what is trained next, by what the runs so far took and scored."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lowres_ssl.benchmark.schedule import (
    MAX_SEEDS,
    FinishedRun,
    NextRun,
    Race,
    find_next_run,
    get_start,
)

METHODS = ("dcl", "simclr", "vicreg", "simsiam")
FROM = "dcl from imagenet resnet18"
SCORES = {"dcl": 0.6, "simclr": 0.7, "vicreg": 0.65, "simsiam": 0.5, FROM: 0.4}


def run_race(
    race: Race, left: float, *, slack: float = 0.0, pace: float = 400.0, base: float = 8.0, slower: float = 1.0
) -> tuple[Race, float]:
    """Train what is next until nothing is; the seconds that it took. `slower`: by how much after the first rung."""
    spent = 0.0
    while True:
        race, run = find_next_run(race, left - spent, slack)
        if run is None:
            return race, spent
        views = pace / (3 if get_start(run.name) else 1) / (slower if len(race.rungs) > 1 else 1)
        training = race.count_views(run.epochs) / views
        is_stopped = spent + base + training > left + slack and race.rungs
        spent = left + slack if is_stopped else spent + base + training
        score = None if is_stopped else SCORES[run.name]
        race = race.add(FinishedRun(run.name, run.epochs, run.seed, base + training, training, score, run.half))


def lengths(race: Race) -> list[tuple[int, int]]:
    return [(race.count_views(rung.epochs), len(rung.names)) for rung in race.rungs]


def test_weaker_half_is_dropped_at_each_rung_and_the_best_gets_three_seeds() -> None:
    race, spent = run_race(Race(METHODS, epoch_views=1000), 1600.0)
    (first, second, third) = lengths(race)
    assert (first, second) == ((10_000, 4), (30_000, 2))
    assert third[1] == 1
    assert third[0] > 100_000
    assert [set(rung.names) for rung in race.rungs] == [set(METHODS), {"simclr", "vicreg"}, {"simclr"}]
    assert (race.finalist, race.finalist_seeds) == ("simclr", [0, 1, 2])
    assert 0.97 * 1600 < spent <= 1600


def test_first_epochs_of_each_kind_of_start_are_timed_before_anything_is_planned() -> None:
    race = Race((FROM, *METHODS), epoch_views=1000)
    race, run = find_next_run(race, 1000.0, 0.0)
    assert run == NextRun(FROM, 1, 0)
    race = race.add(FinishedRun(run.name, 1, 0, 20.0, 10.0, 0.5))
    race, run = find_next_run(race, 1000.0, 0.0)
    assert run == NextRun("dcl", 1, 0)
    race = race.add(FinishedRun("dcl", 1, 0, 10.0, 2.0, 0.5))
    cost = race.estimate_cost(FROM)
    assert cost is not None
    assert (cost.epoch, cost.base) == (10.0, 10.0)
    race = race.add(FinishedRun("vicreg", 10, 0, 58.0, 50.0, 0.5))
    costs = race.estimate_costs(METHODS)
    epochs = [costs[name].epoch for name in ("dcl", "vicreg", "simclr")]
    assert epochs == [2.0, 5.0, 5.0], "until it is run, as the slowest of its kind"


def test_start_that_cannot_be_trained_is_left_out() -> None:
    race = Race((FROM, "vicreg", "dcl"), epoch_views=1000).add(FinishedRun(FROM, 1, 0, 9.0, 0.0, None))
    race = race.add(FinishedRun("vicreg", 1, 0, 9.0, 0.0, None))
    assert find_next_run(race, 600.0, 0.0)[1] == NextRun("dcl", 1, 0), "the next one of its kind is timed"
    assert find_next_run(race, 0.0, 9.0)[1] is None, "nothing is begun when the time is over"
    race, _ = run_race(race, 600.0)
    assert all(FROM not in rung.names for rung in race.rungs)
    assert race.not_tried == [], "they failed, which is said beside it"
    assert race.finalist == "dcl"


@pytest.mark.parametrize(
    ("left", "tried", "views"),
    [(900.0, 4, 10_000), (170.0, 2, 10_000), (120.0, 1, 10_000), (60.0, 1, 1000)],
)
def test_little_time_goes_into_fewer_methods_rather_than_into_short_trainings(
    left: float, tried: int, views: int
) -> None:
    race, spent = run_race(Race(METHODS, epoch_views=1000), left)
    assert len(race.rungs[0].names) == tried
    assert race.rungs[0].names == METHODS[:tried], "those that are named first"
    assert lengths(race)[0][0] >= views
    assert race.finalist_seeds == [0, 1, 2]
    assert spent <= left


def test_where_nothing_fits_nothing_is_trained_but_the_trial() -> None:
    race, _ = run_race(Race(METHODS, epoch_views=1000), 30.0)
    assert (race.rungs, race.finalist, race.finalist_seeds) == ((), None, [])


def test_cheapest_candidate_is_tried_where_the_first_one_takes_too_long() -> None:
    race = Race((FROM, *METHODS), epoch_views=1000)
    race = race.add(FinishedRun(FROM, 1, 0, 60.0, 50.0, 0.5))
    race, _ = run_race(race, 100.0)
    assert lengths(race)[0][1] == 1
    assert race.finalist == "dcl"


def test_failed_runs_are_out_and_ties_go_to_the_one_named_first() -> None:
    race = Race(METHODS, epoch_views=1000)
    scores = [("dcl", 0.1), ("dcl", None), ("simclr", 0.6), ("vicreg", 0.6), ("simsiam", 0.5)]
    for epochs, (name, score) in zip((1, 10, 10, 10, 10), scores, strict=True):
        race = race.add(FinishedRun(name, epochs, 0, 8.0 + epochs * 2.0, epochs * 2.0, score))
        race, _ = find_next_run(race, 1500.0, 0.0)
    assert race.rank(race.rungs[0]) == ["simclr", "vicreg", "simsiam"]
    assert race.rungs[1].names == ("simclr", "vicreg")


@pytest.mark.parametrize(("seeds", "half_views"), [(None, 500), (3, 400), (None, 0)])
def test_after_three_seeds_the_finalist_is_trained_on_half_of_the_images_if_there_is_time(
    seeds: int | None, half_views: int
) -> None:
    race = Race(("dcl",), epoch_views=1000, epochs=10, seeds=seeds, half_epoch_views=half_views)
    race, _ = run_race(race, 1000.0)
    half = [run for run in race.runs if run.half]
    assert [(run.name, run.epochs, run.seed) for run in half] == (
        [("dcl", 10_000 // half_views, 0)] if half_views else []
    )
    assert [run.seed for run in race.runs[1:] if not run.half] == list(range(seeds or MAX_SEEDS))
    assert race.finalist_seeds == list(range(seeds or MAX_SEEDS)), "the half is no seed of it"
    assert not half_views or race.runs.index(half[0]) == 4, "after one epoch and three seeds"
    short, _ = run_race(replace(race, runs=(), rungs=()), 8 + 2.5 + 3 * (8 + 25) + 5)
    assert (short.half_run, short.finalist_seeds) == (None, [0, 1, 2])


def test_supervised_finalist_is_not_trained_on_half_of_the_images() -> None:
    race = Race(("supervised",), epoch_views=1000, epochs=10, seeds=3, half_epoch_views=500)
    race, run = find_next_run(race, 1000.0, 0.0)
    while run is not None and not run.half:
        race = race.add(FinishedRun(run.name, run.epochs, run.seed, 10.0, 5.0, 0.9, sees_labels=True))
        race, run = find_next_run(race, 1000.0, 0.0)
    assert (run, race.finalist_seeds) == (None, [0, 1, 2])


@pytest.mark.parametrize(("slower", "seeds"), [(1.1, 3), (2.0, 1), (8.0, 1)])
def test_on_a_machine_that_becomes_slower_there_are_fewer_seeds_and_still_a_finalist(slower: float, seeds: int) -> None:
    race, spent = run_race(Race(METHODS, epoch_views=1000), 700.0, slack=70.0, slower=slower)
    assert spent <= 770
    assert race.finalist == "simclr"
    assert len(race.finalist_seeds) == seeds


def test_rung_that_is_not_complete_has_no_finalist() -> None:
    race, _ = run_race(Race(METHODS, epoch_views=1000), 700.0)
    cut = replace(race, runs=tuple(run for run in race.runs if run.epochs != race.rungs[-1].epochs)[:5])
    assert cut.last_rung == race.rungs[0]
    assert cut.finalist == "simclr"


def test_what_is_typed_is_kept() -> None:
    race, _ = run_race(Race(METHODS, epoch_views=1000, epochs=20, seeds=2), 3000.0)
    assert lengths(race) == [(10_000, 4), (20_000, 2)]
    assert race.finalist_seeds == [0, 1]
    race, _ = run_race(Race(METHODS, epoch_views=1000, epochs=2), 3000.0)
    assert lengths(race) == [(2_000, 4)]
    assert race.finalist_seeds == list(range(MAX_SEEDS))


def test_long_budget_ends_at_the_longest_training_with_more_seeds() -> None:
    race, spent = run_race(Race(METHODS, epoch_views=1000), 1e6)
    assert lengths(race)[-1] == (1_000_000, 1)
    assert race.finalist_seeds == list(range(MAX_SEEDS))
    assert spent < 20_000


def test_large_set_has_rungs_of_whole_epochs() -> None:
    race, _ = run_race(Race(METHODS, epoch_views=20_000), 2500.0)
    assert [rung.epochs for rung in race.rungs][:2] == [1, 2]


@settings(max_examples=60, deadline=None)
@given(
    left=st.floats(10, 20_000),
    pace=st.floats(5, 5000),
    base=st.floats(1, 60),
    epoch=st.integers(100, 50_000),
    continued=st.booleans(),
)
def test_no_plan_takes_more_time_than_there_is(
    left: float, pace: float, base: float, epoch: int, continued: bool
) -> None:
    candidates = (FROM, *METHODS) if continued else METHODS
    race, spent = run_race(Race(candidates, epoch), left, pace=pace, base=base)
    trials = base + epoch / pace + continued * (base + 3 * epoch / pace)
    assert spent <= max(left, trials) + 1e-6
    lengths_of_rungs = [rung.epochs for rung in race.rungs]
    assert lengths_of_rungs == sorted(set(lengths_of_rungs))
    if race.finalist is not None:
        assert len(race.finalist_seeds) >= 3, "a rung is begun only if its best can have three seeds"
