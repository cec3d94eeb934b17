"""Record what a program would launch on a GPU, where there is none: fake CUDA tensors have shapes and no numbers.

A number that does not exist cannot be waited for: what asks for one, or for a shape that depends on one, raises.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# They allocate and launch nothing.
NO_KERNEL = {
    *("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"),
    *("_unsafe_view", "detach", "lift_fresh", "prim::device"),
}
# They change their arguments in place, and PyTorch has no fake kernel of them.
IN_PLACE_ONLY = {"_fused_adam_", "_fused_sgd_"}


@dataclass(frozen=True)
class Operation:
    """What reached the GPU. `kind`: "launch"; "copy", from the host's pinned memory or to it; or "wait", where the host
    waits for the GPU, as it does for a copy from other memory."""

    kind: str
    name: str


class Recorder(TorchDispatchMode):
    """Note each operation on a CUDA tensor that would reach the GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[Operation] = []
        self.pinned: list[Tensor] = []

    def pin(self, tensor: Tensor) -> Tensor:
        self.pinned.append(tensor)
        return tensor

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        result = None if name in IN_PLACE_ONLY else func(*args, **kwargs)
        given, made = tensors((args, kwargs)), tensors(result)
        if not func.is_view and name not in NO_KERNEL and any(each.is_cuda for each in given + made):
            self.operations.append(Operation(self.kind_of(name, args, given, made), name))
        return result

    def kind_of(self, name: str, args: Any, given: list[Tensor], made: list[Tensor]) -> str:
        if name in ("_to_copy", "copy_") and not all(each.is_cuda for each in given + made):
            source = given[-1] if name == "copy_" else given[0]
            if source.is_cuda and args[2:] == (True,):  # asked not to wait, of `copy_`
                return "copy"
            return "copy" if any(source is each for each in self.pinned) else "wait"
        if name in (
            "index",
            "index_put",
            "index_put_",
        ):  # how many rows a mask has, the host asks
            masks = [each for each in tensors(args[1]) if each.dtype in (torch.bool, torch.uint8)]
            return "wait" if masks else "launch"
        return "wait" if name in ("_local_scalar_dense", "nonzero", "masked_select", "equal", "_unique2") else "launch"

    def count(self, kind: str) -> int:
        return sum(operation.kind == kind for operation in self.operations)

    def __str__(self) -> str:
        return ", ".join(f"{number} x {each.kind} {each.name}" for each, number in Counter(self.operations).items())


def tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


@contextmanager
def fake_cuda() -> Iterator[Recorder]:
    """Inside, `torch.device("cuda")` works on a machine without a GPU. What is there already stays real."""
    recorder = Recorder()
    with (
        mock.patch.object(torch.cuda, "is_current_stream_capturing", return_value=False),
        mock.patch.object(torch.cuda, "is_bf16_supported", return_value=True),
        mock.patch.object(torch.cuda.amp.common, "amp_definitely_not_available", return_value=False),
        mock.patch.object(Tensor, "pin_memory", lambda tensor: recorder.pin(tensor)),
        FakeTensorMode(allow_non_fake_inputs=True),
        recorder,
    ):
        yield recorder


def to_fake_cuda(module: nn.Module) -> None:
    """Put fake CUDA tensors in the place of a real module's parameters and buffers; called inside `fake_cuda`."""
    for part in module.modules():
        for name, own in list(part.named_parameters(recurse=False)):
            part.register_parameter(name, nn.Parameter(like(own), requires_grad=own.requires_grad))
        for name, own in list(part.named_buffers(recurse=False)):
            setattr(part, name, like(own))


def like(tensor: Tensor) -> Tensor:
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="cuda")
