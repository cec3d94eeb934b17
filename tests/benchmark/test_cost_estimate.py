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
PLAN: Any = SimpleNamespace(width=32, compute=DevicePrecision(torch.device("cpu"), "fp32"))
OUTLINE: Any = SimpleNamespace(
    split=SimpleNamespace(train=np.arange(TRAIN), validation=np.arange(300), test=np.arange(300)),
    catalogue=SimpleNamespace(classes=("a", "b")),
)


@pytest.mark.parametrize(("name", "epochs"), [("knn", 1), ("linear", 100)])
def test_time_of_a_probe_grows_with_images_and_epochs_and_the_first_fit_does_not_count(
    monkeypatch: pytest.MonkeyPatch, name: str, epochs: int
) -> None:
    """A probe that takes 0.001 s an image and epoch, and 50 s more when it is fitted for the first time."""
    now, built = 0.0, dict[str, Any]()

    def fit(features: Any, *, seed: int) -> None:
        nonlocal now
        now += 0.001 * len(features.train) * built.get("epochs", 1) + (0 if now else 50)

    def build(_name: str, settings: dict[str, Any]) -> Any:
        built.update(settings)
        return SimpleNamespace(fit_predict=fit)

    monkeypatch.setattr(cost_estimate, "build_probe", build)
    monkeypatch.setattr(cost_estimate, "time", SimpleNamespace(perf_counter=lambda: now))
    settings = {"name": name, "k": 1000} if name == "knn" else {"name": name, "epochs": epochs}
    assert time_probe(name, settings, PLAN, OUTLINE) == pytest.approx(0.001 * TRAIN * epochs)
    assert built.get("k", 0) <= TRAIN / 4


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
