"""A subset keeps the shares of the classes, and is the same wherever it is taken."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from lowres_ssl.data.catalogue import Catalogue, ImageRecord
from lowres_ssl.data.catalogue_subset import take_stratified_subset
from lowres_ssl.errors import DataError


def catalogue(**counts: int) -> Catalogue:
    records = [
        ImageRecord(f"{label}/{number:04}.png", label, None, None, 8, 8, f"{label}{number}")
        for label, total in counts.items()
        for number in range(total)
    ]
    return Catalogue("made up", Path(), tuple(sorted(records, key=lambda each: each.id)), ())


@pytest.mark.parametrize("images", [3, 10, 57, 111])
def test_subset_has_so_many_images_in_the_shares_of_the_set(images: int) -> None:
    whole = catalogue(a=70, b=40, c=1)
    chosen = take_stratified_subset(whole, images)
    assert len(chosen.records) == images
    counts = Counter(record.label for record in chosen.records)
    assert counts["c"] == 1
    for label, total in (("a", 70), ("b", 40)):
        assert abs(counts[label] - total * images / 111) < 2
    assert list(chosen.records) == sorted(chosen.records, key=lambda each: each.id)


def test_smaller_subset_lies_in_the_larger() -> None:
    whole = catalogue(a=50, b=50)
    small, large = ({record.id for record in take_stratified_subset(whole, n).records} for n in (20, 60))
    assert small < large


def test_sides_of_a_divided_set_keep_their_shares() -> None:
    whole = catalogue(a=100, b=100)
    sides = ["train" if number % 4 else "test" for number in range(200)]
    whole = replace(
        whole, records=tuple(replace(record, subset=side) for record, side in zip(whole.records, sides, strict=True))
    )
    counts = Counter((record.label, record.subset) for record in take_stratified_subset(whole, 40).records)
    assert counts == {("a", "train"): 15, ("b", "train"): 15, ("a", "test"): 5, ("b", "test"): 5}


@pytest.mark.parametrize("images", [112, 2])
def test_impossible_subset_is_refused(images: int) -> None:
    with pytest.raises(DataError, match=f"^dataset.subset={images}: "):
        take_stratified_subset(catalogue(a=70, b=40, c=1), images)
