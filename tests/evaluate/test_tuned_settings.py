"""What was tuned: the order of preference, whose settings are whose, Table 1."""

from math import inf
from pathlib import Path
from typing import Any

import pytest

from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.evaluate.tuned_settings import (
    MATCHING_KEYS,
    build_table_1,
    find_tuned_settings,
    get_tuned_path,
    read_tuned_settings,
    sort_by_preference,
    summarise_seeds,
    write_tuned_settings,
)


def line(accuracy: float, loss: float | None = 0.5, rate: float = 0.01, batch_size: int = 16) -> dict[str, Any]:
    return {"accuracy": accuracy, "loss": loss, "learning_rate": rate, "batch_size": batch_size}


def tuned(run: str = "a", chosen: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "run": run,
        "entry": "simclr",
        "dataset": "pneumonia",
        "title": "Pneumonia",
        "recipe": "paper",
        "backbone": "resnet18",
        "image_size": 64,
        "batch_size": 64,
        "epochs": 10,
        "split": {"kind": "random", "seed": 0, "digest": "d" * 64},
        "split_digest": "d" * 64,
        "rule": "full",
        "seeds": 3,
        "chosen": chosen or line(0.9),
    } | changes


WANTED = {key: tuned()[key] for key in (*MATCHING_KEYS, "batch_size")}


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
def test_accuracy_goes_before_loss_before_a_small_rate_before_a_small_batch(
    best: dict[str, Any], other: dict[str, Any]
) -> None:
    assert sort_by_preference([other, best]) == sort_by_preference([best, other]) == [best, other]


def test_line_holds_mean_and_spread_and_a_diverged_seed_has_no_loss() -> None:
    made = summarise_seeds(16, 0.01, 100, [(0.8, 0.4), (0.9, 0.6)])
    assert (made["accuracy"], made["loss"], made["diverged"]) == pytest.approx((0.85, 0.5, 0))
    assert made["accuracy_spread"] == pytest.approx(0.1 / 2**0.5)
    made = summarise_seeds(16, 0.01, 100, [(0.8, 0.4), (0.0, inf)])
    assert (made["accuracy"], made["loss"], made["loss_spread"], made["diverged"]) == (0.4, None, None, 1)
    assert summarise_seeds(16, 0.01, 100, [(0.8, 0.4)])["accuracy_spread"] is None


@pytest.mark.parametrize("key", ["dataset", "entry", "recipe", "backbone", "image_size", "split_digest", "epochs"])
def test_settings_of_another_kind_of_run_are_not_taken(tmp_path: Path, key: str) -> None:
    write_tuned_settings(tmp_path, tuned())
    assert find_tuned_settings(tmp_path, None, WANTED)["run"] == "a"
    with pytest.raises(ConfigError, match=r"nothing was tuned for .*; when its run is finished, type lowres-ssl tune"):
        find_tuned_settings(tmp_path, "a", WANTED | {key: 20 if key == "epochs" else "another"})


def test_those_of_the_same_batch_size_go_before_better_ones_of_another(tmp_path: Path) -> None:
    write_tuned_settings(tmp_path, tuned("a", line(0.8)))
    write_tuned_settings(tmp_path, tuned("b", line(0.9), batch_size=16))
    assert find_tuned_settings(tmp_path, "another seed", WANTED)["run"] == "a"
    assert find_tuned_settings(tmp_path, "another seed", WANTED | {"batch_size": 32})["run"] == "b"


def test_file_of_before_epochs_were_written_down_fits_any(tmp_path: Path) -> None:
    write_tuned_settings(
        tmp_path, {key: value for key, value in tuned().items() if key not in ("batch_size", "epochs")}
    )
    assert find_tuned_settings(tmp_path, None, WANTED)["run"] == "a"


def test_runs_own_choice_goes_first_then_the_best_of_those_like_it(tmp_path: Path) -> None:
    for run, accuracy in (("a", 0.8), ("b", 0.9), ("c", 0.85)):
        write_tuned_settings(tmp_path, tuned(run, line(accuracy)))
    assert find_tuned_settings(tmp_path, "c", WANTED)["run"] == "c"
    assert find_tuned_settings(tmp_path, "d", WANTED)["run"] == "b"


def test_untrained_encoder_fits_every_recipe(tmp_path: Path) -> None:
    write_tuned_settings(tmp_path, tuned(entry="random", recipe=None))
    assert find_tuned_settings(tmp_path, None, WANTED | {"entry": "random", "recipe": "tuned"})["run"] == "a"


def test_damaged_file_names_the_command_that_makes_it_anew(tmp_path: Path) -> None:
    write_tuned_settings(tmp_path, tuned())
    assert read_tuned_settings(tmp_path, "a") is not None
    assert read_tuned_settings(tmp_path, "b") is None
    get_tuned_path(tmp_path, "a").write_text("{")
    with pytest.raises(CheckpointError, match="type lowres-ssl tune run=a force=true"):
        read_tuned_settings(tmp_path, "a")


def test_damaged_file_costs_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for run in ("a", "b"):
        write_tuned_settings(tmp_path, tuned(run))
    get_tuned_path(tmp_path, "a").write_text("{")
    assert find_tuned_settings(tmp_path, "b", WANTED)["run"] == "b"
    assert "type lowres-ssl tune run=a force=true" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match="type lowres-ssl tune run=a force=true"):
        find_tuned_settings(tmp_path, "a", WANTED)


def test_table_1_has_ours_beside_the_papers_and_a_table_for_each_recipe() -> None:
    paper = {"simclr": {"pneumonia": {"batch_size": 64, "learning_rate": 0.1}}}
    mine = [
        tuned("a", line(0.9, rate=0.0005, batch_size=32)),
        tuned("b", line(0.8)),
        tuned("c", entry="dcl", dataset="breast", title="Breast"),
        tuned("d", entry="random", recipe=None),
        tuned("e", recipe="tuned"),
    ]
    (title, heads, rows), (other, _, others) = build_table_1(mine, paper)
    assert "recipe paper, resnet18, 64 px, split random (split_seed 0); rule full" in title
    assert heads == ["", "Pneumonia", "paper", "Breast", "paper"]
    assert rows == [
        ["simclr", "32 (0.0005)", "64 (0.1)", "-", "-"],
        ["dcl", "-", "-", "16 (0.01)", "-"],
        ["random", "16 (0.01)", "-", "-", "-"],
    ]
    assert "recipe tuned" in other
    assert [row[0] for row in others] == ["random", "simclr"]
