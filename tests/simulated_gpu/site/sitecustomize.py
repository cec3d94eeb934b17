"""Fit lowres-ssl for the simulated GPU; Python imports this at its start where the folder is on PYTHONPATH.

Nothing is computed there, so what would go by a number is answered: a number that is read from the GPU is 0, a
condition is true and a probability as large as all others; features are not checked. At its end each `lowres-ssl`
process writes what it asked of the GPU to $SIMULATED_GPU_COUNTS/<process id>.json: its `arguments`; `all`, the counts
of the whole command; `steps`, those of each training step; `probe_steps`, those of each full step of a linear probe.
$SIMULATED_GPU_BACKEND: what torch.compile takes instead of Inductor.
"""

import atexit
import ctypes
import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

NAMES = ("launches", "to_gpu", "to_host", "waits", "captures", "captured_nodes", "graph_launches", "refused")
Counts = dict[str, int]


def counts() -> Counts:
    values = (ctypes.c_longlong * len(NAMES))()
    ctypes.CDLL(None).simulated_gpu_counts(values)
    return dict(zip(NAMES, values, strict=True))


def since(before: Counts) -> Counts:
    return {name: value - before[name] for name, value in counts().items()}


def answer_for_the_gpu() -> None:
    import torch
    from torch import Tensor

    from lowres_ssl.console import TrainingProgress
    from lowres_ssl.probes import linear
    from lowres_ssl.probes.base import Features

    torch.backends.cudnn.enabled = False  # it asks the driver for more than is simulated
    really_judged, is_true, softmax = linear.update_best_fits, Tensor.__bool__, Tensor.softmax

    def shares(self: Tensor, dim: int) -> Tensor:
        return torch.full(self.shape, 1 / self.shape[dim]) if self.is_cuda else softmax(self, dim)

    def judged(*given: Any) -> tuple[list[linear.HeadFit], list[int]]:
        fits, better = really_judged(*given)
        return [replace(fit, accuracy=1.0) for fit in fits], better  # a search refuses heads that are always wrong

    Tensor.__bool__ = lambda self: is_true(self) or self.is_cuda
    Tensor.softmax = shares
    Features.can_validate = property(lambda self: True)
    linear.update_best_fits = judged
    TrainingProgress.is_due = lambda self: False  # by the clock it looks at the loss, and waits


def compile_by(backend: str) -> None:
    import torch

    compile_with_options = torch.compile

    def compile_plainly(function: Any, **options: Any) -> Any:
        return compile_with_options(function, backend=backend, dynamic=options.get("dynamic"))

    torch.compile = compile_plainly


def count_between_calls(owner: type, method: str) -> list[Counts]:
    """Make a list that grows by what is counted from each call of the method to the next."""
    found: list[Counts] = []
    before = [counts()]
    really = getattr(owner, method)

    def counted(*given: Any, **named: Any) -> Any:
        result = really(*given, **named)
        found.append(since(before[0]))
        before[0] = counts()
        return result

    setattr(owner, method, counted)
    return found


def write_counts(**lists: list[Counts]) -> None:
    report = {"arguments": sys.orig_argv[1:], "all": counts(), **lists}
    Path(os.environ["SIMULATED_GPU_COUNTS"], f"{os.getpid()}.json").write_text(json.dumps(report))


def start() -> None:
    from lowres_ssl.console import TrainingProgress
    from lowres_ssl.probes.batched_mlp import CudaGraph

    answer_for_the_gpu()
    if backend := os.environ.get("SIMULATED_GPU_BACKEND"):
        compile_by(backend)
    steps, probe_steps = count_between_calls(TrainingProgress, "step"), count_between_calls(CudaGraph, "run")
    atexit.register(write_counts, steps=steps, probe_steps=probe_steps)


def is_ours(words: list[str]) -> bool:
    """Whether a command line is one of lowres-ssl, of a process that it starts, or of its benchmarks."""
    return any(
        Path(word).name in ("lowres_ssl", "lowres-ssl") or "multiprocessing" in word or word.startswith("speed.")
        for word in words
    )


if "SIMULATED_GPU_COUNTS" in os.environ and is_ours(sys.orig_argv):
    start()
