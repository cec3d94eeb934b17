"""What a step's forward pass, loss and sums ask of a GPU, by fake CUDA tensors: the host waits for nothing.

Its backward pass needs a runtime: tests/simulated_gpu has one.
"""

from collections.abc import Callable

import pytest
import torch
from fake_cuda import fake_cuda, to_fake_cuda
from method_files import METHODS, shrunk
from torch import nn

from lowres_ssl.device import DevicePrecision
from lowres_ssl.encoders.base import list_fixed_encoders
from lowres_ssl.methods.base import build_method
from lowres_ssl.train.forward import ForwardPass
from lowres_ssl.train.history import EpochMeter

TRAINED = [name for name in METHODS if name not in list_fixed_encoders()]


@pytest.mark.parametrize("joint", [True, False], ids=["joint", "per view"])
@pytest.mark.parametrize("name", TRAINED)
def test_a_step_waits_for_nothing_and_copies_nothing(
    name: str, joint: bool, tiny_encoder: Callable[[int], nn.Module]
) -> None:
    encoder = tiny_encoder(0)
    method = build_method(shrunk(METHODS[name]), features=8, classes=3, images=8, seed=0)
    method.prepare(encoder)
    with fake_cuda() as gpu:
        to_fake_cuda(encoder)
        to_fake_cuda(method)
        forward = ForwardPass(encoder, method, DevicePrecision(torch.device("cuda"), "bf16"), joint=joint)
        meter = EpochMeter(batch_size=4)
        sizes = [round(16 * kind.size) for kind in method.view_kinds()]
        views = [torch.empty(4, 3, size, size, device="cuda") for size in sizes]
        labels = torch.empty(4, dtype=torch.int64, device="cuda") if method.takes_labels else None
        for _ in range(2):
            gpu.operations.clear()
            losses, embeddings = forward(views, labels)
            meter.add(losses, embeddings)
    assert losses["loss"].is_cuda
    assert gpu.count("wait") == gpu.count("copy") == 0, gpu
    assert gpu.count("launch") > 0
