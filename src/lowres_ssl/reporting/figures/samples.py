"""Draw the paper's Figure 2: images of each class, each with two of the views that pre-training made of it."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from lowres_ssl.augment.from_config import ExampleImages, choose_example_rows, make_example_views
from lowres_ssl.data.prepare import prepare_data
from lowres_ssl.data.splits import load_split
from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.reporting.cells import get_legend_name
from lowres_ssl.reporting.figures import Picture
from lowres_ssl.reporting.figures._style import PAGE_WIDTH, escape_math
from lowres_ssl.reporting.stored import Stored
from lowres_ssl.runs.filters import is_trained
from lowres_ssl.runs.query import check_single_value
from lowres_ssl.runs.run import Run, find_run, relocate_path

EXAMPLE_COLUMNS = ("image", "view 1", "view 2")


class ExampleViewsFigure(Picture):
    """Draw images and views of a run. per_class: images a class. root: where the images are, if not where they were
    when the run was made."""

    def __init__(self, *, per_class: int, root: str | None) -> None:
        if per_class < 1:
            raise ConfigError(f"figure.samples.per_class={per_class}: wanted at least 1")
        self.per_class, self.root = per_class, root

    def draw(self, stored: Stored) -> Mapping[str, Figure]:
        """Draw a figure a data set, of the run with the first seed."""
        rows = stored.filters.apply(stored.results)
        rows = rows[is_trained(rows) & (rows["state"] == "finished") & (rows["method"] != "supervised")]
        if rows.empty:
            raise DataError(
                "figure=samples: no finished run of a self-supervised method; make one: "
                + stored.command("method=simclr")
            )
        figures = {}
        for dataset, own in rows.groupby("dataset"):
            for key in ("recipe", "image_size"):
                check_single_value(key, own, f"figure=samples, {dataset}")
            first = own.sort_values(["seed", "run"]).iloc[0]
            name = re.sub(r"[^A-Za-z0-9._]+", "_", str(dataset))
            figures[f"samples-{name}"] = self.draw_run(find_run(stored.output_dir, first["run"]), stored.store_dir)
        return figures

    def draw_run(self, run: Run, store_dir: Path) -> Figure:
        config = run.read().training
        if config is None:
            raise DataError(f"{run.name}: nothing was trained, so it has no views; name another run by run=RUN")
        config.store_dir = str(store_dir)
        config.dataset.root = self.root or relocate_path(run, config, config.dataset.root)
        try:
            material = prepare_data(config, partial(load_split, run.split, store_dir=Path(config.store_dir)))
        except DataError as error:
            if Path(config.dataset.root).exists():
                raise
            raise DataError(
                f"{config.dataset.root}: no such folder, wanted the images of {run.name}; "
                "if they have moved, type figure.samples.root=FOLDER"
            ) from error
        rows = choose_example_rows(material, self.per_class)
        shown = make_example_views(config, material, rows)
        title = (
            f"{config.dataset.title}: what {get_legend_name(config.method['name'])} sees\n"
            f"recipe {config.recipe}, {config.image_size} px, seed {config.seed}, views of the last epoch; "
            f"{len(material.training_rows):,} training images"
        )
        return draw_example_grid(shown, material.catalogue.classes or ("no labels",), title)


def draw_example_grid(shown: ExampleImages, classes: Sequence[str], title: str) -> Figure:
    """Draw a row a class. shown: as from `pictures`."""
    across = shown.shape[1] * len(EXAMPLE_COLUMNS)
    side = (PAGE_WIDTH - 0.4) / across
    figure = Figure(figsize=(PAGE_WIDTH, len(classes) * side + 0.8), layout="constrained")
    grid = figure.subplots(len(classes), across, squeeze=False)
    for place, (name, axes) in enumerate(zip(classes, grid, strict=True)):
        flat = shown[place].reshape(across, *shown.shape[3:])
        for column, (panel, pixels) in enumerate(zip(axes, flat, strict=True)):
            panel.set_xticks([])
            panel.set_yticks([])
            panel.spines[:].set_visible(False)
            if place == 0:
                panel.set_title(EXAMPLE_COLUMNS[column % len(EXAMPLE_COLUMNS)], fontsize=8)
            if np.isfinite(pixels).all():
                panel.imshow(pixels, interpolation="nearest")  # the pixels as the encoder gets them
        axes[0].set_ylabel(escape_math(name), fontsize=8)
    figure.suptitle(escape_math(title), fontsize=9, x=0.01, ha="left")
    return figure
