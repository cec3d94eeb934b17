"""The step that trains the linear probe's heads: what a GPU has to launch for it, and what is kept there afterwards.

Its capture in a CUDA graph is tested in tests/simulated_gpu/test_simulated_capture.py.
"""

import gc
import weakref

import pytest
import torch
from fake_cuda import fake_cuda, to_fake_cuda

from lowres_ssl.probes.batched_mlp import BatchedMLP, HeadTraining

LAUNCHES = 25  # with autograd and PyTorch's optimiser it was 28


def training_on_fake_cuda(heads: int) -> HeadTraining:
    trained = BatchedMLP(16, 8, 3, [torch.Generator() for _ in range(heads)])
    to_fake_cuda(trained)
    features, labels = torch.empty(40, 16, device="cuda"), torch.empty(40, dtype=torch.int64, device="cuda")
    return HeadTraining(trained, [0.1] * heads, features, labels, 3, batch_size=8)


@pytest.mark.parametrize("heads", [1, 3])
def test_a_step_on_a_gpu_waits_for_nothing_and_copies_nothing_from_the_host(heads: int) -> None:
    with fake_cuda() as gpu:
        training = training_on_fake_cuda(heads)
        gpu.operations.clear()
        training.step(training.rows)
    assert gpu.count("wait") == gpu.count("copy") == 0, gpu
    assert 0 < gpu.count("launch") <= LAUNCHES, gpu


def test_a_training_is_gone_once_nobody_has_it() -> None:
    """With what it has on the GPU, and not when Python next looks for circles."""
    with fake_cuda():
        training = training_on_fake_cuda(1)
        assert training.graph is not None
        training.full_step()
    there = weakref.ref(training)
    gc.disable()
    try:
        del training
        assert there() is None
    finally:
        gc.enable()
