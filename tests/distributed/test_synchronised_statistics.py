"""Two processes with synchronised BatchNorm compute what one does on the whole batch; on one GPU that they share."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.distributed.models import TRAINED
from tests.distributed.synchronised import SIZE

ROOT = Path(__file__).resolve().parents[2]
EXACT = 1e-10


@pytest.mark.gpu
def test_loss_and_gradient_with_synchronised_statistics_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    """In float64, where the order of sums does not show."""
    command = [sys.executable, "-m", "tests.distributed.synchronised", str(tmp_path)]
    started = [
        subprocess.Popen([*command, str(rank)], cwd=ROOT, text=True, stderr=subprocess.PIPE) for rank in range(SIZE)
    ]
    said = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == [0] * SIZE, said
    for rank in range(SIZE):
        found = torch.load(tmp_path / f"{rank}.pt")
        assert len(found) == 2 * len(TRAINED)
        for name, differences in found.items():
            assert max(differences) < EXACT, name
