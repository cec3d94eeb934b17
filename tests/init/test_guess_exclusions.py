"""Masks and contact sheets beside images: known by their names, and by their few colours where a name could be any."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowres_ssl.data.datasets import images_below
from lowres_ssl.init.guess_exclusions import guess_exclusions

Guess = Callable[..., list[tuple[str, int, str]]]


def draw(path: Path, *, is_mask: bool) -> None:
    """A picture, or a mask of one disc."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name) * 31 + sum(map(ord, str(path.name))))
    yy, xx = np.mgrid[0:48, 0:48]
    disc = ((yy - 24) ** 2 + (xx - 24) ** 2 < rng.integers(4, 15) ** 2) * 255
    Image.fromarray((disc if is_mask else rng.integers(0, 255, (48, 48))).astype(np.uint8)).save(path)


@pytest.fixture
def guessed(tmp_path: Path) -> Guess:
    """What is guessed of a folder with these pictures and these masks."""

    def make(pictures: Sequence[str], masks: Sequence[str]) -> list[tuple[str, int, str]]:
        for names, is_mask in ((pictures, False), (masks, True)):
            for name in names:
                draw(tmp_path / name, is_mask=is_mask)
        found = guess_exclusions(list(images_below(tmp_path)))
        return [(each.pattern, each.files, each.what) for each in found]

    return make


def names(form: str, *classes: str, count: int = 6) -> list[str]:
    return [form.format(label=label, n=n) for label in classes for n in range(count)]


MASKS: dict[str, tuple[list[str], list[str], str]] = {
    "beside, several each": (
        names("{label}/{label} ({n}).png", "a", "b"),
        [*names("{label}/{label} ({n})_mask.png", "a", "b"), "a/a (1)_mask_1.png"],
        "*_mask*",
    ),
    "one word": (names("{label}/{n}.png", "a", "b"), names("{label}/{n}mask.png", "a", "b"), "*mask*"),
    "before the name": (names("{label}/{n}.jpg", "a", "b"), names("{label}/mask_{n}.png", "a", "b"), "mask_*"),
    "two kinds of names": (names("{label}/img_{n}.png", "a"), names("{label}/gt_{n}.png", "a"), "gt_*"),
    "ground truth": (names("{label}/s{n}.jpg", "a"), names("{label}/s{n}_ground_truth.png", "a"), "*_ground_truth*"),
    "segmentation": (names("{label}/I_{n}.jpg", "a"), names("{label}/I_{n}_Segmentation.png", "a"), "*_segmentation*"),
    "a folder in each class": (
        names("{label}/images/{n}.png", "a", "b"),
        names("{label}/masks/{n}.png", "a", "b"),
        "masks",
    ),
    "folders on top": (names("images/{label}/{n}.png", "a", "b"), names("GT/{label}/{n}.png", "a", "b"), "GT"),
    "labels of the same names": (names("{label}/{n}.png", "a", "b"), names("labels/{n}.png", ""), "labels"),
    "words run together": (
        names("data/{label}/{n}.png", "a"),
        names("GroundTruth/{label}/{n}.png", "a"),
        "GroundTruth",
    ),
    "another suffix": (names("{label}/{n}.jpg", "a", "b"), names("{label}/{n}.png", "a", "b"), "*.png"),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_are_left_out(guessed: Guess, kind: str) -> None:
    pictures, masks, pattern = MASKS[kind]
    assert guessed(pictures, masks) == [(pattern, len(masks), "masks")]


PICTURES: dict[str, list[str]] = {
    "faces with and without": [*names("mask/{n}.png", ""), *names("no_mask/{n}.png", "")],
    "classes called so": [*names("labels/{n}.png", ""), *names("lesion/{n}.png", "")],
    "a word in every name": names("{label}/lesion_{n}_roi.png", "a", "b"),
    "the whole set": names("Set_with_GT/{label}/{n}.png", "a", "b"),
    "two suffixes": [*names("{label}/{n}.jpg", "a"), *names("{label}/{n}.png", "a")],
    "a word that many names have": names("{label}/sheet_{n}.png", "a", "b"),
    "part of a word": [*names("{label}/{n}.png", "a"), "a/worksheets.png"],
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_of_such_names_stay(guessed: Guess, kind: str) -> None:
    assert not guessed(PICTURES[kind], [])


def test_tiles_of_one_colour_stay(guessed: Guess) -> None:
    assert not guessed(names("tissue/{n}.png", ""), names("empty/{n}.png", ""))


@pytest.mark.parametrize(
    ("sheets", "pattern"),
    [
        (["a/contact_sheet.png", "b/contact_sheet.png"], "*contact_sheet*"),
        (["a/Montage of a.jpg"], "*montage*"),
        (["a/overview.png"], "*overview*"),
        (["a/1_legend.png"], "*legend*"),
    ],
)
def test_sheets_of_many_images_are_left_out(guessed: Guess, sheets: list[str], pattern: str) -> None:
    assert guessed([*names("{label}/{n}.png", "a", "b"), *sheets], []) == [(pattern, len(sheets), "sheets of images")]


def test_each_file_counts_once_and_damaged_ones_are_no_masks(guessed: Guess, tmp_path: Path) -> None:
    (tmp_path / "a" / "masks").mkdir(parents=True)
    (tmp_path / "a" / "masks" / "x.png").write_bytes(b"no image")
    masks = [*names("{label}/masks/{n}_mask.png", "a", "b"), *names("{label}/{n}_mask.png", "a", "b")]
    found = guessed(names("{label}/{n}.png", "a", "b"), masks)
    assert found == [("masks", 13, "masks"), ("*_mask*", 12, "masks")]
