"""Whether a step is compiled, and in which memory layout: by stated rules, each with the numbers on its edge."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_training import TRAINING

from lowres_ssl.device import CHANNELS_LAST, NCHW, DevicePrecision
from lowres_ssl.experiment import plan as experiment_plan
from lowres_ssl.experiment.plan import choose_step_settings
from lowres_ssl.train.world import SINGLE_PROCESS, World

IMAGES = 80  # ten steps of eight


def plan(device: str, epochs: int, *, precision: str = "fp32", sizes: tuple[int, ...] = (64,), **changes: Any) -> Any:
    """`changes`: of the training, or compile, deterministic and processes."""
    compile, deterministic = changes.pop("compile", "auto"), changes.pop("deterministic", False)
    processes = changes.pop("processes", SINGLE_PROCESS)
    return SimpleNamespace(
        config=SimpleNamespace(compile=SimpleNamespace(name=compile), deterministic=deterministic, image_size=64),
        encoder=None,
        method=object(),
        compute=DevicePrecision(torch.device(device), precision, compiled=compile == "always"),
        training=replace(TRAINING, **{"epochs": epochs, "joint": True} | changes),
        processes=processes,
        views=[SimpleNamespace(image_size=size) for size in sizes],
    )


@pytest.mark.parametrize(
    ("settings", "epochs"),
    [
        ({}, 1_000),
        ({"joint": False}, 2_000),
        ({"sizes": (32, 64)}, 2_000),
        ({"keep_last_batch": True}, 1_000),  # there is none
        ({"keep_last_batch": True, "batch_size": 9}, 2_222),  # 9 steps an epoch, of two shapes
    ],
    ids=str,
)
def test_auto_compiles_a_training_that_is_longer_than_so_many_epochs(settings: dict[str, Any], epochs: int) -> None:
    assert not choose_step_settings(plan("cuda", epochs, **settings), IMAGES, time_layouts=True).compiled
    assert choose_step_settings(plan("cuda", epochs + 1, **settings), IMAGES, time_layouts=False).compiled


def test_what_auto_never_compiles() -> None:
    """The run of 100 epochs over 3,040 images in batches of 64 as well, for which it took 60 to 200 seconds."""
    assert not choose_step_settings(plan("cuda", 10**6, processes=World(0, 2)), IMAGES, time_layouts=True).compiled
    assert not choose_step_settings(plan("cuda", 10**6, compile="never"), IMAGES, time_layouts=True).compiled
    assert not choose_step_settings(plan("cpu", 10**6, precision="bf16"), IMAGES, time_layouts=True).compiled
    assert not choose_step_settings(plan("cuda", 100, batch_size=64), 3_040, time_layouts=True).compiled
    assert choose_step_settings(plan("cpu", 1, compile="always"), IMAGES, time_layouts=True).compiled, "it was typed"


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """The seconds of a step in each layout."""
    seconds = {CHANNELS_LAST: 1.06, NCHW: 1.0}
    monkeypatch.setattr(experiment_plan, "time_steps_in", lambda *_, **__: seconds)
    return seconds


@pytest.mark.usefixtures("timed")
def test_the_layout_is_timed_on_a_cpu_in_fp32_where_that_takes_a_hundredth_of_the_training() -> None:
    assert choose_step_settings(plan("cpu", 60), IMAGES, time_layouts=True).layout == NCHW
    assert choose_step_settings(plan("cpu", 59), IMAGES, time_layouts=True).layout == CHANNELS_LAST


@pytest.mark.parametrize("seconds", [1.04, 0.5])
def test_nchw_is_chosen_only_where_it_is_clearly_the_faster(timed: dict[str, float], seconds: float) -> None:
    timed[CHANNELS_LAST] = seconds
    assert choose_step_settings(plan("cpu", 60), IMAGES, time_layouts=True).layout == CHANNELS_LAST


@pytest.mark.usefixtures("timed")
@pytest.mark.parametrize(
    "settings",
    [{"precision": "bf16"}, {"deterministic": True}, {"compile": "always"}, {"processes": World(0, 2)}],
    ids=str,
)
def test_where_the_layout_is_no_matter_of_timing(settings: dict[str, Any]) -> None:
    assert choose_step_settings(plan("cpu", 10**6, **settings), IMAGES, time_layouts=True).layout == CHANNELS_LAST
    assert choose_step_settings(plan("cuda", 10**6), IMAGES, time_layouts=True).layout == CHANNELS_LAST


@pytest.mark.usefixtures("timed")
def test_a_run_that_is_gone_on_with_is_not_timed_again() -> None:
    assert choose_step_settings(plan("cpu", 10**6), IMAGES, time_layouts=False).layout == CHANNELS_LAST
