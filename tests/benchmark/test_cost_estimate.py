"""What a probe is said to take: of fits on a little noise, on the plan's own device."""

from concurrent.futures.process import BrokenProcessPool
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch

from lowres_ssl.benchmark import cost_estimate
from lowres_ssl.benchmark.cost_estimate import CostRequest, measure_in_subprocess, time_probe
from lowres_ssl.device import DevicePrecision
from lowres_ssl.errors import ConfigError

TRAIN = 2048  # four times as many as are fitted


class Clocked:
    """A probe that takes 5 s and 0.001 s an image and epoch, and 50 s more when it is fitted for the first time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.fits: list[Any] = []
        self.epochs = 1

    def build(self, _name: str, settings: dict[str, Any]) -> "Clocked":
        self.epochs = settings.get("epochs", 1)
        return self

    def fit_predict(self, features: Any, *, seed: int) -> None:
        self.now += 5 + 0.001 * len(features.train) * self.epochs + (0 if self.fits else 50)
        self.fits.append(features)


@pytest.fixture
def clocked(monkeypatch: pytest.MonkeyPatch) -> Clocked:
    probe = Clocked()
    monkeypatch.setattr(cost_estimate, "build_probe", probe.build)
    monkeypatch.setattr(cost_estimate, "time", SimpleNamespace(perf_counter=lambda: probe.now))
    # PyTorch's "meta" device, which stands for a GPU here, has no numbers to check.
    names = ("train", "train_labels", "validation", "validation_labels", "test", "classes")
    monkeypatch.setattr(
        cost_estimate, "Features", lambda *given: SimpleNamespace(**dict(zip(names, given, strict=True)))
    )
    return probe


PLAN: Any = SimpleNamespace(width=32, compute=DevicePrecision(torch.device("meta"), "bf16"))
OUTLINE: Any = SimpleNamespace(
    split=SimpleNamespace(train=np.arange(TRAIN), validation=np.arange(300), test=np.arange(300)),
    catalogue=SimpleNamespace(classes=("a", "b")),
)


def test_what_a_fit_takes_once_is_not_multiplied_by_its_epochs(clocked: Clocked) -> None:
    seconds = time_probe("linear", {"name": "linear", "epochs": 100}, PLAN, OUTLINE)
    assert seconds == pytest.approx(5 + 100 * 0.001 * TRAIN)


def test_the_first_fit_does_not_count(clocked: Clocked) -> None:
    rows = len(last_fitted(clocked).train)
    assert time_probe("knn", {"name": "knn", "k": 20}, PLAN, OUTLINE) == pytest.approx(
        (5 + 0.001 * rows) * TRAIN / rows
    )


def last_fitted(clocked: Clocked) -> Any:
    time_probe("knn", {"name": "knn", "k": 20}, PLAN, OUTLINE)
    return clocked.fits[-1]


def test_a_step_that_memory_does_not_hold_is_refused_by_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: Any = CostRequest({"dcl": SimpleNamespace(batch_size=64, image_size=224)}, None, ())  # type: ignore[dict-item]
    pool = MagicMock()
    result = pool.return_value.__enter__.return_value.submit.return_value.result
    monkeypatch.setattr(cost_estimate, "ProcessPoolExecutor", pool)
    for error in (torch.OutOfMemoryError("CUDA out of memory."), BrokenProcessPool()):
        result.side_effect = error
        with pytest.raises(ConfigError, match=r"^a step of batch_size=64 at image_size=224 "):
            measure_in_subprocess(asked)
    result.side_effect = RuntimeError("another")
    with pytest.raises(RuntimeError, match="another"):
        measure_in_subprocess(asked)
