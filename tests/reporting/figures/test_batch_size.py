"""Figure 3 shows the stored numbers, each with what it cost, and nothing that was not run."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score
from tiny_training import TRAINING

from lowres_ssl.data.splits import ALL_LABELS
from lowres_ssl.reporting.figures.batch_size import read_training_length
from lowres_ssl.runs.result_io import read_predictions
from lowres_ssl.runs.run import Run

METHODS = ("simclr", "dcl", "simsiam", "vicreg")


@pytest.fixture
def grid(figured_run: Any) -> dict[tuple[str, int, int], Path]:
    """The results of two methods at two batch sizes with two seeds, and random initialisation, of one data set."""
    results = {
        (method, size, seed): figured_run(method=method, batch_size=size, seed=seed, accuracy=accuracy + seed / 20)
        for method, accuracy in (("dcl", 0.6), ("vicreg", 0.8))
        for size in (16, 64)
        for seed in (0, 1)
    }
    figured_run(method="random", accuracy=0.5)
    return results


def lines_of(axes: Any) -> dict[str, dict[int, float]]:
    """By its label in the legend: the values of a line by batch size (lines stand a little aside)."""
    return {
        line.get_label(): {2 ** round(np.log2(x)): y for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)}
        for line in axes.get_lines()
        if line.get_marker() not in ("None", "_", "|")
    }


@pytest.mark.parametrize("metric", ["accuracy", "weighted_f1"])
def test_each_point_is_the_mean_over_seeds_of_the_stored_predictions_within_its_interval(
    grid: dict[tuple[str, int, int], Path], draw: Any, metric: str
) -> None:
    axes = draw("batch_size", metric=metric).axes[0]
    lines = lines_of(axes)
    assert lines.keys() == {"DCL", "VICReg"}
    for name, method in (("DCL", "dcl"), ("VICReg", "vicreg")):
        assert lines[name].keys() == {16, 64}
        for size, value in lines[name].items():
            scores = []
            for seed in (0, 1):
                arrays = read_predictions(grid[method, size, seed])
                labels, predictions = arrays["test_labels"], arrays["test_predictions"]
                scores.append(
                    accuracy_score(labels, predictions)
                    if metric == "accuracy"
                    else f1_score(labels, predictions, average="weighted")
                )
            assert value == pytest.approx(np.mean(scores))
    bars = [segment for container in axes.containers for segment in container[2][0].get_segments()]
    values = [value for line in lines.values() for value in line.values()]
    for bar, value in zip(bars, values, strict=True):
        assert bar[0, 1] < value < bar[1, 1]


@pytest.mark.usefixtures("grid")
def test_axis_has_a_tick_a_batch_size_with_steps_and_views_and_room_for_more(draw: Any) -> None:
    axes = draw("batch_size").axes[0]
    assert list(axes.get_xticks()) == [16, 32, 64, 128, 256]
    assert axes.get_xscale() == "log"
    assert axes.xaxis.get_minorticklocs().size == 0
    labels = [label.get_text() for label in axes.get_xticklabels()]
    # 250 epochs of 480 images: 30 batches of 16, 7 of 64.
    assert labels == ["16\n7,500\n240k", "32\n \n ", "64\n1,750\n224k", "128\n \n ", "256\n \n "]
    low, high = axes.get_xlim()
    assert low < 16
    assert high > 256


@pytest.mark.usefixtures("grid")
def test_the_calibrated_random_encoder_is_a_level_of_its_own(figured_run: Any, draw: Any) -> None:
    figured_run(method="random_calibrated", accuracy=0.55)
    axes = draw("batch_size").axes[0]
    names = ("random initialisation", "random, BatchNorm calibrated")
    plain, calibrated = (line for name in names for line in axes.get_lines() if line.get_label() == name)
    assert set(calibrated.get_ydata()) == {0.55}
    assert plain.get_linestyle() != calibrated.get_linestyle()
    assert len(axes.patches) == 2


def test_panel_a_data_set_says_what_it_is_of(figured_run: Any, draw: Any) -> None:
    for seed in (0, 1, 2):
        figured_run(method="dcl", dataset="breast", title="Breast $5", seed=seed)
    figured_run(method="dcl", dataset="phantom", split="patient")
    figured_run(method="random", dataset="colorectal")  # nothing trained: no panel
    axes = draw("batch_size").axes
    titles = [each.get_title(loc="left").replace("\N{NO-BREAK SPACE}", " ") for each in axes]
    assert len(titles) == 2
    for said in (r"Breast \$5", "recipe paper", "resnet18", "64 px", "250 epochs", "120 test images", "3 seeds"):
        assert said in titles[0]
    assert "split patient (seed 0)" in titles[1]
    assert "1 seed" in titles[1]


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        (None, "40 groups"),
        ([f"patient{number}" for number in range(5)], "5 groups (no reliable intervals)"),
        # Thirty, of which one has three of four images: they tell as much as two.
        (["patient"] * 90 + [f"patient{number}" for number in range(29)], "30 groups (no reliable intervals)"),
        ([""], "1 seed"),
    ],
)
def test_panel_says_how_many_groups_and_whether_they_do(
    figured_run: Any, draw: Any, groups: list[str] | None, said: str
) -> None:
    figured_run(method="dcl", groups=groups)
    title = draw("batch_size").axes[0].get_title(loc="left")
    facts = title.replace("\n", " ").replace("\N{NO-BREAK SPACE}", " ").split(", ")
    assert said in facts
    assert sum("group" in fact for fact in facts) == ("group" in said)


def test_released_code_counts_as_dcl_and_says_so(figured_run: Any, draw: Any) -> None:
    figured_run(method="dclw", recipe="released_code")
    figure = draw("batch_size")
    assert list(lines_of(figure.axes[0])) == ["DCL (as dclw)"]


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize(
    ("images", "unlabelled", "batch_size"), [(480, 0, 64), (481, 0, 16), (60, 40, 32), (64, 0, 64)]
)
def test_steps_and_views_are_those_of_the_training(
    figured_run: Any, keep: bool, images: int, unlabelled: int, batch_size: int
) -> None:
    folder = figured_run(
        train=images, unlabelled_images=unlabelled, keep_last_batch=keep, batch_size=batch_size, epochs=3
    )
    training = replace(TRAINING, batch_size=batch_size, keep_last_batch=keep)
    everything = images + unlabelled
    steps = training.steps_per_epoch(everything)
    assert read_training_length(str(folder)) == (3 * steps, 3 * 2 * min(steps * batch_size, everything))
    assert Run(folder.parent).read().config.epochs == 3


def test_method_that_has_learnt_nothing_is_marked_as_in_tables(figured_run: Any, draw: Any) -> None:
    figured_run(method="dcl", accuracy=0.6, embedding_std=0.9, loss=4.8, chance_loss=math.log(126))
    figured_run(method="vicreg", accuracy=0.6)
    axes = draw("batch_size").axes[0]
    assert lines_of(axes).keys() == {"DCL§", "VICReg"}
    assert axes.get_title(loc="left").replace("\xa0", " ").endswith("§ learnt nothing in a seed")


def test_images_without_labels_do_not_count_where_labels_are_trained_on(figured_run: Any) -> None:
    folder = figured_run(method="supervised", train=64, batch_size=64, epochs=1)
    run = Run(folder.parent)
    record = replace(run.read(), unlabelled_images=640)
    for labels, steps in ((ALL_LABELS, 1), (None, 11)):
        run.start(replace(record, labels=labels))
        assert read_training_length(str(folder)) == (steps, 2 * 64 * steps)


def test_small_views_of_dino_are_counted(figured_run: Any) -> None:
    folder = figured_run(method="dino", train=64, batch_size=64, epochs=1)
    run = Run(folder.parent)
    record = run.read()
    run.start(replace(record, config=replace(record.config, method={**record.config.method, "small_views": 6})))
    assert read_training_length(str(folder)) == (1, 8 * 64)
