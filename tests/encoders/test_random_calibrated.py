"""BatchNorm statistics of a random encoder, taken from images: the right averages, and nothing else changes."""

import pytest
import torch
from torch import Tensor, nn

from lowres_ssl.encoders.random_calibrated import CalibratedRandomEncoder
from lowres_ssl.errors import ConfigError


def encoder() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.5), nn.Flatten(), nn.Linear(4 * 36, 5)
    )


def images() -> list[Tensor]:
    """Batches of unlike brightness and size."""
    generator = torch.Generator().manual_seed(1)
    return [shade + torch.rand(size, 3, 8, 8, generator=generator) for shade, size in ((0, 6), (1, 6), (3, 5))]


def test_statistics_are_means_over_the_batches() -> None:
    adapted, first = encoder(), encoder()[0]
    CalibratedRandomEncoder().adapt(adapted, images())
    outputs = [first(batch).detach() for batch in images()]
    norm = adapted[1]
    assert isinstance(norm, nn.BatchNorm2d)
    means = torch.stack([output.mean(dim=(0, 2, 3)) for output in outputs]).mean(dim=0)
    variances = torch.stack([output.var(dim=(0, 2, 3)) for output in outputs]).mean(dim=0)
    torch.testing.assert_close(norm.running_mean, means)
    torch.testing.assert_close(norm.running_var, variances)


def test_no_weight_changes_and_the_encoder_is_left_for_evaluation() -> None:
    adapted, wanted = encoder(), encoder()
    CalibratedRandomEncoder().adapt(adapted, images())
    for (name, one), (_, other) in zip(adapted.named_parameters(), wanted.named_parameters(), strict=True):
        assert torch.equal(one, other), name
        assert one.grad is None
    assert not any(module.training for module in adapted.modules())
    norm = adapted[1]
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.momentum == 0.1


def test_encoder_without_batch_norm_is_refused() -> None:
    bare = nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.LayerNorm(5))
    with pytest.raises(ConfigError, match="no BatchNorm layer, so it would be that of method=random; type method=ran"):
        CalibratedRandomEncoder().adapt(bare, images())
