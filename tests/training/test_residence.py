"""Wherever the images are, a batch is the same; what the memory does not hold is refused or left on the host."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lowres_ssl.data.store import ImageStore
from lowres_ssl.errors import ConfigError
from lowres_ssl.training import residence
from lowres_ssl.training.residence import fits, reader

ROWS = np.array([5, 0, 5, 9])


@pytest.fixture
def store() -> ImageStore:
    images = np.random.default_rng(0).integers(0, 256, (10, 3, 8, 8), dtype=np.uint8)
    return ImageStore(images, np.full((10, 2), 8, dtype=np.int32), tuple(map(str, range(10))), Path())


@pytest.mark.parametrize("place", ["auto", "device", "host"])
def test_a_batch_is_the_same_wherever_the_images_are(store: ImageStore, place: str) -> None:
    take = reader(store, torch.device("cpu"), place)
    np.testing.assert_array_equal(take(ROWS).numpy(), store.images[ROWS])


@pytest.mark.gpu
@pytest.mark.parametrize("place", ["auto", "device", "host"])
def test_a_batch_on_the_gpu_is_the_same_wherever_the_images_are(store: ImageStore, place: str) -> None:
    batch = reader(store, torch.device("cuda"), place)(ROWS)
    assert batch.device.type == "cuda"
    np.testing.assert_array_equal(batch.cpu().numpy(), store.images[ROWS])


def test_half_of_the_free_memory_of_a_gpu_may_be_taken(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    free = 2 * store.images.nbytes
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free - 5, free))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 8)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 3)
    assert fits(store, torch.device("cuda"))
    free -= 1
    assert not fits(store, torch.device("cuda"))


def test_a_store_that_does_not_fit_is_refused_where_the_device_was_asked_for(
    store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> bool:
        return False

    monkeypatch.setattr(residence, "fits", full)
    with pytest.raises(ConfigError, match=r"^store=device: .* try store=host"):
        reader(store, torch.device("cpu"), "device")
