"""How fast a step is said to be, where a dry sweep asks for several."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lowres_ssl.ahead import pace
from lowres_ssl.ahead.pace import speed
from lowres_ssl.device import Compute


def plan(precision: str = "fp32", batch_size: int = 8, method: str = "dcl") -> Any:
    config = SimpleNamespace(
        backbone=SimpleNamespace(name="resnet18"), image_size=64, method={"name": method}, batch_size=batch_size
    )
    training = SimpleNamespace(joint=True)
    return SimpleNamespace(config=config, compute=Compute(torch.device("cpu"), precision), training=training)


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
    assert timed == ["dcl fp32 8", "dcl bf16 8", "vicreg fp32 8"]


def test_large_batches_are_timed_as_one_on_a_cpu(timed: list[str]) -> None:
    assert speed(plan(batch_size=64)) == speed(plan(batch_size=32)) == 1.0
    assert timed == ["dcl fp32 16"]
