"""What was tuned: the order of preference, and whose settings are whose."""

from dataclasses import replace
from math import inf
from pathlib import Path

import pytest
from stored_runs import SPLIT, made_up_tuned

from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.evaluate.tuned_settings import (
    GridLine,
    find_tuned_settings,
    get_tuned_path,
    read_tuned_settings,
    sort_by_preference,
    summarise_seeds,
    write_tuned_settings,
)

WANTED = made_up_tuned().encoder


def line(accuracy: float, loss: float | None = 0.5, rate: float = 0.01, batch_size: int = 16) -> GridLine:
    return GridLine(batch_size, rate, 100, accuracy, None, loss, None, 0)


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
    assert (made.accuracy, made.loss, made.loss_spread, made.diverged) == (0.4, None, None, 1)
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


def test_untrained_encoder_fits_every_recipe(tmp_path: Path) -> None:
    untrained = replace(WANTED, entry="random", recipe=None, batch_size=None, epochs=None)
    write_tuned_settings(tmp_path, replace(made_up_tuned(), encoder=untrained))
    assert find_tuned_settings(tmp_path, None, replace(untrained, recipe="tuned")).run == "a"


def test_damaged_file_costs_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert read_tuned_settings(tmp_path, "a") is None
    for run in ("a", "b"):
        write_tuned_settings(tmp_path, made_up_tuned(run=run))
    get_tuned_path(tmp_path, "a").write_text("{")
    assert find_tuned_settings(tmp_path, "b", WANTED).run == "b"
    assert "type lowres-ssl tune run=a force=true" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="type lowres-ssl tune run=a force=true"):
        find_tuned_settings(tmp_path, "a", WANTED)
