"""What is no image of a set: masks and sheets by their names or few colours; other files, with what to do with them."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowres_ssl.data.image_folder import scan_folder
from lowres_ssl.init.left_out import count_other_files, find_second_formats, format_other_files, guess_exclusions

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
        found = guess_exclusions(scan_folder(tmp_path).images)
        return [(each.pattern, each.files, each.what) for each in found]

    return make


def names(form: str, classes: str = "ab", count: int = 6) -> list[str]:
    return [form.format(label=label, n=n) for label in classes for n in range(count)]


# The names of pictures, of their masks, and the pattern of the masks.
MASKS: dict[str, tuple[list[str], list[str], str]] = {
    "beside, several each": (
        names("{label}/{label} ({n}).png"),
        [*names("{label}/{label} ({n})_mask.png"), "a/a (1)_mask_1.png"],
        "*_mask*",
    ),
    "one word": (names("{label}/{n}.png"), names("{label}/{n}mask.png"), "*mask*"),
    "before the name": (names("{label}/{n}.jpg"), names("{label}/mask_{n}.png"), "mask_*"),
    "two kinds of names": (names("{label}/img_{n}.png"), names("{label}/gt_{n}.png"), "gt_*"),
    "ground truth": (names("{label}/s{n}.jpg"), names("{label}/s{n}_ground_truth.png"), "*_ground_truth*"),
    "segmentation": (names("{label}/I_{n}.jpg"), names("{label}/I_{n}_Segmentation.png"), "*_segmentation*"),
    "a folder in each class": (names("{label}/images/{n}.png"), names("{label}/masks/{n}.png"), "masks"),
    "folders on top": (names("images/{label}/{n}.png"), names("GT/{label}/{n}.png"), "GT"),
    "labels of the same names": (names("{label}/{n}.png"), names("labels/{n}.png", "a"), "labels"),
    "words run together": (names("data/{label}/{n}.png"), names("GroundTruth/{label}/{n}.png"), "GroundTruth"),
    "another suffix": (names("{label}/{n}.jpg"), names("{label}/{n}.png"), "*.png"),
}


@pytest.mark.parametrize("kind", MASKS)
def test_masks_are_left_out(guessed: Guess, kind: str) -> None:
    pictures, masks, pattern = MASKS[kind]
    assert guessed(pictures, masks) == [(pattern, len(masks), "masks")]


AUGMENTED: dict[str, tuple[list[str], list[str], str]] = {
    "beside the originals": (
        names("Original Images/{label}/{n}.png"),
        names("Augmented Images/{label}_augmented/{n}.png"),
        "Augmented Images",
    ),
    "words run together": (
        names("OriginalDataset/{label}/{n}.png"),
        names("AugmentedBrainDataset/{label}/x{n}.png"),
        "AugmentedBrainDataset",
    ),
    "of the training images": (
        [*names("train/{n}.png", "a"), *names("test/{n}.png", "a")],
        names("train_aug/{n}_.png", "a"),
        "train_aug",
    ),
    "names": (names("{label}/i{n}.png"), names("{label}/i{n}_aug_7.png"), "*_aug*"),
    "the only images of another class": (
        [*names("{label}/original/{n}.png", "a"), *names("{label}/augmented/{n}.png", "b")],
        names("{label}/augmented/{n}.png", "a"),
        "a/augmented",
    ),
}


@pytest.mark.parametrize("kind", AUGMENTED)
def test_augmented_copies_are_left_out(guessed: Guess, kind: str) -> None:
    pictures, copies, pattern = AUGMENTED[kind]
    assert guessed([*pictures, *copies], []) == [(pattern, len(copies), "augmented copies")]


PICTURES: dict[str, list[str]] = {
    "faces with and without": [*names("mask/{n}.png", "a"), *names("no_mask/{n}.png", "a")],
    "classes called so": [*names("labels/{n}.png", "a"), *names("lesion/{n}.png", "a")],
    "a word in every name": names("{label}/lesion_{n}_roi.png"),
    "the whole set": names("Set_with_GT/{label}/{n}.png"),
    "two suffixes": [*names("{label}/{n}.jpg", "a"), *names("{label}/{n}.png", "a")],
    "a word that many names have": names("{label}/sheet_{n}.png"),
    "augmented alone": [*names("Augmented/{label}/{n}.png"), "example/1.png"],
    "augmented to train": [*names("train_augmented/{label}/{n}.png"), *names("test/{label}/{n}.png")],
    "in August": names("{label}/scan_{n}_august.png"),
    "part of a word": [*names("{label}/{n}.png"), "a/worksheets.png"],
}


@pytest.mark.parametrize("kind", PICTURES)
def test_pictures_of_such_names_stay(guessed: Guess, kind: str) -> None:
    assert not guessed(PICTURES[kind], [])


def test_tiles_of_one_colour_stay(guessed: Guess) -> None:
    assert not guessed(names("tissue/{n}.png", "a"), names("empty/{n}.png", "a"))


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
    assert guessed([*names("{label}/{n}.png"), *sheets], []) == [(pattern, len(sheets), "sheets of images")]


def test_each_file_counts_once_and_damaged_ones_are_no_masks(guessed: Guess, tmp_path: Path) -> None:
    (tmp_path / "a" / "masks").mkdir(parents=True)
    (tmp_path / "a" / "masks" / "x.png").write_bytes(b"no image")
    masks = [*names("{label}/masks/{n}_mask.png"), *names("{label}/{n}_mask.png")]
    found = guessed(names("{label}/{n}.png"), masks)
    assert found == [("masks", 13, "masks"), ("*_mask*", 12, "masks")]


def test_files_are_counted_by_suffix_and_volumes_with_both_of_theirs(tmp_path: Path) -> None:
    for name in ("a/1.NII.gz", "a/2.nii.gz", "b/x.tar.gz", "b/1.png", "read me.txt", "README", ".hidden", "x.y.mha"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "outputs" / "stores").mkdir(parents=True)
    (tmp_path / "outputs" / "stores" / "index-12345678.json").touch()
    assert count_other_files(scan_folder(tmp_path)) == Counter({".nii.gz": 2, ".gz": 1, ".txt": 1, "": 1, ".mha": 1})


def test_each_kind_is_named_with_what_to_do() -> None:
    others = Counter({".nii.gz": 8, ".mha": 1, ".svs": 1, ".avi": 2, ".gif": 3, ".zip": 1, ".txt": 1200, "": 1})
    assert format_other_files(others).split("; ") == [
        "9 volumes (8 .nii.gz, 1 .mha): save the slices that count as .png (docs/own_data.md shows how)",
        "1 slide (1 .svs): save tiles of it as .png",
        "2 videos (2 .avi): save frames of it as .png",
        "3 pictures (3 .gif): save it as .png",
        "1 archive (1 .zip): unpack it",
        "1,201 other files (1,200 .txt, 1 without a suffix)",
    ]
    assert format_other_files(Counter()) == ""


def test_pictures_in_two_formats_are_found() -> None:
    ids = [f"a/{n}.{suffix}" for n in range(4) for suffix in ("jpg", "png")]
    assert find_second_formats(ids) == ("a/0.jpg", "a/0.png")
    assert find_second_formats([*ids[:2], "a/1.png", "a/2.png", "b/1.png"]) is None
