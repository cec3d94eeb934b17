"""The label-efficiency figure: a line an entry that has results from a part of the labels, over draws and seeds."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from lowres_ssl.reporting.figures._style import use_figure_style
from lowres_ssl.reporting.figures.labels import average_over_subsets
from lowres_ssl.runs.result_io import read_predictions
from lowres_ssl.stats.intervals import compute_interval
from speed.simulated import World, alike

FRACTIONS = (0.1, 0.5, 1.0)


@pytest.fixture
def parts(figured_run: Any) -> Callable[..., list[Path]]:
    """Results of one entry at three fractions: two draws of each part, one of the whole."""

    def make(**about: Any) -> list[Path]:
        return [
            figured_run(
                **{"probe": "linear", "accuracy": 0.5 + 0.4 * fraction + draw / 20} | about,
                label_fraction=fraction,
                label_draw=draw,
                train=round(480 * fraction),
            )
            for fraction in FRACTIONS
            for draw in range(1 if fraction == 1 else 2)
        ]

    return make


def lines_of(axes: Any) -> dict[str, dict[float, float]]:
    """The values of each line by label fraction."""
    return {line.get_label(): dict(zip(line.get_xdata(), line.get_ydata(), strict=True)) for line in axes.get_lines()}


def accuracy_of(result: Path) -> float:
    arrays = read_predictions(result)
    return float(accuracy_score(arrays["test_labels"], arrays["test_predictions"]))


def test_each_point_is_the_mean_over_draws_and_seeds(parts: Any, draw: Any) -> None:
    first, second = parts(method="dcl", seed=0), parts(method="dcl", seed=1, accuracy=0.7)
    axes = draw("labels").axes[0]
    line = lines_of(axes)["DCL"]
    assert line.keys() == set(FRACTIONS)
    for fraction, places in zip(FRACTIONS, ([0, 1], [2, 3], [4]), strict=True):
        scores = [accuracy_of(run[place]) for run in (first, second) for place in places]
        assert line[fraction] == pytest.approx(np.mean(scores))
    (band,) = axes.collections
    for x, value in line.items():
        edges = [y for at, y in band.get_paths()[0].vertices if at == pytest.approx(x)]
        assert min(edges) < value < max(edges)


def test_axis_says_share_and_number_of_labels(parts: Any, draw: Any) -> None:
    parts(method="dcl")
    axes = draw("labels").axes[0]
    assert axes.get_xscale() == "log"
    assert list(axes.get_xticks()) == list(FRACTIONS)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["10%\n48", "50%\n240", "100%\n480"]
    title = axes.get_title(loc="left").replace("\N{NO-BREAK SPACE}", " ").replace("\n", " ")
    assert "1 to 2 draws, 1 seed, batch size 64" in title


def test_fine_tuned_entries_stand_beside_the_probe_in_the_order_of_the_file(parts: Any, draw: Any) -> None:
    parts(method="random")
    parts(method="supervised", probe="classifier")
    parts(method="supervised", entry="supervised from dcl", probe="classifier")
    parts(method="dcl")
    parts(method="dcl", probe="knn")
    figure = draw("labels")
    wanted = ["DCL", "random initialisation", "supervised, end to end", "supervised from dcl, end to end"]
    assert list(lines_of(figure.axes[0])) == wanted
    assert [text.get_text() for text in figure.legends[0].get_texts()] == wanted
    figure = draw("labels", probes=["knn"])
    assert list(lines_of(figure.axes[0])) == ["DCL"]


def test_weights_that_another_run_began_with_are_the_line_they_are_of(parts: Any, draw: Any) -> None:
    parts(method="dcl")
    parts(method="weights", entry="weights of dcl")
    parts(method="weights", entry="weights of a-file.pt")
    assert list(lines_of(draw("labels").axes[0])) == ["DCL", "weights of a-file.pt"]


def test_line_is_of_one_batch_size_the_best_on_validation_of_those_with_most_fractions(
    parts: Any, figured_run: Any, draw: Any
) -> None:
    parts(method="dcl", batch_size=16, accuracy=0.6, validation_accuracy=0.8)
    parts(method="dcl", batch_size=32, accuracy=0.9, validation_accuracy=0.7)
    figured_run(method="dcl", batch_size=64, probe="linear", accuracy=0.95, validation_accuracy=0.9)
    axes = draw("labels").axes[0]
    assert lines_of(axes)["DCL"] == {fraction: pytest.approx(0.6) for fraction in FRACTIONS}
    assert axes.get_title(loc="left").endswith("batch\N{NO-BREAK SPACE}size\N{NO-BREAK SPACE}16")


def test_legend_of_long_names_stays_within_the_figure(parts: Any, draw: Any) -> None:
    for number in range(3):
        parts(method="pretrained", entry=f"pretrained vit_small_patch16_224.augreg_in21k_{number}")
    with use_figure_style():
        figure = draw("labels")
        figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1


@pytest.mark.parametrize("entries", [4, 5])
def test_intervals_are_bands_as_long_as_they_can_be_told_apart_then_bars_side_by_side(
    parts: Any, draw: Any, entries: int
) -> None:
    for number in range(entries):
        parts(method="pretrained", entry=f"pretrained {number}")
    axes = draw("labels").axes[0]
    lines = [line for line in axes.get_lines() if not line.get_label().startswith("_")]
    places = [sorted(line.get_xdata()) for line in lines]
    assert len(lines) == entries
    if entries == 4:
        assert [type(each).__name__ for each in axes.collections] == ["FillBetweenPolyCollection"] * 4
        assert places == [list(FRACTIONS)] * 4
    else:
        assert [type(each).__name__ for each in axes.collections] == ["LineCollection"] * 5
        assert len({each[0] for each in places}) == 5
        for line, bars in zip(lines, axes.collections, strict=True):
            for x, y, (low, high) in zip(line.get_xdata(), line.get_ydata(), bars.get_segments(), strict=True):
                assert low[0] == high[0] == x
                assert low[1] < y < high[1]


def test_draws_of_one_encoder_are_no_more_seeds() -> None:
    """Three equal draws say what one says; as seeds of their own they would make the interval far narrower."""
    counts, _ = World(alike(60, 3), seeds=3, seed=0.5).draw(np.random.default_rng(0))
    cell: Any = SimpleNamespace(seeds=[0, 1, 2], tested=SimpleNamespace(counts=counts[0]))
    once, thrice = average_over_subsets([cell], "accuracy"), average_over_subsets([cell] * 3, "accuracy")
    pooled = compute_interval(np.concatenate([counts[0]] * 3), "accuracy")
    assert thrice.high - thrice.low == pytest.approx(once.high - once.low, rel=0.02)
    assert pooled.high - pooled.low < 0.75 * (once.high - once.low)


def test_mean_is_over_the_seeds_that_all_draws_have(figured_run: Any, draw: Any) -> None:
    """Draw 0 has seeds 0 and 1, draw 1 seeds 1 and 2: the first of each are seeds of two encoders."""
    accuracies = {(0, 0): 0.2, (0, 1): 0.8, (1, 1): 0.6, (1, 2): 0.9}
    runs = {
        (draw, seed): figured_run(
            method="dcl", probe="linear", seed=seed, label_fraction=0.1, label_draw=draw, accuracy=accuracy
        )
        for (draw, seed), accuracy in accuracies.items()
    }
    axes = draw("labels").axes[0]
    assert lines_of(axes)["DCL"][0.1] == pytest.approx(np.mean([accuracy_of(runs[0, 1]), accuracy_of(runs[1, 1])]))
