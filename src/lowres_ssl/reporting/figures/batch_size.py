"""The paper's Figure 3: a probe's score against the batch size of pre-training, a line a method, a panel a data set."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure

from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.reporting.figures import Picture, Stored
from lowres_ssl.reporting.figures._panel import (
    METRIC_LABELS,
    format_count_range,
    format_group_notes,
    format_panel_title,
    get_legend_name,
    join_distinct,
)
from lowres_ssl.reporting.figures._style import (
    BASELINE_COLOUR,
    add_legend_below,
    compute_offset,
    draw_error_bars,
    draw_line,
    escape_math,
    get_line_style,
    make_panels,
)
from lowres_ssl.runs.predictions import read_existing_result, read_test_predictions
from lowres_ssl.runs.query import ResultCell, ResultColumn, select_columns
from lowres_ssl.runs.run import Run
from lowres_ssl.stats.bootstrap import Interval, compute_interval

LEVEL_DASHES = (":", "-.", "--", "-")  # of the baselines, which share a colour
AXIS_LABEL = "batch size\nsteps\nviews"


class BatchSizeFigure(Picture):
    """lines: entries, each with those that may stand in for it. baselines: untrained entries, drawn as levels.
    batch_sizes: what the axis has room for at least."""

    def __init__(
        self,
        *,
        probe: str,
        metric: Literal["accuracy", "weighted_f1", "macro_f1", "balanced_accuracy"],
        lines: dict[str, list[str]],
        baselines: list[str],
        batch_sizes: list[int],
    ) -> None:
        if any(size < 2 for size in batch_sizes):
            raise ConfigError(f"figure.batch_size.batch_sizes={batch_sizes}: wanted numbers of at least 2")
        self.probe, self.metric, self.lines = probe, metric, lines
        self.baselines, self.batch_sizes = baselines, batch_sizes

    def draw(self, stored: Stored) -> Mapping[str, Figure]:
        wanted = [entry for line, others in self.lines.items() for entry in (line, *others)]
        probe = stored.filters.probe or self.probe
        filters = replace(stored.filters, probe=probe)
        columns = [
            column
            for column in select_columns(stored.results, filters, [*wanted, *self.baselines])
            if set(column.entries()) & set(wanted)
        ]
        if not columns:
            methods = f"method={','.join(self.lines)}"
            raise DataError(
                f"figure=batch_size: no stored {probe} results of {', '.join(self.lines)}; make them: "
                + stored.command(methods, "batch_size=16,32,64", f"probe=[{probe}]")
            )
        figure, axes = make_panels(len(columns), height=3.3)
        for column, panel in zip(columns, axes, strict=True):
            self.draw_panel(panel, column)
        score = (
            f"{join_distinct(label for column in columns for label in column.rows['label'])} "
            f"{METRIC_LABELS[self.metric]}"
        )
        figure.suptitle(
            escape_math(f"{score} against the batch size of pre-training\nmean over seeds with its 95% interval")
        )
        add_legend_below(figure, axes)
        return {"batch_size": figure}

    def draw_panel(self, axes: Any, column: ResultColumn) -> None:
        cells: list[ResultCell] = []
        found: list[Interval] = []
        for place, (line, others) in enumerate(self.lines.items()):
            entry = next((entry for entry in (line, *others) if column.batch_sizes(entry)), None)
            if entry is None:
                continue
            own = [cell for size in column.batch_sizes(entry) if (cell := column.cell(entry, size)) is not None]
            label = get_legend_name(line) if entry == line else f"{get_legend_name(line)} (as {entry})"
            found += self.draw_points(axes, own, place, label)
            cells += own
        self.draw_baselines(axes, column)
        self.label_axes(axes, cells)
        groups = format_group_notes(found, int(column.rows["n"].iloc[0]))
        title = format_panel_title(
            column.rows, *groups, format_count_range((len(cell.seeds) for cell in cells), "seed")
        )
        axes.set_title(escape_math(title), loc="left", fontsize=8)

    def draw_baselines(self, axes: Any, column: ResultColumn) -> None:
        """What no training at all comes to: a level each, and a band of its interval."""
        for place, baseline in enumerate(self.baselines):
            if (untrained := column.cell(baseline)) is not None:
                found = compute_interval(read_test_predictions(untrained).counts(), self.metric)
                axes.axhspan(found.low, found.high, color=BASELINE_COLOUR, alpha=0.15, linewidth=0)
                dashes = LEVEL_DASHES[place % len(LEVEL_DASHES)]
                axes.axhline(
                    found.value, color=BASELINE_COLOUR, linestyle=dashes, linewidth=1.2, label=get_legend_name(baseline)
                )

    def draw_points(self, axes: Any, cells: list[ResultCell], place: int, label: str) -> list[Interval]:
        """The mean over seeds at each batch size, with its 95% interval."""
        found = [compute_interval(read_test_predictions(cell).counts(), self.metric) for cell in cells]
        style, factor = get_line_style(place), compute_offset(place, len(self.lines))
        sizes = [(cell.batch_size or 0) * factor for cell in cells]
        draw_error_bars(axes, sizes, found, style)
        draw_line(axes, sizes, [each.value for each in found], style, label)
        return found

    def label_axes(self, axes: Any, cells: list[ResultCell]) -> None:
        """A tick a batch size; below it the steps and the views that the encoders of that size were trained for."""
        work: dict[int, set[tuple[int, int]]] = {size: set() for size in self.batch_sizes}
        for cell in cells:
            work.setdefault(cell.batch_size or 0, set()).update(map(read_training_length, cell.rows["result"]))
        sizes = sorted(work)
        labels = []
        for size in sizes:
            steps, views = zip(*sorted(work[size]), strict=True) if work[size] else ((), ())
            labels.append("\n".join([str(size), format_numbers(steps), format_numbers(views)]))
        axes.set_xscale("log", base=2)
        axes.set_xlim(sizes[0] / 2**0.5, sizes[-1] * 2**0.5)
        axes.minorticks_off()
        axes.set_xticks(sizes, labels)
        axes.annotate(
            AXIS_LABEL, (0, 0), (-4, -7), xycoords="axes fraction", textcoords="offset points", ha="right", va="top"
        ).set_fontsize(8)
        axes.set_ylabel(METRIC_LABELS[self.metric])


def read_training_length(result: str) -> tuple[int, int]:
    """Optimiser steps, and views made (two an image), of the training that a stored result's encoder had."""
    folder = Path(result)
    description = Run(folder.parent).description()
    images = read_existing_result(folder)["images"]["train"] + description["unlabelled_images"]
    batch_size, epochs = description["batch_size"], description["epochs_wanted"]
    full, rest = divmod(images, batch_size)
    steps = full + int(description["config"]["keep_last_batch"] and rest > 1)  # as `Training.steps_per_epoch`
    return epochs * steps, epochs * 2 * min(steps * batch_size, images)


def format_numbers(numbers: tuple[int, ...]) -> str:
    """ "18,750", "600k", "1.3M"; several as "600-840"; none as a space."""
    return (
        "-".join(dict.fromkeys(format_thousands(number) for number in (min(numbers), max(numbers)))) if numbers else " "
    )


def format_thousands(number: int) -> str:
    if number < 100_000:
        return f"{number:,}"
    return f"{number / 1e3:.0f}k" if number < 1_000_000 else f"{number / 1e6:.1f}M"
