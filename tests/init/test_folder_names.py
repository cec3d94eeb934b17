"""Folders that are classes, and folders that are patients, days or visits, whose images have no labels."""

from pathlib import Path

import pytest

from lowres_ssl.data.datasets import Listing
from lowres_ssl.init.folder_names import are_no_classes
from lowres_ssl.init.inspect_folder import should_ignore_labels


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


def test_what_was_typed_counts_more() -> None:
    listings = [Listing(Path(), f"{label}/1.png", label, None, None) for label in ("day1", "day2")]
    assert should_ignore_labels(listings, None)
    assert not should_ignore_labels(listings, True)
    assert should_ignore_labels(listings[:1], None)
    assert should_ignore_labels([Listing(Path(), "1.png", "", None, None)], None)
