"""The search over batch sizes and learning rates: what is tried, what is chosen, what must not matter."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from lowres_ssl.errors import DataError, TrainingError
from lowres_ssl.evaluate import grid_search as searching
from lowres_ssl.evaluate.grid_search import SearchGrid, group_into_passes, search_grid
from lowres_ssl.probes.base import Features
from lowres_ssl.probes.batched_mlp import HeadTraining
from lowres_ssl.probes.linear import MLPProbe

Clouds = Callable[..., Features]
SETTINGS: dict[str, Any] = {
    "hidden": 8,
    "epochs": 8,
    "step_size": 25,
    "gamma": 0.5,
    "encoder": "selected",
    "restart_from_best": False,
    "schedule_delay": 0,
}


def grid(**changes: Any) -> SearchGrid:
    given: dict[str, Any] = {
        "batch_sizes": [8, 16],
        "rates": [0.05, 0.01, 0.001],
        "seeds": [3, 4],
        "rule": "full",
        "settings": SETTINGS,
    }
    return SearchGrid(**given | changes)


def silent(_: str) -> None:
    pass


def alone(features: Features, tried: SearchGrid, batch_size: int, rate: float) -> list[float]:
    """The validation accuracy of each seed, a head at a time."""
    return [tried.probe(batch_size, 8).fit(features, [rate], [seed])[1][0].accuracy for seed in tried.seeds]


@pytest.mark.usefixtures("in_double")
def test_each_line_is_the_mean_of_its_seeds_trained_alone_and_the_best_is_chosen(clouds: Clouds) -> None:
    features, tried = clouds(apart=0.7), grid()
    lines, chosen = search_grid(features, tried, silent)
    assert [(line.batch_size, line.learning_rate) for line in lines] == tried.pairs
    for line in lines:
        wanted = alone(features, tried, line.batch_size, line.learning_rate)
        assert line.accuracy == pytest.approx(sum(wanted) / 2)
        assert line.accuracy_spread == pytest.approx(abs(wanted[0] - wanted[1]) / 2**0.5)
    assert chosen.accuracy == max(line.accuracy for line in lines)
    assert len({line.accuracy for line in lines}) > 1, "an example without a worse one shows nothing"


def test_threads_change_nothing_and_their_number_comes_back(clouds: Clouds) -> None:
    features = clouds(apart=0.7)
    wanted = search_grid(features, grid(), silent)
    torch.set_num_threads(2)
    try:
        assert search_grid(features, grid(), silent) == wanted
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.usefixtures("in_double")
def test_head_that_diverges_counts_as_nothing_and_the_others_are_as_without_it(clouds: Clouds) -> None:
    features = clouds(apart=0.7)
    lines, chosen = search_grid(features, grid(batch_sizes=[8], rates=[0.05, 1e300]), silent)
    (without,), _ = search_grid(features, grid(batch_sizes=[8], rates=[0.05]), silent)
    assert vars(lines[0]) == pytest.approx(vars(without), rel=1e-6)
    assert (lines[1].accuracy, lines[1].loss, lines[1].diverged) == (0.0, None, 2)
    assert chosen == lines[0]


def test_all_diverged_is_an_error_that_names_a_smaller_rate(clouds: Clouds) -> None:
    with pytest.raises(TrainingError, match=r"try learning_rate=\[1e\+29\]"):
        search_grid(clouds(), grid(rates=[1e30]), silent)


@pytest.mark.parametrize(("rule", "first"), [("quarter", 2), ("eighth", 1)])
def test_rule_trains_a_quarter_of_the_settings_to_the_end_and_chooses_among_them(
    clouds: Clouds, monkeypatch: pytest.MonkeyPatch, rule: str, first: int
) -> None:
    trained: list[tuple[int, int]] = []
    really = MLPProbe.fit

    def watch(self: MLPProbe, features: Features, rates: Any, seeds: Any, *rest: Any) -> Any:
        trained.append((self.epochs, len(rates)))
        return really(self, features, rates, seeds, *rest)

    monkeypatch.setattr(MLPProbe, "fit", watch)
    lines, chosen = search_grid(clouds(apart=0.7), grid(rule=rule), silent)
    heads = {epochs: sum(count for own, count in trained if own == epochs) for epochs in (first, 8)}
    assert heads == {first: 12, 8: 4}  # 6 settings, 2 of them kept; 2 seeds
    assert sorted(line.epochs for line in lines) == [*[first] * 4, 8, 8]
    assert chosen.epochs == 8


def test_without_a_validation_image_of_each_class_nothing_is_chosen(clouds: Clouds) -> None:
    features = clouds()
    kept = features.validation_labels != 0
    thin = replace(features, validation=features.validation[kept], validation_labels=features.validation_labels[kept])
    with pytest.raises(DataError, match="no validation image"):
        search_grid(thin, grid(), silent)


def test_passes_hold_every_head_once_and_one_batch_size_each() -> None:
    tried = grid()
    passes = group_into_passes(tried.pairs, tried.seeds, 4)
    heads = [(each.batch_size, *head) for each in passes for head in each.heads]
    assert sorted(heads) == sorted((*pair, seed) for pair in tried.pairs for seed in tried.seeds)
    assert [len(each.heads) for each in passes] == [4, 2, 4, 2]
    assert [each.batch_size for each in passes] == [8, 8, 16, 16]


def test_time_that_is_left_is_told(clouds: Clouds) -> None:
    told: list[str] = []
    search_grid(clouds(), grid(), told.append)
    assert told
    assert all("left" in text for text in told)


def test_interrupt_calls_off_the_passes_that_are_under_way(clouds: Clouds, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python waits for a pool's threads when it ends, and these would take hours."""
    monkeypatch.setattr(searching, "get_thread_count", lambda _: 2)
    under_way = threading.Event()
    really = HeadTraining.epoch

    def watch(*given: Any) -> None:
        under_way.set()
        really(*given)

    def interrupted(*_: Any, **__: Any) -> None:
        assert under_way.wait(10)
        raise KeyboardInterrupt

    monkeypatch.setattr(HeadTraining, "epoch", watch)
    monkeypatch.setattr(searching, "wait", interrupted)
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        search_grid(clouds(apart=0.7), grid(settings=SETTINGS | {"epochs": 10**7}), silent)
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()
