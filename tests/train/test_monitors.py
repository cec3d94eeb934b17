"""The two signs of collapse, on embeddings for which they are known."""

import pytest
import torch

from lowres_ssl.train.history import compute_effective_rank, compute_embedding_std


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
