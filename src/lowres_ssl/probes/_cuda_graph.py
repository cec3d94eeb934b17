"""Capture a step in a CUDA graph, so that a run of it is one call instead of a launch a kernel."""

from collections.abc import Callable
from functools import cache

import torch

from lowres_ssl.terminal import warn

# Runs before the capture: the first ones load kernels and allocate workspaces, which a capture does not allow.
EAGER_RUNS = 3


class CudaGraph:
    """Run a step on the current CUDA device: a few times as it is, then captured, then as the captured graph.

    The step, the same in each `run`, reads and writes tensors that stay where they are, waits for nothing and has the
    same shapes each time. If it cannot be captured, it goes on as it is, with one notice: the results are the same, and
    slower. It is not kept: whoever keeps this and makes the step would hold itself, and so what it has on the GPU,
    until Python next looks for such cycles.
    """

    def __init__(self) -> None:
        self.eager_runs_left = EAGER_RUNS  # below 0: it could not be captured
        self.graph: torch.cuda.CUDAGraph | None = None

    def run(self, step: Callable[[], None]) -> None:
        if self.eager_runs_left == 0 and self.graph is None:
            self.capture(step)
        if self.graph is not None:
            self.graph.replay()
        else:
            step()
            self.eager_runs_left -= 1

    def capture(self, step: Callable[[], None]) -> None:
        """Record the kernels of the step, which does not run them."""
        graph = torch.cuda.CUDAGraph()
        try:
            # The outer context restores the stream even where the capture cannot be ended. "thread_local": other
            # threads, such as NCCL's, may go on with what this one may not do.
            with (
                torch.cuda.stream(torch.cuda.current_stream()),
                torch.cuda.graph(graph, capture_error_mode="thread_local"),
            ):
                step()
        except RuntimeError as error:
            self.eager_runs_left = -1
            notice(str(error).strip().partition("\n")[0])
        else:
            self.graph = graph


@cache
def notice(reason: str) -> None:
    warn(f"the linear probe's step cannot be captured in a CUDA graph here ({reason}); it runs as it is, more slowly")
