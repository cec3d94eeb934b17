"""What all tests share: where the real images are, which tests this machine can run, and small stand-ins."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import initialize_config_module
from method_files import METHODS, shrunk
from threadpoolctl import threadpool_limits
from tiny_training import build_tiny_encoder, noise_store
from torch import Tensor, nn

from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.device import disable_tf32
from lowres_ssl.encoders.base import list_fixed_encoders
from lowres_ssl.methods.base import find_method
from lowres_ssl.probes.base import Features

# Two test processes share two cores.
torch.set_num_threads(1)
# What a GPU computes is compared with what a CPU does.
disable_tf32()

SHARED = Path(os.environ.get("LOWRES_SSL_SHARED", Path(__file__).resolve().parents[2] / "shared"))
FIXED = list_fixed_encoders()
SELF_SUPERVISED = [name for name in METHODS if name not in FIXED and not find_method(name).sees_labels]


SLOWEST = ("integration/test_reproduce_script.py", "hostile", "integration", "distributed")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # A process that takes a long file last has the others wait for it.
    def place(item: pytest.Item) -> int:
        return next((at for at, part in enumerate(SLOWEST) if f"tests/{part}" in str(item.path)), len(SLOWEST))

    items.sort(key=place)
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="no CUDA GPU here"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real images and names; the test is skipped where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no real images at {SHARED}; LOWRES_SSL_SHARED names another place")
    return SHARED / "data"


@pytest.fixture(params=METHODS)
def method_arguments(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What each file of conf/method holds, in turn: a new one is tested on arrival."""
    return dict(METHODS[request.param])


@pytest.fixture(params=SELF_SUPERVISED)
def trained_method(request: pytest.FixtureRequest) -> dict[str, Any]:
    """As `method_arguments`, with heads of 16 features at most, of the methods that train without labels."""
    return shrunk(METHODS[request.param])


@pytest.fixture
def tiny_encoder() -> Callable[[int], nn.Module]:
    """A maker of encoders of three convolutions and 8 features, initialised from a seed."""
    return build_tiny_encoder


@pytest.fixture
def tiny_store() -> ImageStore:
    """40 images of 16 x 16 pixels of noise, on no disk."""
    return noise_store()


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


@pytest.fixture
def composing() -> Iterator[None]:
    """Hydra as within a command."""
    with initialize_config_module("lowres_ssl.conf", version_base="1.3"):
        yield
