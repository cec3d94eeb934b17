"""An epoch's sums: means, the window of embeddings, the line, and going on from a checkpoint."""

import io

import pytest
import torch
from torch import Tensor

from lowres_ssl.train import history
from lowres_ssl.train.history import EpochMeter, compute_effective_rank, compute_embedding_std

STEPS = 7


def step(number: int) -> tuple[dict[str, Tensor], Tensor]:
    random = torch.Generator().manual_seed(number)
    terms = {"loss": torch.rand((), generator=random) / 3, "variance": torch.rand((), generator=random)}
    return terms, torch.randn(4, 6, generator=random)


def meter(steps: range = range(STEPS)) -> EpochMeter:
    made = EpochMeter(batch_size=4)
    made.seconds = 2.0
    for number in steps:
        made.add(*step(number))
    return made


def test_means_are_those_of_the_steps() -> None:
    wanted = sum(step(number)[0]["loss"].item() for number in range(STEPS)) / STEPS
    assert meter().means()["loss"] == pytest.approx(wanted, rel=1e-12)


def test_many_small_numbers_add_up_in_double_precision() -> None:
    made = EpochMeter(batch_size=2)
    made.add({"loss": torch.tensor(2.0**24)}, torch.ones(2, 2))
    for _ in range(3):
        made.add({"loss": torch.tensor(1.0)}, torch.ones(2, 2))  # which float32 would lose
    assert made.means()["loss"] == (2**24 + 3) / 4


def test_seconds_are_the_steps_own_and_go_on_from_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of them, 80 of compiling and 3; then, in another process, 1 and 4."""
    clock = iter([10.0, 95.0, 500.0, 505.0])
    monkeypatch.setattr("lowres_ssl.train.history.time.perf_counter", lambda: next(clock))
    first = EpochMeter(batch_size=4)
    first.start()
    first.leave_out(80.0)
    first.stop()
    assert (first.seconds, first.compile_seconds) == (5.0, 80.0)
    again = EpochMeter(batch_size=4)
    again.load_state(first.state(), torch.device("cpu"))
    again.start()
    again.add(*step(0))
    again.stop()
    line = again.line(epoch=1, views=100, learning_rate=0.1)
    assert (line["seconds"], line["compile_seconds"], line["views_per_second"]) == (10.0, 80.0, 10.0)


@pytest.mark.parametrize("window", [4, 8, 10, 28, 500])
def test_monitors_look_at_the_last_embeddings(window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MONITORED_EMBEDDINGS", window)
    line = meter().line(epoch=1, views=10, learning_rate=0.1)
    last = torch.cat([step(number)[1] for number in range(STEPS)])[-window:]
    assert line["embedding_std"] == history.compute_embedding_std(last)
    assert line["effective_rank"] == history.compute_effective_rank(last)


def test_no_graph_is_kept() -> None:
    made, weight = EpochMeter(batch_size=2), torch.ones(2, 2, requires_grad=True)
    made.add({"loss": weight.sum()}, weight * 2)
    assert not made.sums["loss"].requires_grad
    assert not made.embeddings[0].requires_grad


@pytest.mark.parametrize("at", range(1, STEPS))
def test_going_on_from_a_checkpoint_changes_no_digit(at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MONITORED_EMBEDDINGS", 10)
    file = io.BytesIO()
    torch.save(meter(range(at)).state(), file)
    file.seek(0)
    resumed = EpochMeter(batch_size=4)
    resumed.load_state(torch.load(file, weights_only=True), torch.device("cpu"))
    for number in range(at, STEPS):
        resumed.add(*step(number))
    said = {"epoch": 1, "views": 10, "learning_rate": 0.1}
    assert resumed.line(**said) == meter().line(**said)


def noise(rows: int, features: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, features, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("features", [16, 128, 1024])
def test_directions_spread_over_the_sphere_have_a_std_of_one(features: int) -> None:
    assert compute_embedding_std(noise(256, features)) == pytest.approx(1, abs=0.03)


def test_a_single_direction_has_a_std_of_zero_whatever_the_lengths() -> None:
    lengths = torch.linspace(0.1, 9, 256)[:, None]
    assert compute_embedding_std(noise(1, 64) * lengths) == pytest.approx(0, abs=1e-5)


def test_std_by_hand() -> None:
    """Unit vectors (1, 0) and (0, 1): the standard deviation is sqrt(1/2) in both features, times sqrt(2)."""
    assert compute_embedding_std(torch.tensor([[3.0, 0.0], [0.0, 0.2]])) == pytest.approx(1)


def test_effective_rank_by_hand() -> None:
    """Singular values sqrt(2) * (3, 1): shares 3/4 and 1/4, so exp(entropy) = 4 / 3 ** 0.75."""
    rows = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert compute_effective_rank(rows) == pytest.approx(4 / 3**0.75, rel=1e-5)


@pytest.mark.parametrize("rows", [2, 5, 64, 100, 256])
def test_effective_rank_of_one_point_is_zero(rows: int) -> None:
    assert compute_effective_rank(noise(1, 33).expand(rows, -1)) == 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("monitor", [compute_embedding_std, compute_effective_rank])
def test_narrow_embeddings_are_looked_at_in_float32(monitor, dtype: torch.dtype) -> None:
    rows = noise(32, 16).to(dtype)
    assert monitor(rows) == monitor(rows.float())
