"""How large a config has images stored, which pre-train, and what is noted before and after they are decoded."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from in_process import compose_config

from lowres_ssl.data.catalogue import Catalogue, ImageRecord
from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.data.prepare import (
    describe_blank_images,
    drop_known_unreadable,
    get_storage_size,
    select_pretraining_images,
)
from lowres_ssl.data.splits import make_split

BREAST = [(460, 700)] * 3  # as the images of BreaKHis


def stored_at(sizes: list[tuple[int, int]], *words: str) -> int:
    records = [ImageRecord(Path(), f"{n}.png", "a", None, None, *size, f"{n}") for n, size in enumerate(sizes)]
    catalogue = Catalogue("made-up", Path("nowhere"), tuple(records), ())
    config = compose_config("dataset=breast", "backbone=resnet18", "epochs=1", *words)
    return get_storage_size(config.dataset, catalogue, config.image_size)


@pytest.mark.parametrize(
    ("words", "side"),
    [
        (("recipe=paper",), 448),
        (("recipe=tuned", "image_size=64"), 128),
        (("recipe=released_code",), 700),
        (("recipe=released_code", "image_size=64"), 512),
        (("recipe=released_code", "dataset.storage_size=null"), 448),
        (("dataset.storage_size=100",), 100),
    ],
)
def test_images_are_stored_at_twice_the_views_side_or_at_what_is_asked_for(words: tuple[str, ...], side: int) -> None:
    assert stored_at(BREAST, *words) == side


def test_images_are_not_stored_above_the_median_shorter_side_nor_above_the_longest_of_all() -> None:
    assert stored_at([(30, 20), (20, 41), (21, 25), (22, 25)]) == 20
    assert stored_at([(30, 20), (20, 41), (25, 25)], "dataset.storage_size=original") == 41


def test_images_that_only_decoding_finds_unreadable_are_noted_before_it(tmp_path: Path) -> None:
    catalogue = Catalogue("made-up", tmp_path, (), ())
    for typed in (True, False):
        dataset = compose_config("dataset=breast", f"dataset.skip_unreadable={typed}").dataset
        notes = drop_known_unreadable(dataset, catalogue, tmp_path / "store").notes
        assert ["still among these numbers" in note for note in notes] == [True] * typed


def test_half_of_the_images_is_of_whole_groups_and_none_of_the_test_images(made_up: Callable[..., Catalogue]) -> None:
    rows = [(f"{n:02}.png", "ab"[n % 2], f"p{n // 3}", None, None) for n in range(60)]
    catalogue = made_up(rows)
    split = make_split(catalogue, kind="patient", seed=0)
    whole, half = (select_pretraining_images(catalogue, split, name) for name in ("training", "half"))
    assert whole.tolist() == split.train.tolist()
    assert set(half) < set(whole)
    assert abs(2 * len(half) - len(whole)) <= 3, "half, but for half a group"
    assert len(half) == 3 * len(set(catalogue.groups[half]))
    assert select_pretraining_images(catalogue, split, "all").tolist() == list(range(60))


@pytest.mark.parametrize(("blank", "note"), [(0, None), (1, None), (4, "4 of 40 images looked at are of one colour")])
@pytest.mark.parametrize("shade", [0, 90, 255])
def test_images_of_one_colour_are_counted(blank: int, note: str | None, shade: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 3, 48, 48), dtype=np.uint8)
    images[:blank] = shade
    images[:blank, :, 0, 0] = 20  # not byte for byte the same
    store = ImageStore(images, np.full((40, 2), 48, dtype=np.int32), tuple(map(str, range(40))), Path())
    notes = describe_blank_images(store)
    assert [each[: len(note or "")] for each in notes] == ([] if note is None else [note])


def test_half_of_the_images_leaves_out_a_group_that_is_nearly_all(made_up: Callable[..., Catalogue]) -> None:
    rows = [(f"{n:02}.png", "ab"[n % 2], "large" if n < 50 else f"p{n}", "train", None) for n in range(60)]
    catalogue = made_up([*rows, ("x.png", "a", "x", "test", None), ("y.png", "b", "y", "test", None)])
    split = make_split(catalogue, kind="official", seed=0)
    half = select_pretraining_images(catalogue, split, "half")
    assert 0 < len(half) < len(split.train)
