"""How long a training is forecast to take: by its own loop, on noise, timed once for what is computed."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import CPU, TRAINING, VIEWS
from torch import nn

from lowres_ssl.data.prepare import DataSummary
from lowres_ssl.device import DevicePrecision
from lowres_ssl.errors import Interrupted
from lowres_ssl.experiment import estimate
from lowres_ssl.experiment.estimate import (
    EpochTime,
    estimate_training_seconds,
    measure_inference_speed,
    time_training_loop,
)
from lowres_ssl.methods.base import build_method
from lowres_ssl.train.optimizers import SGD
from lowres_ssl.train.world import SINGLE_PROCESS, World

DCL = {"name": "dcl", "projector_hidden": 4, "projector_output": 4, "temperature": 0.1}
EPOCHS = 4
IMAGES = 100  # 80 train, 20 validate
Encoders = Callable[[int], nn.Module]


class OfTwelvePixels:
    """Stands for the maker of an epoch's views, where none are made."""

    image_size = 12


@pytest.fixture
def outline() -> DataSummary:
    records = tuple(SimpleNamespace(id=f"{number}.png", height=20, width=16) for number in range(IMAGES))
    split = SimpleNamespace(train=np.arange(80), validation=np.arange(80, IMAGES))
    catalogue: Any = SimpleNamespace(records=records, unlabelled=())
    return DataSummary(catalogue, split, (IMAGES, 3, 16, 16))  # type: ignore[arg-type]


@pytest.fixture
def plan(tiny_encoder: Encoders, tmp_path: Path) -> Any:
    named = {key: SimpleNamespace(name=name) for key, name in (("store", "auto"), ("select_encoder", "last"))}
    config = SimpleNamespace(
        backbone=SimpleNamespace(name="resnet18"),
        method={"name": "dcl"},
        images=SimpleNamespace(colour=True, mean=[0.5] * 3, std=[0.25] * 3),
        views={"jitter": 0.8},
        image_size=12,
        batch_size=8,
        epochs=EPOCHS,
        seed=0,
        output_dir=str(tmp_path),
        pretrain_on=SimpleNamespace(name="training"),
        **named,
    )
    return SimpleNamespace(
        config=config,
        compute=DevicePrecision(CPU, "fp32"),
        training=replace(TRAINING, epochs=EPOCHS),
        processes=SINGLE_PROCESS,
        views=[VIEWS] * EPOCHS,
        encoder=tiny_encoder(0),
        method=build_method(DCL, features=8, seed=0),
        seen=None,
    )


@pytest.fixture(autouse=True)
def forgetful(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate, "MEASURED", {})


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batch of each timing; the first is of 1 view a second and an end of 0.5 s, the second of 2 views, ..."""
    batches: list[int] = []

    def made_up(_plan: Any, _outline: DataSummary, _maker: Any, batch: int) -> EpochTime:
        batches.append(batch)
        return EpochTime(float(len(batches)), 0.5)

    monkeypatch.setattr(estimate, "time_training_loop", made_up)
    return batches


def test_what_is_computed_alike_is_timed_once(plan: Any, outline: DataSummary, asked: list[int]) -> None:
    first = estimate_training_seconds(plan, outline)
    assert first == EPOCHS * (160 / 1.0 + 0.5)
    plan.training = replace(plan.training, seed=7, learning_rate=1.0, epochs=9)
    assert estimate_training_seconds(plan, outline) == first
    assert len(asked) == 1
    changes: list[Callable[[], None]] = [
        lambda: setattr(plan, "compute", DevicePrecision(CPU, "bf16")),
        lambda: setattr(plan.config, "method", {"name": "vicreg"}),
        lambda: setattr(plan.config.backbone, "small_stem", True),
        lambda: setattr(plan.config, "views", {"jitter": 0.0}),
        lambda: setattr(plan.config.store, "name", "host"),
        lambda: setattr(
            plan,
            "training",
            replace(plan.training, optimizer=SGD(momentum=0.0, weight_decay=0.0, decay_norm_and_bias=False)),
        ),
    ]
    for number, change in enumerate(changes, start=2):
        change()
        assert estimate_training_seconds(plan, outline) == EPOCHS * (160 / number + 0.5)
    estimate_training_seconds(plan, replace(outline, store_shape=(IMAGES, 3, 32, 32)))
    assert len(asked) == len(changes) + 2


@pytest.mark.parametrize(("views", "batches"), [(25.0, [16]), (26.0, [16, 64])])
def test_large_batches_are_timed_on_a_cpu_where_a_few_images_say_that_it_is_quick(
    plan: Any, outline: DataSummary, monkeypatch: pytest.MonkeyPatch, views: float, batches: list[int]
) -> None:
    """A step of 64 images, so of 128 views, takes 5.12 s at 25 views a second and 4.92 s at 26."""
    asked = list[int]()

    def made_up(_plan: Any, _outline: DataSummary, _maker: Any, batch: int) -> EpochTime:
        asked.append(batch)
        return EpochTime(views if batch == 16 else 40.0, 0.0)

    monkeypatch.setattr(estimate, "time_training_loop", made_up)
    plan.config.batch_size = 64
    assert estimate_training_seconds(plan, outline) == EPOCHS * 160 / (views if batches == [16] else 40.0)
    assert asked == batches


def test_epochs_of_another_size_have_their_own_time(plan: Any, outline: DataSummary, asked: list[int]) -> None:
    plan.views = [OfTwelvePixels()] * 3 + [VIEWS]
    plan.views[0].image_size = 6
    seconds = 3 * (160 / 1.0 + 0.5) + (160 / 2.0 + 0.5)
    assert estimate_training_seconds(plan, outline) == seconds
    assert estimate_training_seconds(plan, outline, done=2) == seconds - 2 * (160 / 1.0 + 0.5)
    assert len(asked) == 2


def test_validation_and_a_share_of_each_of_several_processes_are_counted(
    plan: Any, outline: DataSummary, asked: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "measure_inference_speed", lambda *_: 50.0)
    plan.config.select_encoder.name = "best_validation_knn"
    assert estimate_training_seconds(plan, outline, done=1) == 3 * (160 / 1.0 + 0.5 + IMAGES / 50.0)
    plan.config.select_encoder.name = "last"
    plan.processes = World(rank=0, size=2, local_rank=0, local_size=2)
    assert estimate_training_seconds(plan, outline) == EPOCHS * (80 / 2.0 + 0.5)
    assert asked == [8, 4]


def test_a_run_is_timed_by_its_own_loop_uncompiled_and_leaves_no_trace(
    plan: Any, outline: DataSummary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = list[dict[str, Any]]()
    real = estimate.pretrain

    def seen(**arguments: Any) -> Any:
        given.append(arguments)
        return real(**arguments)

    monkeypatch.setattr(estimate, "pretrain", seen)
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("it was compiled"))
    plan.compute = replace(plan.compute, compiled=True)
    before = {name: value.clone() for name, value in plan.encoder.state_dict().items()}
    random = torch.get_rng_state()
    measured = time_training_loop(plan, outline, VIEWS, 8)
    assert measured.views > 0
    assert measured.epoch_end > 0
    assert measure_inference_speed(plan, outline) > 0
    (arguments,) = given
    assert arguments["data"].views[0] is VIEWS
    assert arguments["options"].batch_size == 8
    assert arguments["options"].optimizer == TRAINING.optimizer
    assert arguments["data"].store.images.shape == outline.store_shape
    assert all(torch.equal(value, before[name]) for name, value in plan.encoder.state_dict().items())
    assert all(value.grad is None for module in (plan.encoder, plan.method) for value in module.parameters())
    assert torch.equal(torch.get_rng_state(), random)
    assert list(tmp_path.iterdir()) == []


def test_interrupted_timing_ends_with_the_exit_code_of_the_signal(plan: Any, outline: DataSummary) -> None:
    once = list[int]()

    def interrupt(*_: Any) -> None:
        if not once:
            once.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    plan.encoder.register_forward_hook(interrupt)
    with pytest.raises(Interrupted) as stop:
        time_training_loop(plan, outline, VIEWS, 4)
    assert stop.value.exit_code == 130


@pytest.mark.gpu
@pytest.mark.parametrize("store", ["auto", "host"])
def test_a_gpu_is_timed_as_it_trains(plan: Any, outline: DataSummary, store: str) -> None:
    plan.config.store.name = store
    plan.compute = DevicePrecision(torch.device("cuda"), "bf16", compiled=True)
    assert estimate_training_seconds(plan, outline) > 0
    assert measure_inference_speed(plan, outline) > 0
