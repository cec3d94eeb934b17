"""The optimiser's groups and steps, and the learning rate of each step."""

import math

import pytest
import torch
from torch import nn

from lowres_ssl.train.optimizers import SGD, get_learning_rate

SCHEDULE = {"peak": 0.4, "steps": 10, "warmup": 0, "schedule": "cosine"}


def model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def decay_of(optimiser: torch.optim.SGD, parameter: nn.Parameter) -> float:
    (group,) = [group for group in optimiser.param_groups if any(each is parameter for each in group["params"])]
    return group["weight_decay"]


@pytest.mark.parametrize("decay_norm_and_bias", [True, False])
def test_weight_decay_spares_norms_and_biases_only_if_asked(decay_norm_and_bias: bool) -> None:
    network = model()
    optimiser = SGD(0.9, 0.1, decay_norm_and_bias).build(network)
    got = {name: decay_of(optimiser, parameter) for name, parameter in network.named_parameters()}
    spared = 0.1 if decay_norm_and_bias else 0.0
    assert got == {
        "0.weight": 0.1,
        "0.bias": spared,
        "1.weight": spared,
        "1.bias": spared,
        "3.weight": 0.1,
        "3.bias": spared,
    }


def test_frozen_parameters_are_left_out() -> None:
    network = model()
    network[0].requires_grad_(False)
    groups = SGD(0.0, 0.0, True).build(network).param_groups
    assert sum(len(group["params"]) for group in groups) == 4


def test_a_step_is_that_of_sgd_with_momentum_and_decay() -> None:
    """v = m * v + (gradient + decay * w); w = w - rate * v, twice, on one weight with a gradient of 1."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 2.0)
    optimiser = SGD(0.5, 0.1, True).build(network)
    weight, velocity = 2.0, 0.0
    for rate in (0.1, 0.3):
        optimiser.param_groups[0]["lr"] = rate
        network.weight.grad = torch.ones(1, 1)
        optimiser.step()
        velocity = 0.5 * velocity + 1 + 0.1 * weight
        weight -= rate * velocity
    assert network.weight.item() == pytest.approx(weight)


def test_a_first_step_that_overflows_leaves_momentum_at_zero() -> None:
    """As a gradient scaler has it, which gives a fused step its two tensors; then a step with a gradient of 1."""
    network = nn.Linear(1000, 1, bias=False)
    nn.init.zeros_(network.weight)
    optimiser = SGD(0.9, 0.0, True).build(network)
    optimiser.param_groups[0]["lr"] = 0.1
    for gradient, found_inf in ((math.inf, 1.0), (1.0, 0.0)):
        network.weight.grad = torch.full_like(network.weight, gradient)
        optimiser.grad_scale, optimiser.found_inf = torch.tensor(1.0), torch.tensor(found_inf)
        optimiser.step()
        kept = optimiser.state[network.weight]["momentum_buffer"]
        assert torch.equal(kept, torch.full_like(kept, 1 - found_inf))
    assert torch.equal(network.weight, torch.full_like(network.weight, -0.1))


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_warm_up_rises_evenly_to_the_peak(schedule: str) -> None:
    rates = [get_learning_rate(step, **SCHEDULE | {"warmup": 4, "schedule": schedule}) for step in range(5)]
    assert rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4])


def test_cosine_is_the_papers() -> None:
    rates = [get_learning_rate(step, **SCHEDULE | {"warmup": 2}) for step in range(2, 10)]
    assert rates == pytest.approx([0.2 * (1 + math.cos(math.pi * done / 8)) for done in range(8)])


@pytest.mark.parametrize("warmup", [10, 25])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_warm_up_as_long_as_the_training_or_longer_only_rises(warmup: int, schedule: str) -> None:
    rates = [get_learning_rate(step, **SCHEDULE | {"warmup": warmup, "schedule": schedule}) for step in range(10)]
    assert rates == pytest.approx([0.4 * (step + 1) / warmup for step in range(10)])
