"""The step that trains the linear probe's heads: what a GPU has to launch for it, and what becomes of its capture."""

import gc
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from fake_cuda import fake_cuda, to_fake_cuda

from lowres_ssl.probes import batched_mlp
from lowres_ssl.probes.batched_mlp import WARM_UP_RUNS, BatchedMLP, CudaGraph, HeadTraining

LAUNCHES = 25  # with autograd and PyTorch's optimiser it was 28


@pytest.mark.parametrize("heads", [1, 3])
def test_a_step_on_a_gpu_waits_for_nothing_and_copies_nothing_from_the_host(heads: int) -> None:
    trained = BatchedMLP(16, 8, 3, [torch.Generator() for _ in range(heads)])
    with fake_cuda() as gpu:
        to_fake_cuda(trained)
        features, labels = torch.empty(40, 16, device="cuda"), torch.empty(40, dtype=torch.int64, device="cuda")
        training = HeadTraining(trained, [0.1] * heads, features, labels, 3, batch_size=8)
        gpu.operations.clear()
        training.step(training.rows)
    assert gpu.count("wait") == gpu.count("copy") == 0, gpu
    assert 0 < gpu.count("launch") <= LAUNCHES, gpu


def test_a_training_is_gone_once_nobody_has_it() -> None:
    """With what it has on the GPU, and not when Python next looks for circles."""
    trained = BatchedMLP(16, 8, 3, [torch.Generator()])
    with fake_cuda():
        to_fake_cuda(trained)
        features, labels = torch.empty(40, 16, device="cuda"), torch.empty(40, dtype=torch.int64, device="cuda")
        training = HeadTraining(trained, [0.1], features, labels, 3, batch_size=8)
        assert training.graph is not None
        training.full_step()
    there = weakref.ref(training)
    gc.disable()
    try:
        del training
        assert there() is None
    finally:
        gc.enable()


class Runs:
    """A step that counts its runs, on a made-up GPU that captures, or refuses to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refused: str | None = None) -> None:
        self.eager = self.captured = self.replayed = 0
        self.refused, self.capturing = refused, False
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: self)
        monkeypatch.setattr(torch.cuda, "graph", self.capture)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: None)
        batched_mlp.warn_of_failed_capture.cache_clear()

    @contextmanager
    def capture(self, graph: Any, capture_error_mode: str) -> Iterator[None]:
        self.capturing = True
        yield
        self.capturing = False
        if self.refused:
            raise RuntimeError(self.refused)

    def step(self) -> None:
        if self.capturing:
            self.captured += 1
        else:
            self.eager += 1

    def replay(self) -> None:
        self.replayed += 1


def test_step_is_captured_once_after_some_runs_and_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = Runs(monkeypatch)
    graph = CudaGraph()
    for _ in range(WARM_UP_RUNS + 5):
        graph.run(runs.step)
    assert (runs.eager, runs.captured, runs.replayed) == (WARM_UP_RUNS, 1, 5)


def test_step_that_cannot_be_captured_goes_on_as_it_is_with_one_notice(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = Runs(monkeypatch, refused="CUDA error: operation not permitted when stream is capturing\nmore of it")
    for _ in range(2):
        graph = CudaGraph()
        for _ in range(WARM_UP_RUNS + 5):
            graph.run(runs.step)
    assert (runs.eager, runs.captured, runs.replayed) == (2 * (WARM_UP_RUNS + 5), 2, 0)
    printed = capsys.readouterr().err
    assert printed.count("cannot be captured") == 1
    assert "(CUDA error: operation not permitted when stream is capturing)" in printed
