"""Wherever the images are, a batch is the same; they are copied to a GPU only where a step leaves room for them.

PyTorch's "meta" device, which holds no numbers, stands for the GPU where none is there.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from experiments import Make
from tiny_training import CPU, VIEWS

from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.errors import ConfigError, TrainingError
from lowres_ssl.train import batches
from lowres_ssl.train.batches import USABLE_MEMORY_SHARE, BatchReader, copy_to_device, measure_free_memory
from lowres_ssl.train.loop import compute_memory_growth

ROWS = np.array([5, 0, 5, 9])
GPU = torch.device("meta")


@pytest.fixture
def store() -> ImageStore:
    images = np.random.default_rng(0).integers(0, 256, (10, 3, 8, 8), dtype=np.uint8)
    return ImageStore(images, np.full((10, 2), 8, dtype=np.int32), tuple(map(str, range(10))), Path())


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The GPU's in bytes, to be changed: free to all, reserved by this process, of that allocated to tensors, and the
    most that was allocated."""
    now = {"free": 0, "reserved": 0, "allocated": 0, "peak": 0}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (now["free"], 10**12))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: now["reserved"])
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: now["allocated"])
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: now["peak"])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda _: None)
    return now


@pytest.mark.gpu
@pytest.mark.parametrize("place", ["auto", "device", "host"])
def test_a_batch_on_the_gpu_is_the_same_wherever_the_images_are(store: ImageStore, place: str) -> None:
    take = BatchReader(store, torch.device("cuda"), place)
    for _ in range(2):
        batch = take(ROWS)
        assert batch.device.type == "cuda"
        np.testing.assert_array_equal(batch.cpu().numpy(), store.images[ROWS])
        take.copy_if_room()
    assert (take.resident is None) == (place == "host")


def test_free_is_what_the_largest_step_leaves(memory: dict[str, int]) -> None:
    """Of 16 GB 4 are others' and 6 ours, of which 1 stays between steps; the largest step took 5 beside that."""
    memory |= {"free": 6, "reserved": 6, "allocated": 1, "peak": 6}
    assert measure_free_memory(GPU) == 6 + (6 - 1) - 5
    assert measure_free_memory(GPU, growth=2) == measure_free_memory(GPU) - 5


def test_auto_begins_on_the_host_and_moves_where_a_step_leaves_room(store: ImageStore, memory: dict[str, int]) -> None:
    enough = int(np.ceil(store.images.nbytes / USABLE_MEMORY_SHARE))
    memory |= {"free": enough, "reserved": 8, "allocated": 3, "peak": 8}
    take = BatchReader(store, GPU, "auto")
    assert take.resident is None
    take.copy_if_room()
    assert take.resident is not None
    assert take(ROWS).shape == (4, 3, 8, 8)
    for free, growth in ((enough - 2, 1.0), (enough, 4.0)):
        memory["free"] = free
        full = BatchReader(store, GPU, "auto")
        full.copy_if_room(growth)
        assert full.resident is None


def test_a_store_that_does_not_fit_is_refused_where_the_device_was_asked_for(
    store: ImageStore, memory: dict[str, int]
) -> None:
    memory["free"] = store.images.nbytes
    assert BatchReader(store, GPU, "device").resident is not None
    memory["free"] = 1000
    with pytest.raises(ConfigError, match=r"^store=device: .* take 2 kB, wanted at most the 1 kB .*; type store=host"):
        BatchReader(store, GPU, "device")


@pytest.mark.parametrize("block", [1, 500, 10**6])
def test_images_are_copied_block_by_block(store: ImageStore, monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(batches, "COPY_BLOCK_BYTES", block)
    np.testing.assert_array_equal(copy_to_device(store.images, CPU).numpy(), store.images)


def test_out_of_memory_beside_the_images_advises_the_host_first(store: ImageStore, memory: dict[str, int]) -> None:
    memory["free"] = 10**9
    there, elsewhere = BatchReader(store, GPU, "device"), BatchReader(store, GPU, "host")
    told = r"images take 2 kB; type store=host; where that is not enough, batch_size=32"
    for error in (torch.OutOfMemoryError("CUDA out of memory."), RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when")):
        with pytest.raises(TrainingError, match=told), there.explain_out_of_memory(64):
            raise error
        with pytest.raises(type(error)), elsewhere.explain_out_of_memory(64):
            raise error
    with pytest.raises(RuntimeError, match="another"), there.explain_out_of_memory(64):
        raise RuntimeError("another")


def test_the_loop_decides_after_its_first_epoch(experiment: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the peak of a step is known: not before, so that images never take the memory that a step needs."""
    settled = list[int]()
    run = experiment()
    monkeypatch.setattr(BatchReader, "copy_if_room", lambda _take, growth: settled.append(len(run.histories)))
    run.run()
    assert settled == [1, 2]


def test_steps_of_larger_images_to_come_are_allowed_for() -> None:
    def of(size: int) -> Any:
        views = object.__new__(type(VIEWS))
        views.image_size = size
        return views

    small, large = of(32), of(64)
    assert compute_memory_growth(1, [small, small, large]) == 1 + 4
    assert compute_memory_growth(3, [small, small, large]) == compute_memory_growth(1, [large, large]) == 1
