"""Which images are in which batch, in which order, with which labels and in which kinds of views."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from experiments import STEPS, Threads
from numpy.typing import NDArray
from tiny_training import CPU, TRAINING, VIEWS
from torch import Tensor

from lowres_ssl.augment.augmentation import Augmentation
from lowres_ssl.augment.sampling import FULL_VIEW, ViewKind, hash_image_ids
from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.device import CHANNELS_LAST, MEMORY_FORMATS
from lowres_ssl.seeding import derive_seed
from lowres_ssl.train.batches import BatchReader, TrainingBatch, choose_partners, iter_training_batches, prefetch
from lowres_ssl.train.state import TrainingData
from lowres_ssl.train.world import SINGLE_PROCESS


def batches(
    store: ImageStore,
    rows: range,
    *,
    epoch: int = 0,
    first: int = 0,
    views: Augmentation = VIEWS,
    kinds: Sequence[ViewKind] = (FULL_VIEW, FULL_VIEW),
    labels: NDArray[np.int64] | None = None,
    groups: NDArray[np.int64] | None = None,
    layout: str = CHANNELS_LAST,
    **changes: Any,
) -> list[TrainingBatch]:
    made = iter_training_batches(
        TrainingData(store, np.array(rows), [views] * 3, labels=labels, groups=groups),
        BatchReader(store, CPU, "host"),
        kinds,
        epoch=epoch,
        first_step=first,
        options=replace(TRAINING, **changes),
        processes=SINGLE_PROCESS,
        layout=layout,
    )
    return list(made)


class Numbers:
    """In the place of the views: each pixel is the image's number, plus half that of the view."""

    def __call__(self, images: Tensor, sizes: Any, keys: Any, *, epoch: int, views: Sequence[int]) -> list[Tensor]:
        first = images[:, :1, :2, :2].float().expand(-1, 3, -1, -1)
        return [first + number / 2 for number in views]


def numbers(rows: range, epoch: int, **settings: Any) -> list[list[tuple[float, float]]]:
    """Which images are in each batch: by the pixels of their first and their second view."""
    images = np.arange(40, dtype=np.uint8)[:, None, None, None] * np.ones((1, 3, 4, 4), dtype=np.uint8)
    store = ImageStore(images, np.full((40, 2), 4, dtype=np.int32), tuple(map(str, range(40))), Path())
    made = batches(store, rows, epoch=epoch, views=Numbers(), keep_last_batch=True, **settings)
    return [list(zip(*(view[:, 0, 0, 0].tolist() for view in views), strict=True)) for views, _ in made]


def test_an_epoch_sees_each_of_the_rows_once_and_no_other_in_two_views_of_the_same_image() -> None:
    seen = [pair for batch in numbers(range(5, 37, 2), epoch=0) for pair in batch]
    assert sorted(first for first, _ in seen) == list(range(5, 37, 2))
    assert all(second == first + 0.5 for first, second in seen)


def test_each_epoch_and_each_seed_has_an_order_of_its_own() -> None:
    orders = [numbers(range(40), epoch=epoch, seed=seed) for epoch in (0, 1) for seed in (0, 1)]
    assert all(one != other for place, one in enumerate(orders) for other in orders[:place])


@pytest.mark.parametrize("first", [0, 1, 3])
def test_batches_from_a_step_on_are_those_of_the_whole_epoch_ahead_or_not(tiny_store: ImageStore, first: int) -> None:
    whole, rest = batches(tiny_store, range(33), epoch=2), batches(tiny_store, range(33), epoch=2, first=first)
    assert len(rest) == STEPS - first
    for (one, _), (other, _), (ahead, _) in zip(whole[first:], rest, prefetch(rest), strict=True):
        assert all(torch.equal(each, view) for views in (other, ahead) for each, view in zip(one, views, strict=True))


def test_labels_go_with_their_images(tiny_store: ImageStore) -> None:
    made = batches(tiny_store, range(5, 35), labels=np.arange(40) * 7)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(derive_seed(0, "order", 0))) + 5
    for step, ((views, labels), (plain, none)) in enumerate(zip(made, batches(tiny_store, range(5, 35)), strict=True)):
        assert torch.equal(views[0], plain[0])
        assert none is None
        assert torch.equal(labels, 7 * order[8 * step : 8 * step + 8])


@pytest.mark.parametrize(("layout", "memory_format"), MEMORY_FORMATS.items(), ids=MEMORY_FORMATS)
def test_views_are_made_anew_each_epoch_and_lie_as_they_are_wanted_to(
    tiny_store: ImageStore, layout: str, memory_format: torch.memory_format
) -> None:
    ((one, other), _), ((again, _), _) = (
        batches(tiny_store, range(8), epoch=epoch, layout=layout)[0] for epoch in (0, 1)
    )
    assert not torch.equal(one.sum((1, 2, 3)).sort().values, again.sum((1, 2, 3)).sort().values)
    assert not torch.equal(one, other)
    assert one.shape == (8, 3, 12, 12)
    assert one.is_contiguous(memory_format=memory_format)
    assert other.is_contiguous(memory_format=memory_format)


def test_further_kinds_of_views_leave_the_first_two_as_they_are(tiny_store: ImageStore) -> None:
    """A small crop is what an augmentation of that size would make of the same draws."""
    small = ViewKind(0.5, crop_scale=(0.05, 0.2))
    (views, _), *_ = batches(tiny_store, range(33), kinds=(FULL_VIEW, FULL_VIEW, small, small))
    (pair, _), *_ = batches(tiny_store, range(33))
    assert [view.shape[-1] for view in views] == [12, 12, 6, 6]
    assert all(torch.equal(one, two) for one, two in zip(views, pair, strict=False))
    own = replace(VIEWS, image_size=6, crop_scale=(0.05, 0.2))
    (wanted, _), *_ = batches(tiny_store, range(33), views=own, kinds=(FULL_VIEW,) * 4)
    assert all(torch.equal(one, two) for one, two in zip(views[2:], wanted[2:], strict=True))


GROUPS = np.array([0, 0, 0, 1, 1, 2, -1, -1, 3, 3])
KEYS = hash_image_ids([str(number) for number in range(len(GROUPS))])


def test_partners_are_other_training_images_of_the_same_patient() -> None:
    """Row 9 is a test image: its patient has one training image, which is its own partner."""
    rows = np.array([8, 0, 4, 2, 1, 3, 5, 6, 7])
    for epoch in range(20):
        partners = choose_partners(rows, GROUPS, KEYS, seed=3, epoch=epoch)
        assert all(GROUPS[partners[row]] == GROUPS[row] and partners[row] in rows for row in rows)
        assert all((partners[row] == row) == (row in (5, 6, 7, 8)) for row in rows)
        again = choose_partners(rows[::-1], GROUPS, KEYS, seed=3, epoch=epoch)
        assert np.array_equal(again, partners)


def test_every_other_image_of_a_patient_becomes_a_partner_as_often() -> None:
    drawn = [choose_partners(np.arange(10), GROUPS, KEYS, seed=3, epoch=epoch)[0] for epoch in range(400)]
    counts = np.bincount(drawn, minlength=3)
    assert counts[0] == 0
    assert abs(counts[1] - 200) < 60  # six standard deviations of a fair coin
    assert counts[1] + counts[2] == 400


def test_second_view_is_of_the_partner_and_the_first_of_the_image() -> None:
    seen = dict(pair for batch in numbers(range(10), epoch=1, groups=GROUPS, batch_size=5) for pair in batch)
    partners = choose_partners(np.arange(10), GROUPS, KEYS, seed=derive_seed(TRAINING.seed, "positives"), epoch=1)
    assert seen == {row: partner + 0.5 for row, partner in enumerate(partners)}


def test_number_of_threads_changes_no_view(tiny_store: ImageStore, threads: Threads) -> None:
    made = []
    for number in (1, 2):
        threads(number)
        made.append([torch.cat(views) for views, _ in batches(tiny_store, range(40))])
    assert len(made[0]) == 5
    assert all(torch.equal(one, two) for one, two in zip(*made, strict=True))


def prefetching() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("prefetch")]


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_everything_arrives_in_order_and_the_thread_ends(depth):
    assert list(prefetch(range(50), depth)) == list(range(50))
    assert not prefetching()


def test_an_exception_arrives_after_the_items_before_it():
    def items() -> Iterator[int]:
        yield 1
        yield 2
        raise KeyError("broken image")

    ahead = prefetch(items())
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(KeyError, match="broken image") as caught:
        next(ahead)
    assert "items" in [entry.name for entry in caught.traceback]  # it still shows where it was raised
    assert not prefetching()


@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("taken", [1, 2, 7])
def test_closing_early_ends_the_thread_and_closes_the_source(depth, taken):
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            number = 0
            while True:
                yield number
                number += 1
        finally:
            closed.set()

    ahead = prefetch(endless(), depth)
    assert [next(ahead) for _ in range(taken)] == list(range(taken))
    ahead.close()
    assert not prefetching()
    assert closed.is_set()


def test_it_makes_no_more_than_depth_items_ahead():
    made = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    ahead = prefetch(items(), depth=2)
    next(ahead)
    deadline = time.monotonic() + 5
    while len(made) < 3 and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.05)
    assert len(made) == 3  # one taken, two waiting
    ahead.close()
