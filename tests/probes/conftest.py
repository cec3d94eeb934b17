"""Helpers of the probe tests: made-up features, one Gaussian cloud a class."""

from collections.abc import Callable, Iterator

import pytest
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from lowres_ssl.probes.base import Features


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    """scikit-learn's threads wait for each other where other test processes hold the cores: eight times slower."""
    with threadpool_limits(1):
        yield


@pytest.fixture
def clouds() -> Callable[..., Features]:
    """Features of `classes` clouds whose middles lie `apart` from the origin; the sides have these numbers a class."""

    def make(
        train: int = 20,
        validation: int = 6,
        test: int = 8,
        *,
        classes: int = 3,
        width: int = 5,
        apart: float = 1.0,
        seed: int = 0,
    ) -> Features:
        generator = torch.Generator().manual_seed(seed)
        middles = apart * torch.randn(classes, width, generator=generator)

        def side(count: int) -> tuple[Tensor, Tensor]:
            labels = torch.arange(classes).repeat(count)
            return middles[labels] + torch.randn(len(labels), width, generator=generator), labels

        train_features, train_labels = side(train)
        validation_features, validation_labels = side(validation)
        return Features(
            train=train_features,
            train_labels=train_labels,
            validation=validation_features,
            validation_labels=validation_labels,
            test=side(test)[0],
            classes=classes,
        )

    return make


@pytest.fixture
def in_double() -> Iterator[None]:
    """Features and heads in float64, where two ways to the same numbers agree.

    In float32 they drift apart: BatchNorm takes the first layer's bias out again, so the gradient of it is rounding
    noise, and Adam makes steps of the size of the learning rate out of it.
    """
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)
