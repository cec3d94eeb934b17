"""Stored runs as a figure finds them, made up; and what a figure shows, read from matplotlib's own objects."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from stored_runs import made_up_run

from lowres_ssl.evaluate.features import store_features
from lowres_ssl.reporting.figures import build_picture
from lowres_ssl.reporting.stored import Stored
from lowres_ssl.runs.filters import ResultFilters
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.result_io import read_predictions, read_result, write_result
from lowres_ssl.runs.run import Run

CONF = Path(__file__).resolve().parents[3] / "conf" / "figure"
FiguredRun = Callable[..., Path]
Drawn = Callable[..., Any]


@pytest.fixture
def figured_run(tmp_path: Path) -> FiguredRun:
    """`made_up_run`, with what a figure reads beyond it; the folder of the result.

    `train`: how many training images; `keep_last_batch`, `unlabelled_images`: of the run; `features`: float32 [n, D] of
    the test images, stored beside the result.
    """

    def make(
        *,
        train: int = 480,
        keep_last_batch: bool = False,
        unlabelled_images: int = 0,
        features: np.ndarray[Any, Any] | None = None,
        **about: Any,
    ) -> Path:
        folder = made_up_run(tmp_path, **about)
        run = Run(folder.parent)
        record, result = run.read(), read_result(folder)
        config = replace(record.config, keep_last_batch=keep_last_batch)
        run.start(replace(record, unlabelled_images=unlabelled_images, config=config))
        images = replace(result.images, train=train)
        write_result(folder, replace(result, images=images), read_predictions(folder, result))
        if features is not None:
            store_features(run.features("selected", result.precision), {"test": torch.from_numpy(features)}, "key")
        return folder

    return make


@pytest.fixture
def draw(tmp_path: Path) -> Drawn:
    """Draw a figure of what lies below the folder of the test, as its file in conf/figure has it with `changes`.

    The one figure that there is, or by their names where there are others.
    """

    def draw_it(
        name: str, *, filters: dict[str, Any] | None = None, results: pd.DataFrame | None = None, **changes: Any
    ) -> Any:
        arguments = OmegaConf.to_container(OmegaConf.load(CONF / f"{name}.yaml"))
        assert isinstance(arguments, dict)
        found = build_picture(name, {str(key): value for key, value in arguments.items()} | changes)
        frame, problems = read_index(tmp_path)
        assert not problems
        rows = frame if results is None else results
        drawn = found.draw(Stored(rows, ResultFilters(**filters or {}), tmp_path, tmp_path / "stores"))
        return drawn[name] if list(drawn) == [name] else drawn

    return draw_it
