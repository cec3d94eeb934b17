"""The compiled step is the same step, and what cannot be compiled runs as it is."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
import torch
from experiments import Arguments, Make, first_norm
from fake_cuda import fake_cuda, to_fake_cuda
from functorch.compile import nop
from method_files import METHODS, shrunk
from tiny_training import CPU, SIMCLR, build_tiny_encoder
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd

from lowres_ssl.device import CHANNELS_LAST, MEMORY_FORMATS, NCHW, DevicePrecision, disable_tf32
from lowres_ssl.encoders.base import list_fixed_encoders
from lowres_ssl.methods.base import build_method
from lowres_ssl.train.forward import TIMED_STEPS, ForwardPass, time_steps_in
from lowres_ssl.train.history import EpochMeter
from lowres_ssl.train.optimizers import SGD

# Relative, in fp32, over three steps: compiled kernels add up in another order. On a CPU 1.2e-7 was the most.
TOLERANCE = 1e-4
RATE = 0.01


def losses(device: str, *, compiled: bool, joint: bool = True) -> list[float]:
    """The loss of three steps of SimCLR on noise, fp32."""
    disable_tf32()
    encoder, method = build_tiny_encoder(0), build_method(SIMCLR, features=8, seed=0)
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
import sys
sys.path[:] = {sys.path}
import torch
torch.set_num_threads(1)
from test_forward import losses
plain, fast = (losses("{device}", compiled=compiled, joint={joint}) for compiled in (False, True))
assert abs(plain[0] - plain[2]) > 1000 * {TOLERANCE} * plain[0], plain
for one, other in zip(plain, fast, strict=True):
    assert abs(one - other) <= {TOLERANCE} * abs(one), (plain, fast)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
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


def test_steps_are_timed_in_each_layout_and_the_model_is_left_as_it_was(
    monkeypatch: pytest.MonkeyPatch, tiny_encoder: Callable[[int], nn.Module]
) -> None:
    """The best of two, after one to warm up."""
    encoder, method = tiny_encoder(0), build_method(SIMCLR, features=8, seed=0)
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    seen: list[str] = []
    took, now = iter([1.0, 1.0, 4.0, 9.0, 5.0, 7.0]), 0.0
    monkeypatch.setattr("lowres_ssl.train.forward.time.perf_counter", lambda: now)

    def note(module: nn.Module, inputs: tuple[torch.Tensor, ...], _: torch.Tensor) -> None:
        nonlocal now
        kernel = module[0].weight
        by_pixel = [each.is_contiguous(memory_format=torch.channels_last) for each in (kernel, inputs[0])]
        assert module.training
        assert by_pixel[0] is by_pixel[1]
        seen.append(CHANNELS_LAST if by_pixel[0] else NCHW)
        now += next(took)

    encoder.eval().register_forward_hook(note)
    seconds = time_steps_in(
        list(MEMORY_FORMATS), encoder, method, DevicePrecision(CPU, "fp32"), joint=True, batch_size=4, image_size=12
    )
    assert seconds == {CHANNELS_LAST: 4.0, NCHW: 7.0}
    assert seen == [CHANNELS_LAST, NCHW] * (TIMED_STEPS // 2)
    assert not encoder.training
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())
    assert all(parameter.grad is None for parameter in encoder.parameters())


def two_views() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 3, 12, 12, generator=generator), 3 + 2 * torch.randn(6, 3, 12, 12, generator=generator)


def test_joint_batch_norm_sees_both_views_together(experiment: Make) -> None:
    run, (first, second) = experiment(), two_views()
    run.method.encode(run.encoder.train(), (first, second), joint=True)
    norm = first_norm(run.encoder)
    together = run.encoder[0](torch.cat((first, second))).transpose(0, 1).flatten(1)
    assert norm.num_batches_tracked == 1
    torch.testing.assert_close(norm.running_mean, 0.1 * together.mean(1))
    torch.testing.assert_close(norm.running_var, 0.9 + 0.1 * together.var(1))


def test_per_view_batch_norm_sees_each_view_alone(experiment: Make) -> None:
    run, (first, second) = experiment(), two_views()
    run.method.encode(run.encoder.train(), (first, second), joint=False)
    norm = first_norm(run.encoder)
    one, two = (run.encoder[0](view).transpose(0, 1).flatten(1) for view in (first, second))
    assert norm.num_batches_tracked == 2
    torch.testing.assert_close(norm.running_mean, 0.09 * one.mean(1) + 0.1 * two.mean(1))
    torch.testing.assert_close(norm.running_var, 0.81 + 0.09 * one.var(1) + 0.1 * two.var(1))


def test_joint_and_per_view_are_the_same_without_batch_norm(experiment: Make, trained_method: Arguments) -> None:
    """In evaluation mode: the halves of the joint pass are the two views, in their order, for every output."""
    run, (first, second) = experiment(arguments=trained_method), two_views()
    run.encoder.eval()
    run.method.prepare(run.encoder)
    run.method.eval()
    joint = run.method.encode(run.encoder, (first, second), joint=True)
    apart = run.method.encode(run.encoder, (first, second), joint=False)
    torch.testing.assert_close(joint, apart)


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
