"""Draw the test accuracies of the study, each seed a dot: `docs/pictures/results.png`."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from lowres_ssl.reporting.figures._style import BASELINE_COLOUR, COLOURS, PAGE_WIDTH, use_figure_style
from studies.recipe import SETS, TEST_RESULTS

PICTURE = Path(__file__).parents[1] / "docs/pictures/results.png"
TITLES = {
    "blood_cells": "blood cells\n8 classes, 256 images",
    "lung_tiles": "lung tiles\n3 classes, 156 images",
    "xrays": "chest X-rays\n2 classes, 260 images",
    "phantom": "phantom\n4 classes, 128 images",
}
# From top to bottom: candidate, views, pixels a side of what is scored.
ROWS = {
    "random, 64 px": ("random", 0, 64),
    "calibrated, 64 px": ("random_calibrated", 0, 64),
    "SimCLR, 20,000 views": ("simclr at temperature 0.1", 20_000, 64),
    "DCL, 20,000 views": ("adamw 0.001", 20_000, 64),
    "DCL, 200,000 views": ("adamw 0.001", 200_000, 64),
    "random, 224 px": ("random", 0, 224),
    "ImageNet, frozen, 224 px": ("frozen imagenet", 20_000, 224),
    "DCL from ImageNet,\n10,000 views, 224 px": ("dcl from imagenet at 112 px", 10_000, 224),
}


def draw(results: pd.DataFrame) -> Figure:
    """Draw a panel a set and a line a row of `ROWS`; the test accuracy by the logistic probe."""
    figure = Figure(figsize=(PAGE_WIDTH, 2.9), layout="constrained")
    panels = figure.subplots(1, len(SETS), sharex=True, sharey=True)
    for panel, name in zip(panels, SETS, strict=True):
        other = results["candidate"].str.startswith("random") & (results["backbone"] != "resnet18")
        own = results[(results["dataset"] == name) & ~other].set_index(["candidate", "views", "size"]).sort_index()
        for place, key in enumerate(ROWS.values()):
            values = own.loc[[key], "logistic"] if key in own.index else []
            colour = BASELINE_COLOUR if key[0] in ("random", "random_calibrated", "frozen imagenet") else COLOURS[0]
            looks = {"color": colour, "linewidths": 0}
            panel.scatter(values, [place] * len(values), s=14, alpha=0.6, **looks)
            if len(values):
                panel.plot([values.mean()] * 2, [place - 0.3, place + 0.3], color=colour, linewidth=1.6)
        panel.set_title(TITLES[name], loc="left", fontsize=8)
        panel.grid(axis="y", linewidth=0.4, alpha=0.5)
        panel.tick_params(axis="y", length=0)
        panel.set_yticks(range(len(ROWS)), ROWS)
    panels[0].invert_yaxis()
    panels[0].set_xticks([0.6, 0.7, 0.8, 0.9, 1.0])
    figure.supxlabel("test accuracy, logistic probe; dots: seeds, line: mean", fontsize=9)
    return figure


if __name__ == "__main__":
    with use_figure_style():
        draw(pd.read_csv(TEST_RESULTS)).savefig(PICTURE, metadata={})
