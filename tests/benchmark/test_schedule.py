"""A budget divided into seeds and epochs: the arithmetic of the rule `seeds_first`."""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lowres_ssl.benchmark.schedule import (
    RESERVED_SHARE,
    BenchmarkCosts,
    TypedChoices,
    compute_min_budget,
    compute_schedule,
    fits_in_budget,
)
from lowres_ssl.config.overrides import parse_duration
from lowres_ssl.errors import ConfigError

DEAR = {"start": 2.0, "random_seed": 1e6}  # so that no budget here pays for a further seed of the random encoders
# An epoch of both methods: 10 s. A seed: 20 s and 10 s an epoch. Beside the seeds: 40 s.
COSTS = BenchmarkCosts(epoch={"dcl": 4.0, "vicreg": 6.0}, round_base=20.0, run=4.0, prepare=10.0, report=30.0, **DEAR)
FREE = TypedChoices(recipe_epochs=100)


def budget_for(seeds: int, epochs: int, extras: float = 0.0) -> float:
    """The budget of which just so much is not kept back."""
    return (40 + seeds * (20 + 10 * epochs) + extras) / (1 - RESERVED_SHARE)


@pytest.mark.parametrize("missing", [0.1, 50.0])
def test_three_seeds_are_never_given_up_for_epochs(missing: float) -> None:
    """Two seeds of four epochs would fit: with them hardly any difference is significant."""
    assert budget_for(3, 2) == budget_for(2, 4)
    own = compute_schedule(COSTS, budget_for(3, 2), FREE)
    assert (own.seeds, own.epochs, own.left_out) == (3, 2, ())
    with pytest.raises(ConfigError, match="too little for 3 seeds of 2 epochs of every method"):
        compute_schedule(COSTS, budget_for(3, 2) - missing, FREE)


def test_methods_named_last_are_left_out_where_three_seeds_of_all_do_not_fit() -> None:
    costs = replace(COSTS, epoch={"dcl": 4.0, "vicreg": 6.0, "simsiam": 5.0})
    optional = replace(FREE, optional=("dcl", "vicreg", "simsiam"))

    def without(methods: int, seconds: float) -> float:
        """The budget of three seeds of two epochs, of which a seed is `methods` x 4 s and a whole epoch shorter."""
        return (40 + 3 * (20 - 4 * methods + 2 * (15 - seconds))) / (1 - RESERVED_SHARE)

    assert compute_schedule(costs, without(0, 0), optional).left_out == ()
    own = compute_schedule(costs, without(0, 0) - 0.1, optional)
    assert (own.seeds, own.epochs, own.left_out) == (3, 3, ("simsiam",))
    assert own.seconds == 40 + 3 * (20 - 4 + 3 * 10)
    assert compute_schedule(costs, without(1, 5) - 0.1, optional).left_out == ("vicreg", "simsiam")
    with pytest.raises(ConfigError, match="too little for 3 seeds of 2 epochs of one method"):
        compute_schedule(costs, without(2, 11) - 0.1, optional)
    assert compute_min_budget(costs, optional) == pytest.approx(without(0, 0))


def test_what_is_left_becomes_epochs_as_many_as_fit() -> None:
    assert compute_schedule(COSTS, budget_for(3, 7), FREE).epochs == 7
    assert compute_schedule(COSTS, budget_for(3, 7) - 0.1, FREE).epochs == 6


def test_epochs_of_the_recipe_are_not_exceeded_and_further_seeds_are_taken_instead() -> None:
    short = TypedChoices(recipe_epochs=3)
    assert compute_schedule(COSTS, budget_for(4, 3), short).seeds == 4
    own = compute_schedule(COSTS, budget_for(50, 3), short)
    assert (own.seeds, own.epochs) == (5, 3)


def test_what_is_typed_is_kept() -> None:
    own = compute_schedule(COSTS, budget_for(3, 4), TypedChoices(recipe_epochs=100, epochs=4))
    assert (own.seeds, own.epochs) == (3, 4)
    own = compute_schedule(COSTS, budget_for(2, 9), TypedChoices(recipe_epochs=100, seeds=2))
    assert (own.seeds, own.epochs) == (2, 9)
    own = compute_schedule(COSTS, budget_for(5, 9), TypedChoices(recipe_epochs=100, seeds=1))
    assert own.seeds == 1
    assert own.epochs == (5 * (20 + 90) - 20) // 10


def test_extra_is_taken_for_a_tenth_of_the_budget_and_no_more() -> None:
    costly = replace(COSTS, extras={"labels": 10.0, "linear": 60.0})
    own = compute_schedule(costly, 1000.0, FREE)
    assert own.extras == ("labels",)
    assert compute_schedule(costly, 1800.0, FREE).extras == ("labels", "linear")
    assert compute_schedule(costly, budget_for(3, 2), FREE).extras == ()
    assert own.seconds <= 900


@pytest.mark.parametrize(
    ("random_seed", "wanted"),
    [(1.0, 10), (7.0, 10), (13.0, 6), (48.0, 4), (51.0, 3)],  # a tenth of the budget is 51 s, of which starting takes 2
)
def test_random_encoders_get_further_seeds_for_a_tenth_of_the_budget(random_seed: float, wanted: int) -> None:
    own = compute_schedule(replace(COSTS, random_seed=random_seed), 510.0, FREE)
    assert (own.seeds, own.random_seeds) == (3, wanted)
    further = (wanted - 3) * random_seed + 2 * (wanted > 3)
    assert own.seconds == 40 + 3 * (20 + 10 * own.epochs) + further <= 0.9 * 510


def test_further_random_seeds_come_before_extras_and_not_before_two_epochs() -> None:
    costs = replace(COSTS, random_seed=5.0, extras={"labels": 5.0})
    own = compute_schedule(costs, budget_for(3, 2, extras=20.0), FREE)  # a tenth of it are 20 s
    assert (own.random_seeds, own.extras, own.epochs) == (6, (), 2)
    assert compute_schedule(costs, budget_for(3, 2), FREE).random_seeds == 3


@pytest.mark.parametrize(
    "typed", [FREE, TypedChoices(100, epochs=6), TypedChoices(100, seeds=3), TypedChoices(recipe_epochs=1)]
)
def test_too_small_a_budget_is_refused_with_the_least_that_would_do(typed: TypedChoices) -> None:
    with pytest.raises(ConfigError, match=r"too little for \d seeds? of \d epochs? of every method") as refused:
        compute_schedule(COSTS, compute_min_budget(COSTS, typed) - 1, typed)
    offered = re.search(r"type budget=(\w+)", str(refused.value))
    assert offered is not None
    assert compute_schedule(COSTS, parse_duration(offered[1]), typed).seeds >= 3


@given(
    epoch=st.lists(st.floats(0.1, 500), min_size=1, max_size=6),
    random_seed=st.floats(0, 100),
    base=st.floats(1, 300),
    extras=st.lists(st.floats(0.1, 300), max_size=2),
    budget=st.floats(60, 1e6),
)
def test_no_plan_takes_more_than_what_is_not_kept_back(
    epoch: list[float], random_seed: float, base: float, extras: list[float], budget: float
) -> None:
    methods = {str(place): seconds for place, seconds in enumerate(epoch)}
    named = {str(place): seconds for place, seconds in enumerate(extras)}
    random = {"start": 3.0, "random_seed": random_seed}
    costs = BenchmarkCosts(
        epoch=methods, round_base=base, run=base / 20, prepare=5.0, report=20.0, extras=named, **random
    )
    try:
        own = compute_schedule(costs, budget, FREE)
    except ConfigError:
        assert costs.whole(3, 2) > budget * (1 - RESERVED_SHARE)
        return
    assert own.seconds <= budget * (1 - RESERVED_SHARE) * (1 + 1e-9)
    assert 3 <= own.seeds <= 5
    assert 2 <= own.epochs <= 100
    assert own.seeds <= own.random_seeds <= 10


def test_late_seeds_are_dropped_but_the_first_never_and_the_next_two_a_quarter_later() -> None:
    at = {"spent": 60.0, "still_to_come": 10.0, "budget": 100.0}
    assert fits_in_budget(1000.0, **at, seed=0)
    assert fits_in_budget(30.0, **at, seed=3)
    assert not fits_in_budget(31.0, **at, seed=3)
    for seed in (1, 2):
        assert fits_in_budget(55.0, **at, seed=seed)
        assert not fits_in_budget(56.0, **at, seed=seed)
    assert not fits_in_budget(31.0, **at, seed=None)
