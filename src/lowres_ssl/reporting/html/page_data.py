"""Prepare a chapter as plain data for the page's script. Images are places in one list for the whole page."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.console import log_info
from lowres_ssl.errors import CheckpointError, UserError
from lowres_ssl.reporting.cells import get_legend_name
from lowres_ssl.reporting.figures._style import get_dot_style, get_line_style
from lowres_ssl.reporting.figures.tsne import choose_dots, compute_silhouette, compute_tsne, read_test_features
from lowres_ssl.reporting.html.sections import (
    BASELINES,
    Chapter,
    HardExamples,
    Integers,
    ProbeResults,
    compute_votes,
)
from lowres_ssl.runs.run import Run

SHOWN_CURVES = ("loss", "embedding_std", "effective_rank")
NEIGHBOUR_COUNT = 5
PLOTLY_SYMBOLS = {"o": "circle", "s": "square", "^": "triangle-up", "D": "diamond"}  # as Plotly calls matplotlib's
PLOTLY_DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}


def build_page_data(
    chapter: Chapter,
    maps: Sequence[dict[str, Any]],
    images: Sequence[int],
    thumbnails: Sequence[int],
    *,
    names: bool,
) -> dict[str, Any]:
    """Describe a chapter. `images`: places of the test images shown; `thumbnails`: their places in the page's list.

    `names`: whether images have the names of their files. Groups are numbers anyway.
    """
    tested, rows = chapter.tested, list(images)
    place = {image: number for number, image in enumerate(images)}
    dots = [get_dot_style(number) for number in range(len(tested.classes))]
    return {
        "classes": list(tested.classes),
        "looks": [{"colour": colour, "symbol": PLOTLY_SYMBOLS[marker]} for colour, marker in dots],
        "labels": tested.labels[rows].tolist(),
        "names": [str(tested.ids[row]) if names else f"test image {row + 1}" for row in rows],
        "groups": tested.groups[rows].tolist(),
        "thumbnails": list(thumbnails),
        "probes": [build_probe_data(probed, rows) for probed in chapter.probes],
        "dots": [place[int(image)] for image in choose_dots(len(tested.labels))],
        "maps": list(maps),
        "curves": build_training_curves(chapter),
        "lines": build_line_styles(chapter),
    }


def choose_shown_images(chapter: Chapter, hard: Sequence[HardExamples], gallery: int) -> list[int]:
    """Choose the places of the test images that are shown as a dot or in a gallery."""
    dots = set(choose_dots(len(chapter.tested.labels)).tolist())
    galleries = [own[:gallery].tolist() for each in hard for own in (each.all_wrong, each.disputed)]
    return sorted(dots.union(*galleries))


def build_line_styles(chapter: Chapter) -> dict[str, dict[str, str]]:
    trained = [entry for entry in chapter.entries() if entry not in BASELINES]
    looks = {entry: get_line_style(number) for number, entry in enumerate(trained)}
    return {entry: {"colour": each.colour, "dash": PLOTLY_DASHES[each.dashes]} for entry, each in looks.items()}


def build_probe_data(probed: ProbeResults, rows: list[int]) -> dict[str, Any]:
    methods = []
    judged = {cell.entry for cell in probed.judged()}
    for scored in probed.cells:
        chosen, agreeing = compute_votes(scored.tested)
        methods.append(
            {
                "entry": scored.entry,
                "name": get_legend_name(scored.entry),
                "judged": scored.entry in judged,
                "seeds": len(scored.seeds),
                "predicted": chosen[rows].tolist(),
                "agreeing": agreeing[rows].tolist(),
            }
        )
    return {"probe": probed.probe, "label": probed.label, "methods": methods}


def build_training_curves(chapter: Chapter) -> list[dict[str, Any]]:
    """Read a curve of each trained run: entry, name, batch_size, seed, epoch [e], and `SHOWN_CURVES` where it has them.

    A number that is none (a loss that burst) is None. A history that is damaged is left out: the notes report it.
    """
    curves = []
    for scored in chapter.entries().values():
        rows = [] if scored.batch_size is None else scored.rows.to_dict("records")
        for row in rows:
            run = Run(Path(row["result"]).parent)
            try:
                lines = run.read_history(run.read())
            except CheckpointError:
                lines = []
            if lines:
                about = {"entry": scored.entry, "name": get_legend_name(scored.entry), "seed": int(row["seed"])}
                columns = {key: [to_finite_number(line.get(key)) for line in lines] for key in ("epoch", *SHOWN_CURVES)}
                curves.append(about | {"batch_size": scored.batch_size} | columns)
    return curves


def to_finite_number(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")


def build_feature_maps(chapter: Chapter) -> tuple[list[dict[str, Any]], list[str]]:
    """Map each entry, of one seed, the same for all where they share one; and a line for each without a map.

    A map has x and y of each dot by t-SNE, and for each dot its neighbours, the nearest first.
    """
    maps, problems = [], []
    entries = chapter.entries()
    shared = set.intersection(*(set(each.seeds) for each in entries.values()))
    for entry, scored in entries.items():
        seed = min(shared or scored.seeds)
        rows = scored.rows
        result = Path(rows.loc[rows["seed"] == seed, "result"].iloc[0])
        log_info(f"{chapter.title}: map of {get_legend_name(scored.entry)}")
        try:
            features = read_test_features(result)
        except UserError as error:
            problems.append(str(error))
            continue
        shown = choose_dots(len(features))
        features, labels = features[shown], scored.tested.labels[shown]
        silhouette = compute_silhouette(features, labels)
        x, y = ([float(f"{value:.4g}") for value in column] for column in compute_tsne(features).T)
        maps.append(
            {
                "entry": entry,
                "name": get_legend_name(scored.entry),
                "seed": seed,
                "silhouette": None if silhouette is None else round(silhouette, 2),
                "x": x,
                "y": y,
                "neighbours": find_nearest_rows(features).tolist(),
            }
        )
    return maps, problems


def find_nearest_rows(features: NDArray[np.float32], count: int = NEIGHBOUR_COUNT) -> Integers:
    """Find for each row [m, D] its nearest other rows by Euclidean distance, int64 [m, min(count, m - 1)]; ties in
    order."""
    rows = features.astype(np.float64)
    squares = (rows**2).sum(axis=1)
    distances = squares[:, None] + squares[None, :] - 2 * rows @ rows.T
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1, kind="stable")[:, : min(count, max(0, len(rows) - 1))].astype(np.int64)
