"""Draw the paper's Figure 3: a probe's score against the batch size of pre-training, a panel for each data set."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure

from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.reporting.cells import METRIC_TITLES, format_mark_notes, get_legend_name, get_mark_sign, replace_others
from lowres_ssl.reporting.figures import Picture
from lowres_ssl.reporting.figures._style import (
    BASELINE_COLOUR,
    add_legend_below,
    draw_curve,
    escape_math,
    format_count_range,
    format_group_notes,
    format_panel_title,
    join_distinct,
    make_panels,
)
from lowres_ssl.reporting.stored import Stored
from lowres_ssl.runs.filters import is_trained
from lowres_ssl.runs.predictions import ResultCell
from lowres_ssl.runs.query import ResultColumn, select_ordinary
from lowres_ssl.runs.result_io import read_result
from lowres_ssl.runs.run import Run

LEVEL_DASHES = (":", "-.", "--", "-")  # of the baselines, which share a colour
AXIS_LABEL = "batch size\nsteps\nviews"


class BatchSizeFigure(Picture):
    """Draw `lines`, each with the entries that may stand in for it; "*" is every other trained entry, but not those
    that its list names. baselines: untrained entries, drawn as levels. batch_sizes: the least that the axis shows."""

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
        probe = stored.filters.probe or self.probe
        filters = replace(stored.filters, probe=probe)
        beside = [entry for own in self.lines.values() for entry in own]
        rows = filters.apply(select_ordinary(stored.results))
        shown = replace_others(list(self.lines), rows.loc[is_trained(rows), "entry"], *beside, *self.baselines)
        lines = {line: self.lines.get(line, []) for line in shown}
        wanted = {entry for line, own in lines.items() for entry in (line, *own)}
        columns = [
            column for column in stored.columns(filters, [*wanted, *self.baselines]) if set(column.entries()) & wanted
        ]
        if not columns:
            raise DataError(
                f"figure=batch_size: no stored {probe} results of {', '.join(lines)}; make them: "
                + stored.command(f"method={','.join(lines)}", "batch_size=16,32,64", f"probe=[{probe}]")
            )
        figure, axes = make_panels(len(columns), height=3.3)
        for column, panel in zip(columns, axes, strict=True):
            self.draw_panel(panel, column, lines)
        labels = join_distinct(label for column in columns for label in column.rows["label"])
        title = f"{labels} {METRIC_TITLES[self.metric]} against the batch size of pre-training"
        figure.suptitle(escape_math(f"{title}\nmean over seeds with its 95% interval"))
        add_legend_below(figure, axes)
        return {"batch_size": figure}

    def draw_panel(self, axes: Any, column: ResultColumn, lines: dict[str, list[str]]) -> None:
        """Draw the mean over seeds at each batch size with its 95% interval; a baseline as a level and a band."""
        cells: list[ResultCell] = []
        for place, (line, others) in enumerate(lines.items()):
            entry = next((entry for entry in (line, *others) if column.batch_sizes(entry)), line)
            sizes = column.batch_sizes(entry)
            own = [cell for size in sizes if (cell := column.cell(entry, size)) is not None]
            if own:
                label = get_legend_name(line) if entry == line else f"{get_legend_name(line)} (as {entry})"
                label += get_mark_sign(*own)
                draw_curve(axes, sizes, [cell.interval(self.metric) for cell in own], label, place, len(lines))
            cells += own
        for place, baseline in enumerate(self.baselines):
            if (untrained := column.cell(baseline)) is not None:
                level = untrained.interval(self.metric)
                axes.axhspan(level.low, level.high, color=BASELINE_COLOUR, alpha=0.15, linewidth=0)
                looks = {"linestyle": LEVEL_DASHES[place % len(LEVEL_DASHES)], "linewidth": 1.2}
                axes.axhline(level.value, color=BASELINE_COLOUR, **looks, label=get_legend_name(baseline))
        self.label_axes(axes, cells)
        groups = format_group_notes([cell.interval(self.metric) for cell in cells], int(column.rows["n"].iloc[0]))
        seeds = format_count_range((len(each.seeds) for each in cells), "seed")
        notes = [*groups, seeds, *format_mark_notes(cells)]
        axes.set_title(escape_math(format_panel_title(column.rows, *notes)), loc="left", fontsize=8)

    def label_axes(self, axes: Any, cells: list[ResultCell]) -> None:
        """Put a tick at each batch size; below it the steps and views that encoders of that size were trained for."""
        work: dict[int, set[tuple[int, int]]] = {size: set() for size in self.batch_sizes}
        for each in cells:
            lengths = map(read_training_length, each.rows["result"])
            work.setdefault(each.batch_size or 0, set()).update(lengths)
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
        axes.set_ylabel(METRIC_TITLES[self.metric])


def read_training_length(result: str) -> tuple[int, int]:
    """Count the steps and views of the training behind a stored result: two views an image, and DINO's small ones."""
    folder = Path(result)
    record = Run(folder.parent).read()
    training = record.training
    assert training is not None, "a batch size was asked for"
    # A method that takes labels is not trained on images without.
    images = read_result(folder).images.train + (record.unlabelled_images if record.labels is None else 0)
    batch_size, epochs = training.batch_size, training.epochs
    full, rest = divmod(images, batch_size)
    steps = full + int(training.keep_last_batch and rest > 1)  # as `Training.steps_per_epoch`
    views = 2 + int(training.method.get("small_views", 0))
    return epochs * steps, epochs * views * min(steps * batch_size, images)


def format_numbers(numbers: tuple[int, ...]) -> str:
    """Format "18,750", "600k", "1.3M"; several as "600-840"; none as a space."""
    ends = (min(numbers), max(numbers)) if numbers else ()
    return "-".join(dict.fromkeys(map(format_thousands, ends))) or " "


def format_thousands(number: int) -> str:
    if number < 100_000:
        return f"{number:,}"
    return f"{number / 1e3:.0f}k" if number < 1_000_000 else f"{number / 1e6:.1f}M"
