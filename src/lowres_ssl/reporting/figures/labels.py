"""Draw label efficiency: test score against the share of training labels that a probe was given."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lowres_ssl.errors import DataError
from lowres_ssl.reporting.cells import METRIC_TITLES, format_mark_notes, get_legend_name, get_mark_sign
from lowres_ssl.reporting.figures import Picture
from lowres_ssl.reporting.figures._style import (
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
from lowres_ssl.runs.predictions import ResultCell
from lowres_ssl.runs.query import ResultColumn, check_same_kind, keep_usual_settings, select_columns
from lowres_ssl.runs.run import CLASSIFIER_PROBE, WEIGHTS_PREFIX
from lowres_ssl.stats.intervals import Interval, compute_interval

MAX_BANDS = 4  # in a panel; more of them are one grey


@dataclass(frozen=True)
class LabelCurve:
    """Hold one entry scored by one probe: the cells of each draw, by label fraction in order."""

    entry: str
    probe: str
    batch_size: int | None
    cells: Mapping[float, Sequence[ResultCell]]

    @property
    def name(self) -> str:
        end_to_end = ", end to end" if self.probe == CLASSIFIER_PROBE else ""
        return get_legend_name(self.entry) + get_mark_sign(*self.every_cell) + end_to_end

    @property
    def every_cell(self) -> list[ResultCell]:
        return [cell for own in self.cells.values() for cell in own]


class LabelEfficiencyFigure(Picture):
    """Draw a line an entry. probes: whose results are drawn. entries: patterns, in the order of the legend."""

    def __init__(
        self,
        *,
        probes: list[str],
        metric: Literal["accuracy", "weighted_f1", "macro_f1", "balanced_accuracy"],
        entries: list[str],
    ) -> None:
        self.probes, self.metric, self.entries = probes, metric, entries

    def draw(self, stored: Stored) -> Mapping[str, Figure]:
        lines: dict[tuple[str, int], list[LabelCurve]] = defaultdict(list)
        probes = [stored.filters.probe] if stored.filters.probe else self.probes
        for probe in probes:
            for key, own in build_label_curves(stored, probe, self.entries).items():
                lines[key] += own
        if not lines:
            raise DataError(
                f"figure=labels: no stored results of {' or '.join(probes)} from a part of the labels; make them of a "
                "run that there is (see lowres-ssl runs): lowres-ssl evaluate run=RUN "
                "label_fraction=[0.01,0.05,0.1,0.25,0.5,1.0], or name the probe that has them: probe=NAME"
            )
        names = list(dict.fromkeys(line.name for own in lines.values() for line in own))
        figure, axes = make_panels(len(lines), height=3.6)
        for own, panel in zip(lines.values(), axes, strict=True):
            found = []
            for line in own:
                values = [average_over_subsets(cells, self.metric) for cells in line.cells.values()]
                place, band = names.index(line.name), len(own) <= MAX_BANDS
                draw_curve(panel, list(line.cells), values, line.name, place, len(names), band=band)
                found += values
            self.label_axes(panel, own, found)
        shown = join_distinct("KNN" if probe == "knn" else probe for probe in probes if probe != CLASSIFIER_PROBE)
        score = f"{shown} probe, {METRIC_TITLES[self.metric]}" if shown else METRIC_TITLES[self.metric]
        title = f"{score} against the labels used\nmean over draws and seeds with its 95% interval"
        figure.suptitle(escape_math(title[0].upper() + title[1:]))
        add_legend_below(figure, axes)
        return {"labels": figure}

    def label_axes(self, axes: Any, lines: Sequence[LabelCurve], found: Sequence[Interval]) -> None:
        """Put a tick at each fraction; below it the number of labelled training images."""
        images: dict[float, set[int]] = defaultdict(set)
        for line in lines:
            for fraction, cells in line.cells.items():
                images[fraction] |= {each.images.train for cell in cells for each in cell.tested.results}
        fractions = sorted(images)
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xticks(
            fractions, [f"{100 * fraction:.3g}%\n{format_image_range(images[fraction])}" for fraction in fractions]
        )
        axes.set_xlabel("share and number of the training labels")
        axes.set_ylabel(METRIC_TITLES[self.metric])
        cells = [cell for line in lines for own in line.cells.values() for cell in own]
        rows = pd.concat([each.rows for each in cells])
        facts = format_group_notes(found, int(rows["n"].iloc[0]))
        facts += [format_count_range((len(own) for line in lines for own in line.cells.values()), "draw")]
        facts += [format_count_range((len(each.seeds) for each in cells), "seed")]
        sizes = [line.batch_size for line in lines if line.batch_size]
        facts += [f"batch size {join_distinct(sizes)}"] if sizes else []
        facts += format_mark_notes([cell for line in lines for cell in line.every_cell])
        axes.set_title(escape_math(format_panel_title(rows, *facts)), loc="left", fontsize=8)


def average_over_subsets(cells: Sequence[ResultCell], metric: str) -> Interval:
    """Compute the interval of a mean over draws of labels, a cell each; of the seeds that all draws have.

    A seed's draws share its encoder, so they are no repetitions of it: the mean over draws is taken seed by seed, and
    the seeds are what varies. Draws in turn vary under one seed. The wider of the two intervals is taken. Where no seed
    is in all draws, as where each seed drew its own labels, they are taken as they come, as many as the fewest have.
    """
    shared = sorted(set.intersection(*(set(cell.seeds) for cell in cells)))
    fewest = range(min(len(cell.seeds) for cell in cells))
    counts = np.stack(
        [cell.tested.counts[[cell.seeds.index(seed) for seed in shared] or list(fewest)] for cell in cells]
    )  # [D, S, G, C, C]
    both = compute_interval(counts, metric), compute_interval(counts.swapaxes(0, 1), metric)
    return max(both, key=lambda found: found.high - found.low)


def build_label_curves(stored: Stored, probe: str, entries: Sequence[str]) -> dict[tuple[str, int], list[LabelCurve]]:
    """Build by data set and split seed the entries that have results from a part of the labels, with those from all.

    Of several batch sizes the line is that with results at the most fractions, of equals the smallest: validation would
    choose with labels that a small fraction has not paid for. Raises `ConfigError` for results that disagree.
    """
    filters = replace(stored.filters, probe=probe)
    parts: dict[tuple[str, int], list[ResultColumn]] = defaultdict(list)
    scored = select_matching_settings(filters.apply(stored.results[stored.results["label_fraction"].notna()]))
    for (dataset, _), own in scored.groupby(["dataset", "split_seed"]):
        usual, notes = keep_usual_settings(own, f"figure=labels, {dataset}, {probe}", filters.settings)
        stored.notes.extend(notes)
        for _, part in usual.groupby(["label_fraction", "label_draw"]):
            # A part of the labels is a column like that of all of them; its fraction is written into its rows.
            whole = part.assign(label_fraction=1.0, part=part["label_fraction"])
            for column in select_columns(whole, filters, entries):
                parts[column.dataset, column.split_seed].append(column)
    lines = {}
    for key, columns in parts.items():
        rows = pd.concat([column.rows for column in columns], ignore_index=True)
        check_same_kind(rows, f"figure=labels, {columns[0]}")
        found = list(dict.fromkeys(entry for pattern in entries for c in columns for entry in c.entries(pattern)))
        partly = set(rows.loc[rows["part"] < 1, "entry"]) - {f"{WEIGHTS_PREFIX}{entry}" for entry in found}
        if curves := [build_label_curve(entry, columns) for entry in found if entry in partly]:
            lines[key] = curves
    return lines


def select_matching_settings(results: pd.DataFrame) -> pd.DataFrame:
    """Drop those results from all labels whose settings are not those that parts of the labels were scored with, for
    the same entry and probe: with all labels several may have been tried, and tuned. What has no parts is no line."""
    keys = ["dataset", "split_digest", "entry", "probe"]
    scored = results.set_index(keys)
    of_parts = scored.loc[scored["label_fraction"] < 1, "settings"].groupby(level=keys).agg(set)
    alike = [own in of_parts.get(key, ()) for key, own in zip(scored.index, scored["settings"], strict=True)]
    return results[np.array(alike, dtype=bool)]


def build_label_curve(entry: str, columns: Sequence[ResultColumn]) -> LabelCurve:
    rows = pd.concat([column.rows for column in columns], ignore_index=True)
    mine = rows[rows["entry"] == entry]
    batch_size = None
    if mine["batch_size"].notna().any():
        fractions = mine.groupby("batch_size")["part"].nunique()
        batch_size = int(fractions[fractions == fractions.max()].index.min())
    cells: dict[float, list[ResultCell]] = defaultdict(list)
    for column in columns:
        if (cell := column.cell(entry, "best" if batch_size is None else batch_size)) is not None:
            cells[float(column.rows["part"].iloc[0])].append(cell)
    return LabelCurve(entry, columns[0].probe, batch_size, dict(sorted(cells.items())))


def format_image_range(images: set[int]) -> str:
    return "-".join(dict.fromkeys([f"{min(images):,}", f"{max(images):,}"]))
