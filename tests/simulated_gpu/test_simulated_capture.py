"""What a CUDA graph refuses to hold is refused here as well, and a step goes on without one."""

import pytest
from simulation import Simulation

pytestmark = pytest.mark.slow

STEPS = """
import torch
from lowres_ssl.probes.batched_mlp import CudaGraph

numbers, runs, before = torch.zeros(3, device="cuda"), [], torch.cuda.current_stream()

def step():
    runs.append(1)
    numbers.add_(1)
    {also}

graph = CudaGraph()
for _ in range(8):
    graph.run(step)
assert torch.cuda.current_stream() == before
assert not torch.cuda.is_current_stream_capturing()
(numbers + 1).cpu()
print("step called", len(runs), "times")
"""


def test_a_step_is_captured_by_calling_it_once_after_three_runs(simulated: Simulation) -> None:
    printed = simulated.run_code(STEPS.format(also=""))
    assert "step called 4 times" in printed
    assert "note:" not in printed


@pytest.mark.parametrize("also", ["numbers.sum().item()", "torch.cuda.synchronize()", "numbers[numbers > 0]"])
def test_a_step_that_waits_is_refused_and_goes_on_as_it_is(simulated: Simulation, also: str) -> None:
    printed = simulated.run_code(STEPS.format(also=also))
    assert "simulated GPU: refused" in printed
    assert printed.count("cannot be captured in a CUDA graph here") == 1
    assert "step called 9 times" in printed
