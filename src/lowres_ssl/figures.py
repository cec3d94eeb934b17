"""Pictures of stored results."""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lowres_ssl.atomic import replacing

# Okabe and Ito's colours, which most colour-blind readers can tell apart; past eight the marker changes as well.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = ("o", "s", "^", "D")
# t-SNE takes time in proportion to n log n, and a reader can't see more dots than this.
MOST_DOTS = 2000


def draw_tsne(
    path: Path, features: NDArray[np.float32], labels: NDArray[np.int64], classes: Sequence[str], title: str
) -> None:
    """t-SNE (van der Maaten and Hinton, 2008) of the features [n, D] as dots coloured by class, as a PNG.

    labels: int64 [n], places in `classes`. Of more than 2,000 images an even sample is drawn, and the picture says so.
    Perplexity 30, less where there are few images; initialised by PCA, so the same features give the same picture.
    """
    from matplotlib.figure import Figure

    count = len(features)
    if count > MOST_DOTS:
        chosen = np.linspace(0, count - 1, MOST_DOTS).round().astype(np.int64)
        features, labels = features[chosen], labels[chosen]
    dots = embed(features)
    figure = Figure(figsize=(7.0, 5.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    groups = []
    for place in range(len(classes)):
        mine = dots[labels == place]
        marker = MARKERS[place // len(COLOURS) % len(MARKERS)]
        colour = COLOURS[place % len(COLOURS)]
        groups.append(axes.scatter(mine[:, 0], mine[:, 1], s=18, c=colour, marker=marker, alpha=0.8, linewidths=0))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_aspect("equal", adjustable="datalim")
    for spine in axes.spines.values():
        spine.set_color("#cccccc")
    shown = f"{len(features):,} of {count:,}" if len(features) < count else f"{count:,}"
    axes.set_title(f"{literal(title)}\nt-SNE of the features of {shown} test images", fontsize=10, loc="left")
    # matplotlib hides a class whose name is empty or begins with "_", so the names come after the legend is made.
    stand_ins = [str(place) for place in range(len(classes))]
    legend = axes.legend(
        groups, stand_ins, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False, fontsize=9, markerscale=1.4
    )
    for text, name in zip(legend.get_texts(), classes, strict=True):
        text.set_text(literal(name))
    with replacing(path) as file, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # drawn as a box, which says enough
        figure.savefig(file, format="png")


def embed(features: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
    """Two coordinates for each row, [n, 2]; too few rows for a t-SNE are set out in a line."""
    from sklearn.manifold import TSNE

    rows, width = features.shape
    spread = np.ptp(features, axis=0).max() if rows else 0.0
    if rows < 4 or width < 2 or spread == 0:
        return np.stack([np.arange(rows, dtype=np.float64), np.zeros(rows)], axis=1)
    perplexity = min(30.0, (rows - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=0)
    # t-SNE does not depend on the unit, but scikit-learn's start from PCA underflows where it is tiny.
    return np.asarray(tsne.fit_transform(features.astype(np.float64) / spread))


def literal(text: str) -> str:
    """Text as it is: matplotlib reads what stands between dollars as mathematics."""
    return text.replace("$", r"\$")
