"""What auto comes to on machines with other hardware, played by stand-ins; what cannot be done is refused."""

import os
from collections.abc import Callable

import pytest
import torch

from lowres_ssl import device
from lowres_ssl.device import resolve_device
from lowres_ssl.errors import ConfigError

Machine = Callable[..., None]


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Play a machine: with a GPU or not, with these flags of the CPU, with a GPU that has bf16 or not."""

    def play(
        *, gpu: bool = False, flags: tuple[str, ...] = (), vendor: str = "AuthenticAMD", gpu_bf16: bool = True
    ) -> None:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: gpu_bf16)
        listed = {"vendor_id": vendor, "flags": " ".join(flags)}
        monkeypatch.setattr(device, "read_processor", lambda: listed)
        monkeypatch.setattr(device, "keep_freed_memory", lambda: None)

    return play


@pytest.mark.parametrize(
    ("played", "expected"),
    [
        ({"gpu": True}, ("cuda", "bf16")),
        ({"gpu": True, "gpu_bf16": False}, ("cuda", "fp16")),
        ({"flags": ("avx2", "avx512_bf16")}, ("cpu", "bf16")),
        ({"flags": ("amx_bf16",)}, ("cpu", "bf16")),
        ({"flags": ("avx512_bf16",), "vendor": "GenuineIntel"}, ("cpu", "fp32")),
        ({"flags": ("avx512_bf16", "amx_bf16"), "vendor": "GenuineIntel"}, ("cpu", "bf16")),
        ({"flags": ("avx2", "avx512f")}, ("cpu", "fp32")),
        ({}, ("cpu", "fp32")),
    ],
)
def test_auto_takes_the_best_there_is(machine: Machine, played: dict, expected: tuple[str, str]) -> None:
    machine(**played)
    compute = resolve_device("auto", "auto")
    assert (compute.device.type, compute.precision) == expected


@pytest.mark.parametrize(
    ("built", "reason"), [(None, "this PyTorch is built for CPUs"), ("13.0", "no CUDA GPU or driver was found")]
)
def test_a_gpu_that_is_not_there_is_refused(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, built: str | None, reason: str
) -> None:
    machine()
    monkeypatch.setattr(torch.version, "cuda", built)
    with pytest.raises(ConfigError, match=f"^device=cuda: {reason}, wanted a CUDA GPU; try device=cpu"):
        resolve_device("cuda", "auto")


@pytest.mark.parametrize(("gpu", "wanted"), [(True, True), (False, False)])
def test_deterministic_is_asked_of_a_gpu_alone_and_ends_with_the_next_that_does_not_ask(
    machine: Machine, gpu: bool, wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")  # what a user has set stays
    machine(gpu=gpu)
    assert resolve_device("auto", "fp32", deterministic=True).set_up_process().deterministic is wanted
    assert torch.are_deterministic_algorithms_enabled() is wanted
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"
    assert not resolve_device("auto", "fp32").set_up_process().deterministic
    assert not torch.are_deterministic_algorithms_enabled()


@pytest.mark.parametrize("before", ["none", "tf32"])
def test_fp32_on_a_gpu_is_fp32_and_not_tf32(machine: Machine, before: str) -> None:
    """For cuDNN's convolutions it would be TF32 by default, on Ampere and later."""
    torch.backends.cudnn.conv.fp32_precision = torch.backends.cuda.matmul.fp32_precision = before
    machine(gpu=True)
    resolve_device("auto", "fp32").set_up_process()
    assert torch.backends.cudnn.conv.fp32_precision == torch.backends.cuda.matmul.fp32_precision == "ieee"
    assert not torch.backends.cudnn.allow_tf32, "PyTorch itself reads it, and raises where its two interfaces differ"


@pytest.mark.gpu
def test_auto_computes_on_the_gpu_here() -> None:
    compute = resolve_device("auto", "auto")
    ones = torch.ones(2, 2, device=compute.device)
    with compute.autocast():
        assert (ones @ ones).dtype == device.DTYPES[compute.precision] != torch.float32
    assert torch.cuda.get_device_name() in compute.describe()
