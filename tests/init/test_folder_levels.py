"""Levels of folders: the top one is the class, or a part, a site, an organ or a patient; names that are no classes."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from lowres_ssl.data.datasets import Listing, build_source
from lowres_ssl.data.image_folder import ImageFolder, scan_folder
from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.init.folder_levels import FolderReading, are_no_classes, read_file_names, read_folder_levels
from lowres_ssl.init.inspect_folder import read_class_folders
from lowres_ssl.init.left_out import find_unused_folders
from lowres_ssl.init.typed_input import TypedInput


def read(root: Path, ids: Iterable[str], **typed: Any) -> FolderReading:
    for id in ids:
        (root / id).parent.mkdir(parents=True, exist_ok=True)
        (root / id).touch()
    return read_folder_levels(scan_folder(root), TypedInput(**typed))


def listings(root: Path, reading: FolderReading) -> list[Listing]:
    return build_source("folder", reading.options).listings(scan_folder(root))


def classes(root: Path, reading: FolderReading) -> set[str]:
    return {each.label for each in listings(root, reading)}


def spread(*levels: Iterable[str], each: int = 6) -> list[str]:
    """`each` images in each folder of all combinations."""
    folders = [""]
    for names in levels:
        folders = [f"{folder}{name}/" for folder in folders for name in names]
    return [f"{folder}{folder.replace('/', '-')}{number}.png" for folder in folders for number in range(each)]


CASES: dict[str, tuple[list[str], set[str]]] = {
    "class": (spread("ab"), {"a", "b"}),
    "fold/class": (spread(["fold_0", "fold_1"], ["all", "hem"]), {"all", "hem"}),
    "number/class": (spread("12345", "ab"), {"a", "b"}),
    "site/class": (spread(["site A", "site B"], ["neg", "pos"]), {"neg", "pos"}),
    "class/site": (spread(["neg", "pos"], ["site A", "site B"]), {"neg", "pos"}),
    "organ/class": (
        [*spread(["colon"], ["aca", "n"]), *spread(["lung"], ["scc", "lung_n"])],
        {"aca", "n", "scc", "lung_n"},
    ),
    "organ/class/patient": (spread(["lung", "colon"], ["ill", "well"], ["p1", "p2"]), {"ill", "well"}),
    "magnification/class": (spread(["40X", "100X"], ["benign", "malignant"]), {"benign", "malignant"}),
    "class/magnification": (spread(["benign", "malignant"], ["40X", "100X"]), {"benign", "malignant"}),
    "class/patient": (spread(["benign", "malignant"], "123456789"), {"benign", "malignant"}),
    "organ/grade": (spread(["knee", "hip"], "01234"), set("01234")),
    "patient/class": (spread(map(str, range(8863, 8883)), "01"), {"0", "1"}),
    "organ/patient/study_class": (
        spread(["WRIST", "HAND"], ["patient1", "patient2", "patient3"], ["study1_positive", "study2_negative"]),
        {"positive", "negative"},
    ),
    "patient_class": ([f"patient{n}_{'ab'[n % 2]}/{i}.png" for n in range(20) for i in (1, 2)], {"a", "b"}),
    "train/site/class": (spread(["train", "test"], ["site 1", "site 2"], "ab"), {"a", "b"}),
    "site/fold/class": (spread(["site 1", "site 2"], ["fold_0", "fold_1"], ["ill", "well"]), {"ill", "well"}),
    "class/images": (spread(["COVID", "Normal"], ["images", "masks"]), {"COVID", "Normal"}),
}


@pytest.mark.parametrize("case", CASES)
def test_level_of_the_classes(tmp_path: Path, case: str) -> None:
    ids, wanted = CASES[case]
    assert classes(tmp_path, read(tmp_path, ids)) == wanted


def test_both_readings_are_named_and_the_other_is_one_command_away(tmp_path: Path) -> None:
    ids = spread(["fold_0", "fold_1", "fold_2"], ["all", "hem"])
    reading = read(tmp_path, ids)
    (note,) = reading.notes
    assert "all, hem" in note
    assert "class_level=1" in note
    other = read(tmp_path, [], class_level=1)
    assert classes(tmp_path, other) == {"fold_0", "fold_1", "fold_2"}
    assert not other.notes
    grouped = listings(tmp_path, read(tmp_path, [], top="group"))
    assert {each.group for each in grouped} == {"fold_0", "fold_1", "fold_2"}
    words = {"train": ["fold_0", "fold_1"], "test": "fold_2"}
    divided = listings(tmp_path, read(tmp_path, [], split_words=words))
    assert Counter(each.subset for each in divided) == {"train": 24, "test": 12}
    assert {each.label for each in divided} == {"all", "hem"}
    with pytest.raises(ConfigError, match="class_level=3"):
        read(tmp_path, [], class_level=3)


def test_top_folders_that_could_be_subsets_are_named_the_larger_for_training(tmp_path: Path) -> None:
    ids = [*spread(["external", "training_set"], ["ill", "well"]), *spread(["internal"], ["ill", "well"], each=12)]
    (note,) = read(tmp_path, ids).notes
    assert "split_words=train:training_set,train:internal,test:external" in note


def test_patients_on_top_are_the_groups(tmp_path: Path) -> None:
    reading = read(tmp_path, spread(map(str, range(20)), ["ill", "well"]))
    assert reading.options["group_pattern"] == "^([^/]+)/"


@pytest.mark.parametrize(
    "levels",
    [
        (["train_set", "test_set"], ["cat", "dog"]),
        (["trainset", "testset"], ["cat", "dog"]),
        (["cat", "dog"], ["train", "test"]),
    ],
)
def test_folders_named_after_subsets_divide_the_set(tmp_path: Path, levels: tuple[list[str], list[str]]) -> None:
    found = listings(tmp_path, read(tmp_path, spread(*levels)))
    wanted = [(subset, label) for subset in ("train", "test") for label in ("cat", "dog")]
    assert Counter((each.subset, each.label) for each in found) == dict.fromkeys(wanted, 6)


@pytest.mark.parametrize("ids", [spread("ab"), spread(["train", "test"], "ab")], ids=["whole", "divided"])
def test_copy_of_the_folders_beside_it_is_left_out(tmp_path: Path, ids: list[str]) -> None:
    reading = read(tmp_path, [*ids, *(f"copy/{id}" for id in ids)])
    source, folder = build_source("folder", reading.options), scan_folder(tmp_path)
    assert [each.id for each in source.listings(folder)] == sorted(ids)
    assert source.notes == ["copy: a copy of the folders beside it, left out"]
    assert find_unused_folders(folder) == []


def test_many_folders_of_one_image_are_no_classes_and_few_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="300 of 300 folders have one or two images") as caught:
        read(tmp_path, spread((f"{n:06d}_01_01" for n in range(300)), each=1))
    assert len(str(caught.value)) < 400


def test_command_of_the_other_reading_keeps_what_was_typed(tmp_path: Path) -> None:
    reading = read(tmp_path, spread(["site A", "site B"], ["neg", "pos"]), exclude=["*_mask*"], labelled=True)
    assert "labelled=true" in reading.notes[0]
    assert "exclude=[*_mask*]" in reading.notes[0].replace("\\", "").replace("'", "").replace('"', "")
    assert "class_level=1" in reading.notes[0]


NAMED: dict[str, tuple[list[str], set[str] | None]] = {
    "a number at the end": ([f"CXR_png/CHNCXR_{n:04}_{n % 2}.png" for n in range(20)], {"0", "1"}),
    "a word at the end": (
        [f"img_{n}_{['benign', 'malignant'][n % 2]}.png" for n in range(20)],
        {"benign", "malignant"},
    ),
    "a word at the start": ([f"{['normal', 'tb'][n % 2]} ({n}).png" for n in range(20)], {"normal", "tb"}),
    "images of patients": ([f"p{n // 2}_{n % 2}.png" for n in range(20)], None),
    "cameras": ([f"{['IMG', 'DSC'][n % 2]}_{n}.png" for n in range(20)], None),
    "eyes": ([f"{n // 2}_{['left', 'right'][n % 2]}.png" for n in range(20)], None),
    "numbers": ([f"{n}.png" for n in range(20)], None),
}


def test_folders_of_subsets_divide_the_images_with_a_class_in_their_names(tmp_path: Path) -> None:
    ids = [f"{top}/{label}_{n}.png" for top in ("test", "train") for label in ("normal", "tb") for n in range(8)]
    folder = ImageFolder(tmp_path, tmp_path, tuple((tmp_path / id, id) for id in ids), folders=("test", "train"))
    reading = read_class_folders(folder, TypedInput(), has_table=False)
    found = build_source("folder", reading.options).listings(folder)
    assert len(found) == len(ids)
    assert all(each.id.startswith(f"{each.subset}/{each.label}_") for each in found)


@pytest.mark.parametrize("case", NAMED)
def test_class_in_the_names_of_files(tmp_path: Path, case: str) -> None:
    ids, wanted = NAMED[case]
    images = tuple((tmp_path / id, id) for id in sorted(ids))
    folder = ImageFolder(tmp_path, tmp_path, images)
    reading = read_file_names(folder, TypedInput())
    assert (reading is None) == (wanted is None)
    if reading is not None:
        assert "labelled=false" in reading.notes[0]
        found = build_source("folder", reading.options).listings(folder)
        assert len(found) == len(ids)
        assert {each.label for each in found} == wanted


@pytest.mark.parametrize(
    "names",
    [
        ["2021-03-04", "2021-03-05"],
        ["20210304", "20210305", "notes"],
        ["04.03.2021", "5.3.21"],
        ["2019", "2020"],
        ["day 1", "day 2"],
        ["Batch_01", "Batch_02"],
        ["patient1", "patient2", "patient3"],
        ["study_0001", "study_0002"],
        [f"{number:04}" for number in range(21)],
        ["train", "test"],
        ["HAM10000_images_part_1", "HAM10000_images_part_2"],
        ["site A", "site B", "site C"],
    ],
)
def test_folders_of_time_and_people_are_no_classes(names: list[str]) -> None:
    assert are_no_classes(names)


@pytest.mark.parametrize(
    "names",
    [
        ["benign", "malignant"],
        ["0", "1", "2", "3", "4"],
        ["grade 1", "grade 2"],
        ["stage_1", "stage_2"],
        ["type1", "type2"],
        ["covid19", "normal"],
        ["day", "night"],
        ["benign_images", "malignant_images"],
        ["normal", "test"],
        ["1. Melanoma", "2. Naevus"],
        [str(number) for number in range(20)],
    ],
)
def test_other_folders_are_classes(names: list[str]) -> None:
    assert not are_no_classes(names)
