"""Draw t-SNE: the paper's Figure 4, the best method's features beside those of ImageNet's weights; and of one run."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError, safe_open

from lowres_ssl.errors import CheckpointError, ConfigError, DataError
from lowres_ssl.reporting.cells import format_mark_notes, get_legend_name, get_mark_sign, replace_others
from lowres_ssl.reporting.figures import Picture
from lowres_ssl.reporting.figures._style import (
    PAGE_WIDTH,
    escape_math,
    format_panel_title,
    get_dot_style,
    write_figure_file,
)
from lowres_ssl.reporting.stored import Stored
from lowres_ssl.runs.filters import is_trained
from lowres_ssl.runs.predictions import ResultCell
from lowres_ssl.runs.query import ResultColumn, select_ordinary
from lowres_ssl.runs.result_io import read_predictions, read_result
from lowres_ssl.runs.run import Run

# t-SNE takes time in proportion to n log n, and a reader can't see more dots than this.
MAX_DOTS = 2000


class TsneFigure(Picture):
    """Draw a row for each data set: the best of `candidates` on validation, and the first of `beside` that there is.

    probe: what chooses. candidates: entries; "*" is every other trained one but those that "-PATTERN" leaves out.
    beside: entries, or patterns such as "pretrained *".
    """

    def __init__(self, *, probe: str, candidates: list[str], beside: list[str]) -> None:
        self.probe, self.candidates, self.beside = probe, candidates, beside

    def draw(self, stored: Stored) -> Mapping[str, Figure]:
        probe = stored.filters.probe or self.probe
        filters = replace(stored.filters, probe=probe)
        there = filters.apply(select_ordinary(stored.results))
        candidates = replace_others(self.candidates, there.loc[is_trained(there), "entry"], *self.beside)
        columns = stored.columns(filters, [*candidates, *self.beside])
        rows = [(column, best) for column in columns if (best := find_best_cell(column, candidates)) is not None]
        if not rows:
            raise DataError(
                f"figure=tsne: no stored {probe} results of {', '.join(candidates)}; make them: "
                + stored.command("method=simclr,dcl,simsiam,vicreg", f"probe=[{probe}]")
            )
        figure = Figure(figsize=(PAGE_WIDTH, 3.4 * len(rows)), layout="constrained")
        parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
        for part, (column, best) in zip(parts, rows, strict=True):
            self.draw_row(part, column, best)
        return {"tsne": figure}

    def draw_row(self, part: Any, column: ResultColumn, best: ResultCell) -> None:
        """Draw two panels of one seed, if both have one in common, and the legend of the classes."""
        others = [entry for pattern in self.beside for entry in column.entries(pattern) if entry != best.entry]
        cells = [best, *filter(None, map(column.cell, others[:1]))]
        shared = set.intersection(*(set(cell.seeds) for cell in cells))
        axes = part.subplots(1, 2)
        for panel, cell in zip(axes, cells, strict=False):
            seed = min(shared or cell.seeds)
            size = f", batch size {cell.batch_size}" if cell.batch_size else ""
            result = Path(cell.rows.loc[cell.rows["seed"] == seed, "result"].iloc[0])
            draw_result(panel, result, f"{get_legend_name(cell.entry)}{get_mark_sign(cell)}{size}, seed {seed}")
        for spare in axes[len(cells) :]:
            spare.set_axis_off()
        about = "t-SNE of the features; left the best method, chosen on validation"
        about = ", ".join([about, *format_mark_notes(cells)])
        title = escape_math(f"{format_panel_title(column.rows, width=100)}\n{about}")
        part.suptitle(title, fontsize=8, x=0.01, ha="left")
        add_class_legend(part, axes[0].collections, best.tested.classes, loc="outside right center")


def find_best_cell(column: ResultColumn, candidates: Sequence[str]) -> ResultCell | None:
    """Find the candidate with the highest mean validation accuracy, at its best batch size; the first of equals."""
    cells = [cell for entry in candidates if (cell := column.cell(entry)) is not None]
    if len(cells) > 1 and any(cell.rows["validation_accuracy"].isna().any() for cell in cells):
        there = ", ".join(cell.entry for cell in cells)
        raise ConfigError(
            f"figure=tsne, {column}: no validation images, so none of {there} is the best; "
            f"type figure.tsne.candidates=[{cells[0].entry}]"
        )
    return max(cells, key=lambda cell: float(cell.rows["validation_accuracy"].mean()), default=None)


def draw_result(axes: Any, result: Path, title: str) -> None:
    """Draw the test images of a stored result as dots. The silhouette is that of the features themselves."""
    features, about = read_test_features(result), read_result(result)
    labels = read_predictions(result, about)["test_labels"]
    features, labels, shown = sample_dots(features, labels)
    draw_dots(axes, features, labels, about.classes)
    found = compute_silhouette(features, labels)
    silhouette = "no silhouette" if found is None else f"silhouette of the features {found:.2f}"
    accuracy = f"{about.label} accuracy {about.test.accuracy:.2f}, {shown} images"
    axes.set_title(escape_math(f"{title}\n{silhouette}\n{accuracy}"), fontsize=8, loc="left")


def read_test_features(result: Path) -> NDArray[np.float32]:
    """Read the stored features of the test images that a result is of, float32 [n, D], in the order of its predictions.

    Raises `CheckpointError` if they cannot be read, or are not as they were written.
    """
    about, run = read_result(result), Run(result.parent)
    path = run.features(run.get_scored_encoder(about), about.precision, about.scored_size)
    try:
        with safe_open(path, framework="numpy") as file:
            features = np.asarray(file.get_tensor("test"))
            written = json.loads(file.metadata()["lowres_ssl"])["digests"]["test"]  # see `features.store_features`
        if hashlib.sha256(features.tobytes()).hexdigest() != written:
            raise ValueError("they do not fit their checksum")
        return features
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{path}: the features cannot be read ({error}); type lowres-ssl evaluate run={run.name} force=true"
        ) from error


def compute_silhouette(features: NDArray[np.float32], labels: NDArray[np.int64]) -> float | None:
    """Compute the silhouette (Rousseeuw, 1987): from -1 to 1, how much nearer an image's features are to its own class
    than to the next one.

    Euclidean, mean over the images; None where there are fewer than two classes, or none with two images.
    """
    from sklearn.metrics import silhouette_score

    classes = len(np.unique(labels))
    return float(silhouette_score(features, labels)) if 2 <= classes < len(labels) else None


def draw_tsne(
    path: Path, features: NDArray[np.float32], labels: NDArray[np.int64], classes: Sequence[str], title: str
) -> None:
    """Draw t-SNE of the features [n, D] of one run as dots coloured by class, as a PNG.

    labels: int64 [n], places in `classes`. Of more than 2,000 images an even sample is drawn, which the title states.
    """
    features, labels, shown = sample_dots(features, labels)
    figure = Figure(figsize=(7.0, 5.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    draw_dots(axes, features, labels, classes, size=18)
    axes.set_title(f"{escape_math(title)}\nt-SNE of the features of {shown} test images", fontsize=10, loc="left")
    add_class_legend(axes, axes.collections, classes, loc="center left", bbox_to_anchor=(1.0, 0.5))
    write_figure_file(figure, path)


def is_whole_png(path: Path) -> bool:
    """Whether a PNG is there, and is as it was written: each part of one carries a checksum."""
    try:
        with Image.open(path, formats=("PNG",)) as picture:
            picture.verify()
        return True
    except Exception:  # whatever the reader stumbles over
        return False


def sample_dots(
    features: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.int64], str]:
    """Choose at most `MAX_DOTS` of the images, evenly; and how many they are, in words."""
    count = len(features)
    chosen = choose_dots(count)
    return features[chosen], labels[chosen], f"{count:,}" if len(chosen) == count else f"{len(chosen):,} of {count:,}"


def choose_dots(count: int) -> NDArray[np.int64]:
    """Choose the places of the images that are drawn, at most `MAX_DOTS` of `count`, evenly."""
    return np.linspace(0, count - 1, min(count, MAX_DOTS)).round().astype(np.int64)


def draw_dots(
    axes: Any, features: NDArray[np.float32], labels: NDArray[np.int64], classes: Sequence[str], size: float = 12
) -> None:
    """Draw t-SNE of the features [n, D], one collection of dots a class."""
    dots = compute_tsne(features)
    for place in range(len(classes)):
        mine = dots[labels == place]
        colour, marker = get_dot_style(place)
        axes.scatter(mine[:, 0], mine[:, 1], s=size, c=colour, marker=marker, alpha=0.8, linewidths=0)
    axes.set(xticks=[], yticks=[])
    axes.set_aspect("equal", adjustable="datalim")
    axes.spines[:].set(visible=True, color="#cccccc")


def add_class_legend(beside: Any, dots: Sequence[Any], classes: Sequence[str], **place: Any) -> None:
    """Add a legend, of a figure or of axes. matplotlib hides a class whose name is empty or begins with "_", so the
    names come after the legend is made."""
    stand_ins = [str(number) for number in range(len(classes))]
    legend = beside.legend(dots, stand_ins, frameon=False, fontsize=9, markerscale=1.4, **place)
    for text, name in zip(legend.get_texts(), classes, strict=True):
        text.set_text(escape_math(name if len(name) <= 40 else f"{name[:37]}..."))


def compute_tsne(features: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
    """Compute two coordinates for each row, [n, 2] (van der Maaten and Hinton, 2008); too few rows are set out in a
    line.

    Perplexity 30, less where there are few rows; initialised by PCA, so the same features give the same coordinates.
    """
    from sklearn.manifold import TSNE

    rows, width = features.shape
    spread = np.ptp(features, axis=0).max() if rows else 0.0
    if rows < 4 or width < 2 or spread == 0:
        return np.stack([np.arange(rows, dtype=np.float64), np.zeros(rows)], axis=1)
    tsne = TSNE(perplexity=min(30.0, (rows - 1) / 3), init="pca", random_state=0)
    # t-SNE does not depend on the unit, but scikit-learn's start from PCA underflows where it is tiny.
    return np.asarray(tsne.fit_transform(features.astype(np.float64) / spread))
