"""Which images are in which batch, in which order, with which labels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from experiments import STEPS
from tiny_training import CPU, TRAINING, VIEWS
from torch import Tensor

from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.device import MEMORY_FORMATS
from lowres_ssl.seeding import derive_seed
from lowres_ssl.train.batch_reader import BatchReader
from lowres_ssl.train.batches import iter_training_batches
from lowres_ssl.train.state import TrainingOptions


def batches(
    store: ImageStore, rows: range, epoch: int = 0, first: int = 0, **changes: Any
) -> list[tuple[Tensor, Tensor]]:
    training = TrainingOptions(**vars(TRAINING) | changes)
    steps = training.steps_per_epoch(len(rows))
    made = iter_training_batches(
        store,
        BatchReader(store, CPU, "host"),
        np.array(rows),
        VIEWS,
        epoch=epoch,
        steps=range(first, steps),
        batch_size=training.batch_size,
        seed=training.seed,
        ahead=False,
    )
    return [(one, two) for one, two, _ in made]


@dataclass(frozen=True)
class Numbers:
    """In the place of the views: each pixel is the image's number, plus that of the view."""

    def pair(self, images: Tensor, sizes: Any, keys: Any, *, epoch: int) -> tuple[Tensor, Tensor]:
        first = images[:, :1, :2, :2].float().expand(-1, 3, -1, -1)
        return first, first + 1 / 2


def numbers(rows: range, epoch: int, seed: int = 0, ahead: bool = False) -> list[list[tuple[float, float]]]:
    """Which images are in each batch: by the pixels of their first and their second view."""
    images = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 4, 4), dtype=np.uint8)
    store = ImageStore(images, np.full((40, 2), 4, dtype=np.int32), tuple(map(str, range(40))), Path())
    training = TrainingOptions(**vars(TRAINING) | {"keep_last_batch": True, "seed": seed})
    steps = training.steps_per_epoch(len(rows))
    made = iter_training_batches(
        store,
        BatchReader(store, CPU, "host"),
        np.array(rows),
        Numbers(),
        epoch=epoch,
        steps=range(steps),
        batch_size=training.batch_size,
        seed=seed,
        ahead=ahead,
    )
    return [list(zip(one[:, 0, 0, 0].tolist(), two[:, 0, 0, 0].tolist(), strict=True)) for one, two, _ in made]


def test_an_epoch_sees_each_of_the_rows_once_and_no_other() -> None:
    seen = [first for batch in numbers(range(5, 37, 2), epoch=0) for first, _ in batch]
    assert sorted(seen) == list(range(5, 37, 2))


def test_made_ahead_or_not_the_batches_are_the_same() -> None:
    assert numbers(range(40), epoch=1, ahead=True) == numbers(range(40), epoch=1)


def test_the_two_views_of_a_row_are_of_the_same_image() -> None:
    assert all(second == first + 0.5 for batch in numbers(range(40), epoch=0) for first, second in batch)


def test_each_epoch_and_each_seed_has_an_order_of_its_own() -> None:
    orders = [numbers(range(40), epoch=epoch, seed=seed) for epoch in (0, 1) for seed in (0, 1)]
    assert all(one != other for place, one in enumerate(orders) for other in orders[:place])


@pytest.mark.parametrize("first", [0, 1, 3])
def test_batches_from_a_step_on_are_those_of_the_whole_epoch(tiny_store: ImageStore, first: int) -> None:
    whole, rest = batches(tiny_store, range(33), epoch=2), batches(tiny_store, range(33), epoch=2, first=first)
    assert len(rest) == STEPS - first
    assert all(
        torch.equal(*pair)
        for one, other in zip(whole[first:], rest, strict=True)
        for pair in zip(one, other, strict=True)
    )


def test_labels_go_with_their_images(tiny_store: ImageStore) -> None:
    labels = torch.arange(40) * 7
    made = iter_training_batches(
        tiny_store,
        BatchReader(tiny_store, CPU, "host"),
        np.arange(5, 35),
        VIEWS,
        epoch=0,
        steps=range(3),
        batch_size=8,
        seed=0,
        ahead=False,
        labels=labels,
    )
    unlabelled = batches(tiny_store, range(5, 35), batch_size=8)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(derive_seed(0, "order", 0))) + 5
    for step, (batch, plain) in enumerate(zip(made, unlabelled, strict=True)):
        assert torch.equal(batch[0], plain[0])
        assert batch[2] is not None
        assert torch.equal(batch[2], 7 * order[8 * step : 8 * step + 8])


def test_labels_are_taken_where_they_are_and_copied_nowhere(tiny_store: ImageStore) -> None:
    """A copy of a batch's labels to a GPU would wait for it. A tensor of the "meta" device can be copied nowhere."""
    (_, _, own), *_ = iter_training_batches(
        tiny_store,
        BatchReader(tiny_store, CPU, "host"),
        np.arange(40),
        VIEWS,
        epoch=0,
        steps=range(1),
        batch_size=8,
        seed=0,
        ahead=False,
        labels=torch.zeros(40, dtype=torch.int64, device="meta"),
    )
    assert own is not None
    assert own.shape == (8,)
    assert own.is_meta


@pytest.mark.parametrize(("layout", "memory_format"), MEMORY_FORMATS.items(), ids=MEMORY_FORMATS)
def test_views_lie_as_they_are_wanted_to(
    tiny_store: ImageStore, layout: str, memory_format: torch.memory_format
) -> None:
    ((first, second, _),) = iter_training_batches(
        tiny_store,
        BatchReader(tiny_store, CPU, "host"),
        np.arange(8),
        VIEWS,
        epoch=0,
        steps=range(1),
        batch_size=8,
        seed=0,
        ahead=False,
        layout=layout,
    )
    assert first.is_contiguous(memory_format=memory_format)
    assert second.is_contiguous(memory_format=memory_format)


def test_views_are_made_anew_each_epoch_and_lie_channels_last(tiny_store: ImageStore) -> None:
    (one, other), (again, _) = (batches(tiny_store, range(8), epoch=epoch)[0] for epoch in (0, 1))
    assert not torch.equal(one.sum((1, 2, 3)).sort().values, again.sum((1, 2, 3)).sort().values)
    assert not torch.equal(one, other)
    assert one.shape == (8, 3, 12, 12)
    assert one.is_contiguous(memory_format=torch.channels_last)


def test_grey_images_are_seen_as_three_equal_channels(tiny_store: ImageStore) -> None:
    grey = ImageStore(tiny_store.images[:, :1], tiny_store.sizes, tiny_store.ids, tiny_store.path)
    (one, _), *_ = batches(grey, range(33))
    assert torch.equal(one, one[:, :1].expand(-1, 3, -1, -1))
