"""The faster memory layout: timed in turns, on copies."""

from collections.abc import Callable

import pytest
import torch
from tiny_training import CPU, SIMCLR
from torch import nn

from lowres_ssl.device import CHANNELS_LAST, NCHW, DevicePrecision
from lowres_ssl.methods.base import build_method
from lowres_ssl.train import forward
from lowres_ssl.train.forward import TIMED_STEPS, measure_faster_layout

Encoders = Callable[[int], nn.Module]
FP32 = DevicePrecision(CPU, "fp32")


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({CHANNELS_LAST: [1.0, 2.0], NCHW: [1.0, 1.0]}, CHANNELS_LAST),
        ({CHANNELS_LAST: [1.06, 9.0], NCHW: [9.0, 1.0]}, NCHW),
        ({CHANNELS_LAST: [1.04, 9.0], NCHW: [9.0, 1.0]}, CHANNELS_LAST),
        ({CHANNELS_LAST: [1.0, 1.0], NCHW: [1.5, 1.5]}, CHANNELS_LAST),
    ],
)
def test_nchw_is_chosen_where_its_best_turn_is_clearly_the_faster(
    seconds: dict[str, list[float]], chosen: str, monkeypatch: pytest.MonkeyPatch, tiny_encoder: Encoders
) -> None:
    monkeypatch.setattr(forward, "time_steps", lambda steps, turns: seconds)
    method = build_method(SIMCLR, features=8, seed=0)
    assert measure_faster_layout(tiny_encoder(0), method, FP32, joint=True, batch_size=4, image_size=12) == chosen


def test_steps_are_timed_in_each_layout_and_the_model_is_left_as_it_was(tiny_encoder: Encoders) -> None:
    encoder, method = tiny_encoder(0), build_method(SIMCLR, features=8, seed=0)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    seen: list[str] = []

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...], _: torch.Tensor) -> None:
        kernel = module[0].weight
        by_pixel = [each.is_contiguous(memory_format=torch.channels_last) for each in (kernel, inputs[0])]
        assert module.training
        assert by_pixel[0] is by_pixel[1]
        seen.append(CHANNELS_LAST if by_pixel[0] else NCHW)

    encoder.eval().register_forward_hook(note)
    measure_faster_layout(encoder, method, FP32, joint=True, batch_size=4, image_size=12)
    assert seen == [CHANNELS_LAST, NCHW] * (TIMED_STEPS // 2)
    assert not encoder.training
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in encoder.parameters())
