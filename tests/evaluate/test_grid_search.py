"""The search over batch sizes and learning rates: what is tried, what is chosen and preferred, what must not matter."""

import threading
from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
import torch
from stored_runs import SPLIT, made_up_tuned

from lowres_ssl.errors import CheckpointError, ConfigError, DataError, TrainingError
from lowres_ssl.evaluate import grid_search as searching
from lowres_ssl.evaluate.grid_search import SearchGrid, group_into_passes, search_grid
from lowres_ssl.evaluate.tuned_settings import (
    GridLine,
    find_tuned_settings,
    get_tuned_path,
    read_tuned_settings,
    sort_by_preference,
    summarise_seeds,
    write_tuned_settings,
)
from lowres_ssl.probes.base import Features
from lowres_ssl.probes.batched_mlp import HeadTraining
from lowres_ssl.probes.linear import MLPProbe

Clouds = Callable[..., Features]
SETTINGS: dict[str, Any] = {"hidden": 8, "epochs": 8, "step_size": 25, "gamma": 0.5, "encoder": "selected"}
SETTINGS |= {"restart_from_best": False, "schedule_delay": 0}
GRID = SearchGrid([8, 16], [0.05, 0.01, 0.001], [3, 4], "full", SETTINGS)


@pytest.mark.usefixtures("in_double")
def test_each_line_is_the_mean_of_its_seeds_trained_alone_and_the_best_is_chosen(clouds: Clouds) -> None:
    features = clouds(apart=0.7)
    lines, chosen = search_grid(features, GRID)
    assert [(line.batch_size, line.learning_rate) for line in lines] == GRID.pairs
    for line in lines:
        probe = GRID.probe(line.batch_size, 8)
        wanted = [probe.fit(features, [line.learning_rate], [seed])[1][0].accuracy for seed in GRID.seeds]
        assert line.accuracy == pytest.approx(sum(wanted) / 2)
        assert line.accuracy_spread == pytest.approx(abs(wanted[0] - wanted[1]) / 2**0.5)
    assert chosen.accuracy == max(line.accuracy for line in lines)
    assert len({line.accuracy for line in lines}) > 1, "an example without a worse one shows nothing"


def test_threads_change_nothing_and_their_number_comes_back(clouds: Clouds) -> None:
    features = clouds(apart=0.7)
    wanted = search_grid(features, GRID)
    torch.set_num_threads(2)
    try:
        assert search_grid(features, GRID) == wanted
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.mark.usefixtures("in_double")
def test_head_that_diverges_counts_as_nothing_and_the_others_are_as_without_it(clouds: Clouds) -> None:
    features = clouds(apart=0.7)
    lines, chosen = search_grid(features, replace(GRID, batch_sizes=[8], rates=[0.05, 1e300]))
    (without,), _ = search_grid(features, replace(GRID, batch_sizes=[8], rates=[0.05]))
    assert vars(lines[0]) == pytest.approx(vars(without), rel=1e-6)
    assert (lines[1].accuracy, lines[1].loss, lines[1].diverged) == (0.0, None, 2)
    assert chosen == lines[0]


def test_all_diverged_is_an_error_that_names_a_smaller_rate(clouds: Clouds) -> None:
    with pytest.raises(TrainingError, match=r"try learning_rate=\[1e\+29\]"):
        search_grid(clouds(), replace(GRID, rates=[1e30]))


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
    lines, chosen = search_grid(clouds(apart=0.7), replace(GRID, rule=rule))
    heads = {epochs: sum(count for own, count in trained if own == epochs) for epochs in (first, 8)}
    assert heads == {first: 12, 8: 4}  # 6 settings, 2 of them kept; 2 seeds
    assert sorted(line.epochs for line in lines) == [*[first] * 4, 8, 8]
    assert chosen.epochs == 8


def test_without_a_validation_image_of_each_class_nothing_is_chosen(clouds: Clouds) -> None:
    with pytest.raises(DataError, match="no validation image"):
        search_grid(clouds(validation=0), GRID)


def test_passes_hold_every_head_once_and_one_batch_size_each() -> None:
    passes = group_into_passes(GRID.pairs, GRID.seeds, 4)
    heads = [(each.batch_size, *head) for each in passes for head in each.heads]
    assert sorted(heads) == sorted((*pair, seed) for pair in GRID.pairs for seed in GRID.seeds)
    assert [len(each.heads) for each in passes] == [4, 2, 4, 2]
    assert [each.batch_size for each in passes] == [8, 8, 16, 16]


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
    monkeypatch.setattr(searching, "as_completed", interrupted)
    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        search_grid(clouds(apart=0.7), replace(GRID, settings=SETTINGS | {"epochs": 10**7}))
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
        assert not thread.is_alive()


WANTED = made_up_tuned().encoder


def line(accuracy: float, loss: float | None = 0.5, rate: float = 0.01, batch_size: int = 16) -> GridLine:
    return GridLine(batch_size, rate, 100, accuracy, None, loss, 0)


@pytest.mark.parametrize(
    ("best", "other"),
    [
        (line(0.9, loss=0.9), line(0.8, loss=0.1)),
        (line(0.9, loss=0.1, rate=0.5), line(0.9, loss=0.2, rate=0.1)),
        (line(0.9, loss=0.1), line(0.9, loss=None, rate=0.0001)),
        (line(0.9, rate=0.001, batch_size=64), line(0.9, rate=0.01)),
        (line(0.9, batch_size=16), line(0.9, batch_size=32)),
        (line(0.3), line(0.1 + 0.2 + 1e-16, loss=0.6)),
    ],
)
def test_accuracy_goes_before_loss_before_a_small_rate_before_a_small_batch(best: GridLine, other: GridLine) -> None:
    assert sort_by_preference([other, best]) == sort_by_preference([best, other]) == [best, other]


def test_line_holds_mean_and_spread_and_a_diverged_seed_has_no_loss() -> None:
    made = summarise_seeds(16, 0.01, 100, [(0.8, 0.4), (0.9, 0.6)])
    assert (made.accuracy, made.loss, made.diverged) == pytest.approx((0.85, 0.5, 0))
    assert made.accuracy_spread == pytest.approx(0.1 / 2**0.5)
    made = summarise_seeds(16, 0.01, 100, [(0.8, 0.4), (0.0, inf)])
    assert (made.accuracy, made.loss, made.diverged) == (0.4, None, 1)
    assert summarise_seeds(16, 0.01, 100, [(0.8, 0.4)]).accuracy_spread is None


@pytest.mark.parametrize(
    "change",
    [
        *({"dataset": "x"}, {"entry": "x"}, {"recipe": "x"}, {"backbone": "x"}, {"image_size": 65}, {"epochs": 20}),
        {"split": replace(SPLIT, digest="x")},
    ],
)
def test_settings_of_another_kind_of_run_are_not_taken(tmp_path: Path, change: dict[str, object]) -> None:
    write_tuned_settings(tmp_path, made_up_tuned())
    assert find_tuned_settings(tmp_path, None, WANTED).run == "a"
    with pytest.raises(ConfigError, match=r"nothing was tuned for .*; when its run is finished, type lowres-ssl tune"):
        find_tuned_settings(tmp_path, "a", replace(WANTED, **change))


def test_own_choice_goes_first_then_that_of_the_same_batch_size_then_the_best(tmp_path: Path) -> None:
    for run, accuracy in (("a", 0.8), ("b", 0.85), ("c", 0.82)):
        write_tuned_settings(tmp_path, made_up_tuned(run=run, accuracy=accuracy))
    other = made_up_tuned(run="d", accuracy=0.9)
    write_tuned_settings(tmp_path, replace(other, encoder=replace(WANTED, batch_size=16)))
    assert find_tuned_settings(tmp_path, "c", WANTED).run == "c"
    assert find_tuned_settings(tmp_path, "another seed", WANTED).run == "b"
    assert find_tuned_settings(tmp_path, "another seed", replace(WANTED, batch_size=32)).run == "d"
    untrained = replace(WANTED, entry="random", recipe=None, batch_size=None, epochs=None)  # the same for every recipe
    write_tuned_settings(tmp_path, replace(other, run="e", encoder=untrained))
    assert find_tuned_settings(tmp_path, None, replace(untrained, recipe="tuned")).run == "e"


def test_damaged_file_costs_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_tuned_settings(tmp_path, "a") is None
    for run in ("a", "b"):
        write_tuned_settings(tmp_path, made_up_tuned(run=run))
    get_tuned_path(tmp_path, "a").write_text("{")
    assert find_tuned_settings(tmp_path, "b", WANTED).run == "b"
    assert "type lowres-ssl tune run=a force=true" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="type lowres-ssl tune run=a force=true"):
        find_tuned_settings(tmp_path, "a", WANTED)
