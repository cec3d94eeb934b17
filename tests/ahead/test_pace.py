"""How fast a step is said to be, where a dry sweep asks for several."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from lowres_ssl.ahead import pace
from lowres_ssl.ahead.pace import quick_speed, speed
from lowres_ssl.device import Compute
from lowres_ssl.methods import build_method
from lowres_ssl.training.distributed import ALONE, Processes

DCL = {"name": "dcl", "projector_hidden": 4, "projector_output": 4, "temperature": 0.1}


def plan(precision: str = "fp32", batch_size: int = 8, method: str = "dcl") -> Any:
    config = SimpleNamespace(
        backbone=SimpleNamespace(name="resnet18"), image_size=64, method={"name": method}, batch_size=batch_size
    )
    training = SimpleNamespace(joint=True)
    return SimpleNamespace(
        config=config,
        compute=Compute(torch.device("cpu"), precision),
        training=training,
        processes=ALONE,
        views=[object()] * 2,
        encoder=nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        method=build_method(DCL, features=8, seed=0),
    )


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What has been timed."""
    timed: list[str] = []

    def measured(plan: Any, batch: int) -> float:
        timed.append(f"{plan.config.method['name']} {plan.compute.precision} {batch}")
        return float(len(timed))

    monkeypatch.setattr(pace, "SPEEDS", {})
    monkeypatch.setattr(pace, "measured", measured)
    return timed


def test_a_step_is_timed_once_and_each_precision_has_its_own(timed: list[str]) -> None:
    assert speed(plan()) == speed(plan()) == 1.0
    assert speed(plan("bf16")) == 2.0
    assert speed(plan(method="vicreg")) == 3.0
    small_stem = plan()
    small_stem.config.backbone.small_stem = True
    assert speed(small_stem) == 4.0
    assert timed == ["dcl fp32 8", "dcl bf16 8", "vicreg fp32 8", "dcl fp32 8"]


def test_large_batches_are_timed_as_one_on_a_cpu(timed: list[str]) -> None:
    assert speed(plan(batch_size=64)) == speed(plan(batch_size=32)) == 1.0
    assert timed == ["dcl fp32 16"]


def test_only_a_long_training_is_timed_before_it(timed: list[str]) -> None:
    """And not what would be compiled for it, what others share, or what changes its size."""
    assert quick_speed(plan(), 4_799) is None
    compiled, shared, growing = plan(), plan(), plan()
    compiled.compute = Compute(torch.device("cpu"), "fp32", compiled=True)
    shared.processes = Processes(rank=0, size=2, local_rank=0, local_size=2)
    growing.views = [object(), object()]
    for other in (compiled, shared, growing):
        assert quick_speed(other, 4_800) is None
    assert timed == []
    assert quick_speed(plan(), 4_800) == 1.0


def test_timing_leaves_what_is_trained_and_random_numbers_as_they_were() -> None:
    it = plan()
    before = {name: value.clone() for name, value in it.encoder.state_dict().items()}
    random = torch.get_rng_state()
    assert pace.measured(it, 4) > 0
    for name, value in it.encoder.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(value.grad is None for module in (it.encoder, it.method) for value in module.parameters())
    assert torch.equal(torch.get_rng_state(), random)
