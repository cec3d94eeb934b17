"""The optimiser's groups and steps, and the learning rate of each step."""

import math
from copy import deepcopy

import pytest
import torch
from torch import nn

from lowres_ssl.errors import ConfigError
from lowres_ssl.train.optimizers import (
    LARS,
    OPTIMIZERS,
    SGD,
    build_optimizer,
    get_learning_rate,
    set_learning_rates,
)

SHARED = {"momentum": 0.9, "weight_decay": 0.1, "decay_norm_and_bias": False}
CHOICES = {
    "sgd": {"name": "sgd"},
    "lars": {"name": "lars", "trust_coefficient": 0.01},
    "adamw": {"name": "adamw", "beta1": 0.9, "beta2": 0.99, "eps": 1e-8},
}

SCHEDULE = {"peak": 0.4, "steps": 10, "warmup": 0, "schedule": "cosine"}


def model() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))


def decay_of(optimiser: torch.optim.SGD, parameter: nn.Parameter) -> float:
    (group,) = [group for group in optimiser.param_groups if any(each is parameter for each in group["params"])]
    return group["weight_decay"]


def test_a_first_step_that_overflows_leaves_momentum_at_zero() -> None:
    """As a gradient scaler has it, which gives a fused step its two tensors; then a step with a gradient of 1."""
    network = nn.Linear(1000, 1, bias=False)
    nn.init.zeros_(network.weight)
    optimiser = SGD(momentum=0.9, weight_decay=0.0, decay_norm_and_bias=True).build(network)
    optimiser.param_groups[0]["lr"] = 0.1
    for gradient, found_inf in ((math.inf, 1.0), (1.0, 0.0)):
        network.weight.grad = torch.full_like(network.weight, gradient)
        optimiser.grad_scale, optimiser.found_inf = torch.tensor(1.0), torch.tensor(found_inf)
        optimiser.step()
        kept = optimiser.state[network.weight]["momentum_buffer"]
        assert torch.equal(kept, torch.full_like(kept, 1 - found_inf))
    assert torch.equal(network.weight, torch.full_like(network.weight, -0.1))


@pytest.mark.parametrize("everywhere", [False, True])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimiser_spares_norms_unless_asked_and_holds_the_rate_that_is_constant(
    name: str, everywhere: bool
) -> None:
    network = model()
    settings = SHARED | {"decay_norm_and_bias": everywhere}
    optimiser = build_optimizer(CHOICES[name], **settings).build(network, list(network[3].parameters()))
    set_learning_rates(optimiser, 0.1, 0.4)
    found = {name for name, parameter in network.named_parameters() if decay_of(optimiser, parameter) == 0.1}
    assert found == (set(dict(network.named_parameters())) if everywhere else {"0.weight", "3.weight"})
    rates = {id(parameter): group["lr"] for group in optimiser.param_groups for parameter in group["params"]}
    wanted = {id(parameter): 0.4 if name[0] == "3" else 0.1 for name, parameter in network.named_parameters()}
    assert rates == wanted


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_optimiser_lowers_a_loss_and_goes_on_from_its_state(name: str) -> None:
    def step(network: nn.Module, optimiser: torch.optim.Optimizer) -> float:
        set_learning_rates(optimiser, 0.02, 0.02)
        loss = network(torch.linspace(-1, 1, 75).view(1, 3, 5, 5)[:, :, :3, :3].contiguous()).square().sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        return loss.item()

    torch.manual_seed(0)
    network = model().eval()
    optimiser = build_optimizer(CHOICES[name], **SHARED).build(network)
    losses = [step(network, optimiser) for _ in range(5)]
    assert losses[-1] < losses[0]
    again = model().eval()
    again.load_state_dict(network.state_dict())
    resumed = build_optimizer(CHOICES[name], **SHARED).build(again)
    resumed.load_state_dict(deepcopy(optimiser.state_dict()))  # else both would have the same buffers
    assert step(again, resumed) == step(network, optimiser)
    assert all(torch.equal(one, other) for one, other in zip(network.parameters(), again.parameters(), strict=True))


def test_a_step_of_lars_is_the_papers() -> None:
    """Algorithm 1, twice, on a matrix; a bias has a local rate of 1 and no decay."""
    network = nn.Linear(2, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[3.0, 4.0]]))
        network.bias.fill_(1.0)
    settings = LARS(momentum=0.5, weight_decay=0.1, decay_norm_and_bias=False, trust_coefficient=0.01)
    optimiser = settings.build(network)
    weight, velocity, bias, bias_velocity = [3.0, 4.0], [0.0, 0.0], 1.0, 0.0
    for rate in (0.1, 0.3):
        set_learning_rates(optimiser, rate, rate)
        network.weight.grad, network.bias.grad = torch.tensor([[0.6, 0.8]]), torch.tensor([2.0])
        optimiser.step()
        size = math.hypot(*weight)
        local = 0.01 * size / (1.0 + 0.1 * size)
        for at, gradient in enumerate((0.6, 0.8)):
            velocity[at] = 0.5 * velocity[at] + rate * local * (gradient + 0.1 * weight[at])
        weight = [w - v for w, v in zip(weight, velocity, strict=True)]
        bias_velocity = 0.5 * bias_velocity + rate * 2.0
        bias -= bias_velocity
    assert network.weight[0].tolist() == pytest.approx(weight)
    assert network.bias.item() == pytest.approx(bias)


def test_lars_leaves_zeros_a_local_rate_of_1() -> None:
    network = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(network.weight)
    optimiser = LARS(momentum=0.0, weight_decay=0.1, decay_norm_and_bias=False, trust_coefficient=0.01).build(network)
    set_learning_rates(optimiser, 0.5, 0.5)
    network.weight.grad = torch.ones(1, 2)
    optimiser.step()
    assert network.weight[0].tolist() == [-0.5, -0.5]


@pytest.mark.parametrize(
    ("choice", "key"),
    [
        ({"name": "adam"}, "optimiser=adam: wanted one of sgd, lars, adamw; did you mean optimiser=adamw?"),
        (CHOICES["adamw"] | {"beta1": 1.0}, "optimiser.beta1=1.0"),
        (CHOICES["adamw"] | {"eps": -1.0}, "optimiser.eps=-1.0"),
        (CHOICES["lars"] | {"trust_coefficient": -1.0}, "optimiser.trust_coefficient=-1.0"),
        ({"name": "sgd", "trust_coefficient": 1.0}, "unknown key optimiser.trust_coefficient"),
        ({"name": "lars"}, "optimiser.trust_coefficient is missing"),
    ],
    ids=str,
)
def test_an_optimiser_that_makes_no_sense_is_refused(choice: dict[str, object], key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_optimizer(choice, **SHARED)
    assert str(caught.value).startswith(key)


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
