"""What all tests share: where the real images are, and which tests this machine can run."""

import os
from pathlib import Path

import pytest
import torch

# Two test processes share two cores.
torch.set_num_threads(1)

SHARED = Path(os.environ.get("LOWRES_SSL_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
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
