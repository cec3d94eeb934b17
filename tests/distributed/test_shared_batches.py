"""Several processes that share each batch compute what one does on the whole of it; and end together.

The processes run once for all tests, see `ranks.py`: each asserts on what they found.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.distributed.models import STEPS, TRAINED
from tests.distributed.synchronised import SIZE

ROOT = Path(__file__).resolve().parents[2]
EXACT = 1e-10
Found = Callable[[str], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """What each process of a scenario found, by rank; what was said is in the output of none."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-W", "error", "-m", "tests.distributed.ranks", str(folder)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=400)
    assert ran.returncode == 0, ran.stderr

    def of(scenario: str) -> list[dict[str, Any]]:
        files = sorted(folder.glob(f"{scenario}.[0-9].pt"))
        assert files, ran.stderr
        return [torch.load(path, weights_only=False) for path in files]

    return of


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("way", ["per view", "joint"])
def test_loss_and_gradient_of_all_weights_are_those_of_the_whole_batch(
    found: Found, name: str, size: int, way: str
) -> None:
    """BatchNorm's statistics are held fixed: they are of each share, without SyncBatchNorm."""
    for rank in found(f"sharing-{size}"):
        assert max(rank[f"{name}, {way}"]) < EXACT


@pytest.mark.gpu
def test_loss_and_gradient_with_synchronised_statistics_are_those_of_the_whole_batch(tmp_path: Path) -> None:
    """On one GPU that two processes share; in float64, where the order of sums does not show."""
    command = [sys.executable, "-m", "tests.distributed.synchronised", str(tmp_path)]
    started = [
        subprocess.Popen([*command, str(rank)], cwd=ROOT, text=True, stderr=subprocess.PIPE) for rank in range(SIZE)
    ]
    said = [process.communicate(timeout=300)[1] for process in started]
    assert [process.returncode for process in started] == [0] * SIZE, said
    for rank in range(SIZE):
        differences = torch.load(tmp_path / f"{rank}.pt")
        assert len(differences) == 2 * len(TRAINED)
        for name, of_loss_and_gradient in differences.items():
            assert max(of_loss_and_gradient) < EXACT, name


@pytest.mark.parametrize("size", [2, 4])
@pytest.mark.parametrize("name", ["vicreg", "supervised"])
def test_two_epochs_are_those_of_one_process_and_the_first_alone_writes(found: Found, name: str, size: int) -> None:
    for rank, content in enumerate(found(f"training-{size}")):
        assert content["ended"] == "done"
        (history, weights), (shared_history, shared_weights) = content[name]
        for line, shared in zip(history, shared_history, strict=True):
            for key in set(line) - {"seconds", "views_per_second"}:
                assert shared[key] == pytest.approx(line[key], rel=1e-6), key  # the monitors are of float32
            assert shared["loss"] == pytest.approx(line["loss"], rel=EXACT)
        assert weights.keys() == shared_weights.keys()
        for key, value in weights.items():
            torch.testing.assert_close(shared_weights[key], value, rtol=EXACT, atol=EXACT)
        assert (content[f"{name}, saved"] > 0) is (rank == 0)
        assert content["bf16"].tolist() == [[float(row // 2)] * 3 for row in range(2 * size)]


def test_signal_to_one_process_stops_all_at_the_same_step_and_the_run_goes_on(found: Found) -> None:
    for rank in found("stopped"):
        assert rank["code"] == 143
        assert "epoch 1, step 3 of 5 is saved" in rank["said"]
        assert rank["steps"] == 3
        assert rank["same"]


def test_checkpoint_is_refused_to_another_number_of_processes(found: Found) -> None:
    """With synchronised statistics as well: sums in another order are other numbers."""
    for rank in found("stopped"):
        assert len(rank["refused"]) == 2
        for refusal in rank["refused"]:
            assert "written by 2 processes, got 1" in refusal
            assert "torchrun --nproc-per-node=2" in refusal


def test_processes_agree_on_what_is_not_finite(found: Found) -> None:
    """A loss is gathered, and so the same for all; a running variance is one process's own."""
    first, second = found("broken")
    assert first["loss"].startswith(f"epoch 1, step {STEPS}: the loss is no longer finite")
    assert second["loss"] == first["loss"]
    assert "a weight of another process is no longer finite" in first["weight"]
    assert "a weight is no longer finite" in second["weight"]


def test_one_that_fails_ends_all_and_says_it_alone(found: Found) -> None:
    first, second, third = found("fails")
    assert second["ended"] == "ConfigError: the cause"
    assert first["ended"] == third["ended"] == "left with 1"
    assert max(rank["seconds"] for rank in (first, second, third)) < 30


def test_one_that_is_killed_ends_all_and_one_of_them_says_so(found: Found) -> None:
    ranks = found("killed")  # what is left of them
    assert len(ranks) == 2
    said = sorted(rank["ended"] for rank in ranks)
    assert said[0].startswith("TrainingError: another rank of this run exited unexpectedly")
    assert said[1] == "left with 1"
    assert max(rank["seconds"] for rank in ranks) < 30


def test_others_leave_in_silence_where_the_first_fails_before_it_calls_them(found: Found) -> None:
    first, *others = found("first_fails")
    assert first["ended"] == "ConfigError: the cause"
    for rank in others:
        assert rank["called"] is False
        assert rank["ended"] == "done"


def test_processes_that_see_other_images_are_refused(found: Found) -> None:
    ended = sorted(rank["ended"] for rank in found("differ"))
    assert ended[0].startswith("DataError: the processes of one run see different images or settings")
    assert ended[1] == "left with 3"
