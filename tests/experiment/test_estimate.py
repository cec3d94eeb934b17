"""How long a training takes, by timed steps."""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tiny_training import CPU, SIMCLR, TRAINING
from torch import nn

from lowres_ssl.data.prepare import DataSummary
from lowres_ssl.device import DevicePrecision
from lowres_ssl.experiment import estimate
from lowres_ssl.experiment.estimate import estimate_training_seconds
from lowres_ssl.methods.base import build_method
from lowres_ssl.train.world import SINGLE_PROCESS, World

EPOCHS = 4
IMAGES = 100  # 80 train, 20 validate


@pytest.fixture
def outline() -> DataSummary:
    split = SimpleNamespace(train=np.arange(80), validation=np.arange(80, IMAGES))
    catalogue: Any = SimpleNamespace(records=(None,) * IMAGES, unlabelled=())
    return DataSummary(catalogue, split, (IMAGES, 3, 16, 16))  # type: ignore[arg-type]


@pytest.fixture
def plan(tiny_encoder: Callable[[int], nn.Module], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(estimate, "MEASURED", {})
    config = SimpleNamespace(backbone="resnet18", method=SIMCLR, batch_size=64, pretrain_on=SimpleNamespace(name="any"))
    return SimpleNamespace(
        config=config,
        compute=DevicePrecision(CPU, "fp32", compiled=True),
        training=replace(TRAINING, epochs=EPOCHS),
        processes=SINGLE_PROCESS,
        views=[SimpleNamespace(image_size=size) for size in (6, 12, 12, 12)],
        encoder=tiny_encoder(0),
        method=build_method(SIMCLR, features=8, seed=0),
        seen=None,
        selects_epoch=False,
    )


@pytest.mark.parametrize(("speed", "batches"), [(25.0, [16, 16]), (26.0, [16, 64, 16, 64])])
def test_each_size_is_timed_once_and_the_whole_batch_where_a_few_images_are_quick(
    plan: Any, outline: DataSummary, monkeypatch: pytest.MonkeyPatch, speed: float, batches: list[int]
) -> None:
    """A step of 64 images, so of 128 views, takes 5.12 s at 25 views a second and 4.92 s at 26."""
    asked: list[int] = []
    monkeypatch.setattr(estimate, "time_views", lambda _plan, _size, batch: asked.append(batch) or speed)
    assert estimate_training_seconds(plan, outline) == pytest.approx(EPOCHS * 160 / speed)
    plan.selects_epoch = True
    assert estimate_training_seconds(plan, outline, done=1) == pytest.approx(3 * (160 + 33) / speed)
    assert asked == batches
    plan.selects_epoch, plan.processes = False, World(rank=0, size=2, local_rank=0, local_size=2)
    assert estimate_training_seconds(plan, outline) == pytest.approx(EPOCHS * 80 / speed)
    assert asked[len(batches)] == 16
    plan.compute = replace(plan.compute, precision="bf16")
    estimate_training_seconds(plan, outline)
    assert len(asked) > len(batches) + 2


@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def test_steps_are_timed_uncompiled_and_leave_no_trace(
    plan: Any, outline: DataSummary, monkeypatch: pytest.MonkeyPatch, device: str
) -> None:
    monkeypatch.setattr(torch, "compile", lambda *_, **__: pytest.fail("it was compiled"))
    plan.compute = replace(plan.compute, device=torch.device(device))
    before = {name: value.clone() for name, value in plan.encoder.state_dict().items()}
    random = torch.get_rng_state()
    assert estimate_training_seconds(plan, outline) > 0
    assert all(torch.equal(value, before[name]) for name, value in plan.encoder.state_dict().items())
    assert all(value.grad is None for module in (plan.encoder, plan.method) for value in module.parameters())
    assert torch.equal(torch.get_rng_state(), random)
