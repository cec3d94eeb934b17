"""The compiled step is the same step, and what cannot be compiled runs as it is."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lowres_ssl.backbones import build_encoder
from lowres_ssl.device import Compute
from lowres_ssl.methods import build_method
from lowres_ssl.training.forward import make_forward
from lowres_ssl.training.optimisation import make_optimiser

ROOT = Path(__file__).resolve().parents[2]
# Relative, in fp32, over three steps: compiled kernels add up in another order.
TOLERANCE = 1e-3
SIMCLR = {"name": "simclr", "projector_hidden": 16, "projector_output": 16, "temperature": 0.5}


def losses(device: str, *, compiled: bool, joint: bool = True) -> list[float]:
    """The loss of three steps of SimCLR on noise, fp32."""
    encoder, width = build_encoder("resnet18", small_stem=False, zero_init_residual=False, seed=0)
    method = build_method(SIMCLR, features=width, seed=0)
    model = torch.nn.ModuleDict({"encoder": encoder, "method": method}).to(device).train()
    optimiser = make_optimiser(model, 0.9, 1e-4, False)
    for group in optimiser.param_groups:
        group["lr"] = 0.01
    step = make_forward(encoder, method, Compute(torch.device(device), "fp32", compiled=compiled), joint=joint)
    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(8, 3, 32, 32, generator=generator).to(device) for _ in range(2)]
    found = []
    for _ in range(3):
        loss: Tensor = step(*views)[0]["loss"]
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        found.append(loss.item())
    return found


@pytest.mark.parametrize(
    ("device", "joint"),
    [("cpu", True), *(pytest.param("cuda", joint, marks=pytest.mark.gpu) for joint in (True, False))],
)
def test_compiled_steps_have_the_losses_of_plain_ones(device: str, joint: bool) -> None:
    """In a process of its own: what torch's compiler warns of is not ours."""
    code = f"""
import torch
torch.set_num_threads(1)
from tests.training.test_forward import losses
plain, fast = (losses("{device}", compiled=compiled, joint={joint}) for compiled in (False, True))
assert plain[0] != plain[2], plain
for one, other in zip(plain, fast, strict=True):
    assert abs(one - other) <= {TOLERANCE} * abs(one), (plain, fast)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert ran.returncode == 0, ran.stderr
    assert "cannot be compiled" not in ran.stderr


def test_what_cannot_be_compiled_runs_as_it_is_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise torch._dynamo.exc.TorchDynamoException("no compiler here\nand more")

    monkeypatch.setattr(torch, "compile", lambda function, **_: refuse)
    assert losses("cpu", compiled=True) == losses("cpu", compiled=False)
    said = capsys.readouterr().err
    assert said.count("cannot be compiled here (no compiler here)") == 1
