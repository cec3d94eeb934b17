"""The compiled step is the same step, and what cannot be compiled runs as it is."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from functorch.compile import nop
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd

from lowres_ssl.device import DevicePrecision, disable_tf32
from lowres_ssl.methods.base import build_method
from lowres_ssl.seeding import seed_torch
from lowres_ssl.train.forward import ForwardPass
from lowres_ssl.train.optimizers import SGD

ROOT = Path(__file__).resolve().parents[2]
# Relative, in fp32, over three steps: compiled kernels add up in another order. On a CPU 1.2e-7 was the most.
TOLERANCE = 1e-4
RATE = 0.01
SIMCLR = {"name": "simclr", "projector_hidden": 16, "projector_output": 16, "temperature": 0.5}


def losses(device: str, *, compiled: bool, joint: bool = True) -> list[float]:
    """The loss of three steps of SimCLR on noise, fp32."""
    disable_tf32()
    with seed_torch(0, "encoder"):
        layers = [
            nn.Conv2d(3, 16, 3, stride=2, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2),
        ]
        encoder = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    method = build_method(SIMCLR, features=32, seed=0)
    model = torch.nn.ModuleDict({"encoder": encoder, "method": method}).to(device).train()
    optimiser = SGD(momentum=0.9, weight_decay=1e-4, decay_norm_and_bias=False).build(model)
    for group in optimiser.param_groups:
        group["lr"] = RATE
    step = ForwardPass(encoder, method, DevicePrecision(torch.device(device), "fp32", compiled=compiled), joint=joint)
    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(8, 3, 32, 32, generator=generator).to(device) for _ in range(2)]
    found = []
    step.prepare(views)
    for _ in range(3):
        loss: Tensor = step(views)[0]["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(loss.item())
    return found


@pytest.mark.filterwarnings("default")  # what torch's compiler warns of is not ours
def test_captured_steps_have_the_losses_of_plain_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Captured as for the compiler, whose kernels take half a minute to make: the next test has them."""
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **_: compile(function, backend="aot_eager"))
    plain, captured = (losses("cpu", compiled=compiled) for compiled in (False, True))
    assert captured == pytest.approx(plain, rel=TOLERANCE)
    assert plain[2] < 0.9 * plain[0]
    assert "cannot be compiled" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("device", "joint"),
    [
        pytest.param("cpu", True, marks=pytest.mark.slow),
        *(pytest.param("cuda", joint, marks=pytest.mark.gpu) for joint in (True, False)),
    ],
)
def test_compiled_steps_have_the_losses_of_plain_ones(device: str, joint: bool) -> None:
    """In a process of its own: what torch's compiler warns of is not ours."""
    code = f"""
import torch
torch.set_num_threads(1)
from tests.train.test_forward import losses
plain, fast = (losses("{device}", compiled=compiled, joint={joint}) for compiled in (False, True))
assert abs(plain[0] - plain[2]) > 1000 * {TOLERANCE} * plain[0], plain
for one, other in zip(plain, fast, strict=True):
    assert abs(one - other) <= {TOLERANCE} * abs(one), (plain, fast)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    assert "cannot be compiled" not in ran.stderr


def refuse(*_: Any, **__: Any) -> Any:
    raise torch._dynamo.exc.TorchDynamoException("no compiler here\nand more")


# Dynamo and autograd as they are. The backward pass is compiled when it is first asked for.
REFUSING = {
    "forward": aot_autograd(fw_compiler=refuse, bw_compiler=nop),
    "backward": aot_autograd(fw_compiler=nop, bw_compiler=refuse),
}


@pytest.mark.filterwarnings("default")  # what torch's compiler warns of is not ours
@pytest.mark.parametrize("refusing", REFUSING.values(), ids=REFUSING)
def test_what_cannot_be_compiled_runs_as_it_is_and_says_so(
    refusing: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the digits of a step that nobody tried to compile: BatchNorm's statistics among them."""
    compile = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **_: compile(function, backend=refusing))
    assert losses("cpu", compiled=True) == losses("cpu", compiled=False)
    said = capsys.readouterr().err
    assert said.count("cannot be compiled here (") == said.count("no compiler here") == 1


def test_what_was_compiled_before_it_failed_is_given_back(
    monkeypatch: pytest.MonkeyPatch, tiny_encoder: Callable[[int], nn.Module]
) -> None:
    """A captured part has the memory that the plain step needs."""
    monkeypatch.setattr(torch, "compile", lambda *_, **__: refuse)
    given_back = list[bool]()
    monkeypatch.setattr(torch._dynamo, "reset", lambda: given_back.append(True))
    method = build_method(SIMCLR, features=8, seed=0)
    step = ForwardPass(tiny_encoder(0), method, DevicePrecision(torch.device("cpu"), "fp32", compiled=True), joint=True)
    for _ in range(2):
        step.prepare([torch.randn(4, 3, 12, 12)] * 2)
    assert not step.compiled
    assert given_back == [True]


def test_compiling_is_a_trial_that_is_timed_once_a_shape_and_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch, tiny_encoder: Callable[[int], nn.Module]
) -> None:
    calls = list[int]()

    def noted(function: Any, **_: Any) -> Any:
        def call(views: list[Tensor], labels: None) -> Any:
            calls.append(len(views[0]))
            return function(views, labels)

        return call

    monkeypatch.setattr(torch, "compile", noted)
    encoder, method = tiny_encoder(0), build_method(SIMCLR, features=8, seed=0)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    step = ForwardPass(encoder, method, DevicePrecision(torch.device("cpu"), "fp32", compiled=True), joint=True)
    for batch, is_new in ((4, True), (4, False), (3, True)):
        calls.clear()
        seconds = step.prepare([torch.randn(batch, 3, 12, 12)] * 2)
        assert len(calls) == is_new
        assert (seconds > 0) is is_new
    assert step.compiled
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in [*encoder.parameters(), *method.parameters()])
