"""Figure 2 shows images as the encoder gets them, and the very views that pre-training made of them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from in_process import compose_config
from matplotlib.figure import Figure
from PIL import Image
from tiny_training import TRAINING

from lowres_ssl.augment.augmentation import make_evaluation_view
from lowres_ssl.augment.from_config import build_views, choose_example_rows, make_example_views
from lowres_ssl.augment.sampling import FULL_VIEW
from lowres_ssl.config.experiment_schema import PretrainConfig
from lowres_ssl.data.prepare import PreparedData, make_configured_split, prepare_data
from lowres_ssl.device import CHANNELS_LAST
from lowres_ssl.errors import DataError
from lowres_ssl.reporting.figures.samples import ExampleViewsFigure, draw_example_grid
from lowres_ssl.train.batches import BatchReader, iter_training_batches
from lowres_ssl.train.state import TrainingData
from lowres_ssl.train.world import SINGLE_PROCESS

SIZE = 20


@pytest.fixture(scope="module", params=["any", "xray"])
def config(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> PretrainConfig:
    """Of a set of 2 classes: 10 images and 3, in colour or grey."""
    folder = tmp_path_factory.mktemp("samples")
    for label, count in (("common", 10), ("rare", 3)):
        for number in range(count):
            pixels = np.random.default_rng([count, number]).integers(0, 256, (30, 24, 3), dtype=np.uint8)
            path = folder / "data" / label / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    there = ("dataset=folder", f"images={request.param}", f"dataset.root={folder / 'data'}", f"output_dir={folder}")
    return compose_config(*there, "backbone=resnet18", f"image_size={SIZE}", "epochs=2", "seed=3")


@pytest.fixture(scope="module")
def material(config: PretrainConfig) -> PreparedData:
    return prepare_data(config, lambda catalogue: make_configured_split(config, catalogue))


def test_views_are_those_that_pre_training_makes_in_its_last_epoch(
    config: PretrainConfig, material: PreparedData
) -> None:
    rows = choose_example_rows(material, 2)
    shown = make_example_views(config, material, rows)
    assert shown.shape == (2, 2, 3, SIZE, SIZE, 3)
    every = np.arange(len(material.store.ids))
    batches = iter_training_batches(
        TrainingData(material.store, every, build_views(config)),
        BatchReader(material.store, torch.device("cpu"), "host"),
        (FULL_VIEW, FULL_VIEW),
        epoch=1,
        first_step=0,
        options=replace(TRAINING, batch_size=len(every), seed=config.seed),
        processes=SINGLE_PROCESS,
        layout=CHANNELS_LAST,
    )
    mean, std = (torch.tensor(each)[:, None, None] for each in (config.images.mean, config.images.std))
    made = [np.moveaxis((view * std + mean).clamp(0, 1).numpy(), 1, -1) for view in next(iter(batches))[0]]
    for own, row in zip(shown[rows >= 0], rows[rows >= 0], strict=True):
        whole = make_evaluation_view(
            torch.from_numpy(material.store.images[[row]]), image_size=SIZE, mean=[0.0] * 3, std=[1.0] * 3
        )
        assert np.allclose(own[0], np.moveaxis(whole[0].numpy(), 0, -1), atol=1e-5)
        for pixels, views in zip(own[1:], made, strict=True):
            assert np.abs(views - pixels).max(axis=(1, 2, 3)).min() < 1e-5, "it is among the views of the epoch"
        assert not np.allclose(own[1], own[2])
    assert np.isnan(shown[rows < 0]).all()


def images_of(figure: Figure) -> list[Any]:
    return [image for axes in figure.axes for image in axes.get_images()]


def test_grid_has_a_row_a_class_and_leaves_out_what_there_is_not() -> None:
    shown = np.random.default_rng(0).uniform(size=(3, 2, 3, 4, 4, 3)).astype(np.float32)
    shown[1, 1] = np.nan
    figure = draw_example_grid(shown, ["a", "$b$", "c"], "title")
    assert len(images_of(figure)) == 3 * 6 - 3
    assert [axes.get_title() for axes in figure.axes[:6]] == ["image", "view 1", "view 2"] * 2
    assert [axes.get_ylabel() for axes in figure.axes[::6]] == ["a", r"\$b\$", "c"]
    first = figure.axes[7].get_images()[0]
    assert np.array_equal(first.get_array(), shown[1, 0, 1])
    assert first.get_interpolation() == "nearest"


def test_figure_a_data_set_of_the_run_with_the_first_seed(
    figured_run: Any, draw: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def draw_run(self: ExampleViewsFigure, run: Any, store_dir: Path) -> Figure:
        drawn.append(run.read())
        return Figure()

    monkeypatch.setattr(ExampleViewsFigure, "draw_run", draw_run)
    for seed in (2, 1):
        figured_run(method="dcl", dataset="my/set", seed=seed)
    figured_run(method="dcl", dataset="phantom", finished=False)
    figured_run(method="random", dataset="breast")
    figured_run(method="supervised", dataset="my/set", seed=0, epochs=100)
    assert list(draw("samples")) == ["samples-my_set"]
    assert [record.config.seed for record in drawn] == [1]


def test_nothing_trained_is_one_line_with_the_command(figured_run: Any, draw: Any) -> None:
    figured_run(method="random")
    words = "dataset=phantom recipe=paper backbone=resnet18 image_size=64 split=stratified"  # as the run that is there
    for filters in ({}, {"dataset": "phantom"}):
        with pytest.raises(DataError, match=rf"make one: lowres-ssl pretrain method=simclr {words} output_dir=\S+$"):
            draw("samples", filters=filters)
    with pytest.raises(DataError, match=r"method=simclr dataset=phantom recipe=paper backbone=resnet50 image_size=64 "):
        draw("samples", filters={"backbone": "resnet50"})
    figured_run(method="random", dataset="breast", image_size=32)
    with pytest.raises(DataError, match=r"make one: lowres-ssl pretrain method=simclr output_dir=\S+$"):
        draw("samples")
