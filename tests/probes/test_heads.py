"""Heads side by side: each is what it would be alone, whatever becomes of its neighbours."""

import gc
import math
import weakref
from collections.abc import Callable

import pytest
import torch
from fake_cuda import fake_cuda, to_fake_cuda
from test_linear import as_pytorch_has_it, mlp
from torch import Tensor, nn
from torch.nn import functional as F

from lowres_ssl.probes.base import Features
from lowres_ssl.probes.batched_mlp import BatchedMLP, HeadTraining

Clouds = Callable[..., Features]
RATES, SEEDS = [0.05, 0.05, 0.003, 0.05], [4, 5, 4, 4]


def generators(*seeds: int) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def test_initial_weights_are_spread_as_pytorch_spreads_them() -> None:
    heads = BatchedMLP(100, 400, 50, generators(0, 1))
    for ours, bias, theirs in (
        (heads.first, heads.first_bias, nn.Linear(100, 400)),
        (heads.last, heads.last_bias, nn.Linear(400, 50)),
    ):
        for values, wanted in ((ours[1].T, theirs.weight), (bias[1], theirs.bias)):
            assert values.shape == wanted.shape
            assert values.abs().max().item() == pytest.approx(theirs.in_features**-0.5, rel=0.1)
            assert values.std().item() == pytest.approx(theirs.in_features**-0.5 / math.sqrt(3), rel=0.2)


def trained_alone(
    head: nn.Sequential, features: Features, generator: torch.Generator, *, rate: float, batch_size: int, epochs: int
) -> list[tuple[float, float]]:
    """Train with Adam, no schedule; validation accuracy and loss after each epoch. `generator` draws the orders."""
    optimiser = torch.optim.Adam(head.parameters(), lr=rate)
    after = []
    for _ in range(epochs):
        order = torch.randperm(len(features.train), generator=generator)
        head.train()
        for rows in order.split(batch_size):
            optimiser.zero_grad()
            F.cross_entropy(head(features.train[rows]), features.train_labels[rows]).backward()
            optimiser.step()
        with torch.no_grad():
            scores = head.eval()(features.validation)
        accuracy = (scores.argmax(dim=1) == features.validation_labels).float().mean().item()
        after.append((accuracy, F.cross_entropy(scores, features.validation_labels).item()))
    return after


@pytest.mark.usefixtures("in_double")
def test_side_by_side_each_head_is_trained_as_alone(clouds: Clouds) -> None:
    """Against PyTorch's layers and Adam, one head at a time: weights, and the best epoch of each."""
    features = clouds(train=10, apart=0.7)  # the last batch is incomplete
    _, fits = mlp(epochs=6, batch_size=8).fit(features, RATES, SEEDS)
    for place, (rate, seed) in enumerate(zip(RATES, SEEDS, strict=True)):
        (generator,) = generators(seed)
        alone = as_pytorch_has_it(BatchedMLP(5, 8, 3, [generator]).state_dict(), 0)
        by_epoch = trained_alone(alone, features, generator, rate=rate, batch_size=8, epochs=6)
        best = max(range(6), key=lambda epoch: (by_epoch[epoch][0], -by_epoch[epoch][1]))
        assert fits[place].epoch == best + 1
        assert fits[place].accuracy == pytest.approx(by_epoch[best][0])
        assert fits[place].loss == pytest.approx(by_epoch[best][1], rel=1e-6)


@pytest.mark.usefixtures("in_double")
@pytest.mark.parametrize("changes", [{"restart_from_best": True}, {"step_size": 2, "schedule_delay": 1}])
def test_company_changes_nothing(clouds: Clouds, changes: dict[str, object]) -> None:
    features, probe = clouds(apart=0.7), mlp(epochs=6, **changes)
    together, fits = probe.fit(features, RATES, SEEDS)
    for place in range(len(RATES)):
        alone, (fit,) = probe.fit(features, [RATES[place]], [SEEDS[place]])
        assert fit.epoch == fits[place].epoch
        assert (fit.accuracy, fit.loss) == pytest.approx((fits[place].accuracy, fits[place].loss), rel=1e-6)
        for name, values in alone.state_dict().items():
            torch.testing.assert_close(together.state_dict()[name][place], values[0], rtol=1e-5, atol=1e-6)


@pytest.mark.gpu
def test_heads_on_a_gpu_are_chosen_as_on_the_cpu(clouds: Clouds) -> None:
    features = clouds(apart=20.0)
    there = Features(**{name: v.cuda() if isinstance(v, Tensor) else v for name, v in vars(features).items()})
    _, fits = mlp(epochs=10).fit(there, RATES, SEEDS)
    _, wanted = mlp(epochs=10).fit(features, RATES, SEEDS)
    assert [fit.accuracy for fit in fits] == pytest.approx([fit.accuracy for fit in wanted])


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
