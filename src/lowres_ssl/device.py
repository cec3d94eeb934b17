"""Choose where and how precisely to compute: resolve `device=auto` and `precision=auto` on this machine."""

import ctypes
import os
import platform
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.errors import ConfigError

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# The memory layout of images, activations and kernels: pixel by pixel, or channel by channel.
CHANNELS_LAST, NCHW = "channels_last", "NCHW"
MEMORY_FORMATS = {CHANNELS_LAST: torch.channels_last, NCHW: torch.contiguous_format}


@dataclass(frozen=True)
class DevicePrecision:
    """Hold a resolved device and precision. `precision`: "fp32", "bf16" or "fp16"; `compiled`: whether the training
    step goes through torch.compile; `deterministic`: whether a GPU repeats the same bytes; `layout`: of the training
    step's tensors in memory, a key of `MEMORY_FORMATS`."""

    device: torch.device
    precision: str
    compiled: bool = False
    deterministic: bool = False
    layout: str = CHANNELS_LAST

    def autocast(self) -> AbstractContextManager[Any]:
        if self.precision == "fp32":
            return nullcontext()
        return torch.autocast(self.device.type, dtype=DTYPES[self.precision])

    def set_up_process(self) -> Self:
        """Switch the whole process to what computing with this needs, before anything is computed; return it."""
        if self.device.type == "cpu":
            keep_freed_memory()
        else:
            set_deterministic(self.deterministic)
            disable_tf32()
        return self

    def describe(self) -> str:
        ways = [self.precision, *(["compiled"] * self.compiled), *(["deterministic"] * self.deterministic)]
        ways += [self.layout] * (self.layout != CHANNELS_LAST)
        return f"{get_device_name(self.device)}, {', '.join(ways)}"


def resolve_device(
    device: str, precision: str, *, compiled: bool = False, deterministic: bool = False
) -> DevicePrecision:
    """Choose what to compute on. `device`: auto, cuda or cpu; `precision`: auto, fp32, bf16 or fp16; `deterministic`:
    see `set_deterministic`.

    auto takes a CUDA GPU where there is one, and bf16 where the hardware has it natively and is faster with it; an
    older GPU gets fp16 with a gradient scaler, another CPU fp32. Raises `ConfigError` for a missing device, or for a
    precision that it does not have.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        built = "this PyTorch is built for CPUs" if torch.version.cuda is None else "no CUDA GPU or driver was found"
        raise ConfigError(f"device=cuda: {built}, wanted a CUDA GPU; try device=cpu, or see lowres-ssl doctor")
    if device == "cpu" and precision == "fp16":
        raise ConfigError("precision=fp16: wanted bf16 or fp32 on a CPU; try precision=auto")
    where = torch.device(device)
    if precision == "auto":
        precision = "bf16" if is_faster_in_bf16(where) else "fp16" if device == "cuda" else "fp32"
    return DevicePrecision(where, precision, compiled, deterministic and device == "cuda")


def choose_stored_precision(device: str, stored: str) -> str:
    """Return the precision of a stored run, or "auto" where this device does not have it: a CPU has no fp16."""
    is_cpu = resolve_device(device, "auto").device.type == "cpu"
    return "auto" if stored == "fp16" and is_cpu else stored


def set_deterministic(wanted: bool) -> None:
    """Make a GPU repeat the same bytes, for the whole process; otherwise sums may be taken in another order each time.
    A CPU always repeats them. An operation that cannot raises `RuntimeError` when it is called."""
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it when it is first used
    torch.use_deterministic_algorithms(wanted)


def disable_tf32() -> None:
    """Turn off TF32 (a mantissa of 10 bits, Ampere and later) for the whole process: cuDNN uses it for every fp32
    convolution by default.

    Set through PyTorch's older interface and through its newer one: 2.9 warns of the older, but reading a flag that
    the two have set differently, as the export to ONNX does, raises.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.conv.fp32_precision = "ieee"  # type: ignore[attr-defined]  # not in its stubs
    torch.backends.cudnn.rnn.fp32_precision = "ieee"  # type: ignore[attr-defined]  # not in its stubs
    torch.backends.cuda.matmul.fp32_precision = "ieee"


@cache
def keep_freed_memory() -> None:
    """Make glibc keep freed large blocks, instead of returning them to the system at each step: clearing fresh pages
    for every activation takes 10% of a training step. Other C libraries are left as they are."""
    if platform.libc_ver()[0] == "glibc":
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def supports_native_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return not {"avx512_bf16", "amx_bf16"}.isdisjoint(read_processor().get("flags", "").split())


def is_faster_in_bf16(device: torch.device) -> bool:
    """Whether native bf16 is faster than fp32. On Intel that needs AMX: without it, AVX512-BF16 has half the rate of
    fp32 there, on AMD twice that rate (docs/decisions/6-precision-on-a-cpu.md)."""
    if device.type == "cpu" and read_processor().get("vendor_id") == "GenuineIntel":
        return "amx_bf16" in read_processor().get("flags", "").split()
    return supports_native_bf16(device)


def get_device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return read_processor().get("model name") or platform.processor() or platform.machine()


@cache
def read_processor() -> dict[str, str]:
    """Read what Linux lists of a CPU: "model name", "vendor_id", "flags" and more; nothing on another system."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def copy_array_to_device(array: NDArray[Any], device: torch.device) -> Tensor:
    """Copy an array to the device without waiting for pending work there: through pinned memory to a GPU."""
    tensor = torch.from_numpy(array)
    if device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
