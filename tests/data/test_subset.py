"""Parts of a set: a fixed subset that keeps the shares of the classes; a tail of tiny classes left out on request."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.catalogue_subset import (
    find_small_classes,
    format_classes,
    leave_out_small_classes,
    take_stratified_subset,
)
from lowres_ssl.data.splits import make_split
from lowres_ssl.errors import DataError

MadeUp = Callable[..., Catalogue]


@pytest.fixture
def whole(made_up: MadeUp) -> Catalogue:
    """70 images of a, 40 of b, one of c."""
    classes = {"a": 70, "b": 40, "c": 1}
    return made_up((f"{label}/{n:04}.png", label, None, None, None) for label in classes for n in range(classes[label]))


@pytest.mark.parametrize("images", [3, 10, 57, 111])
def test_subset_has_so_many_images_in_the_shares_of_the_set(whole: Catalogue, images: int) -> None:
    chosen = take_stratified_subset(whole, images)
    assert len(chosen.records) == images
    counts = Counter(record.label for record in chosen.records)
    assert counts["c"] == 1
    for label, total in (("a", 70), ("b", 40)):
        assert abs(counts[label] - total * images / 111) < 2
    assert list(chosen.records) == sorted(chosen.records, key=lambda each: each.id)


def test_smaller_subset_lies_in_the_larger(whole: Catalogue) -> None:
    small, large = ({record.id for record in take_stratified_subset(whole, n).records} for n in (20, 60))
    assert small < large


def test_sides_of_a_divided_set_keep_their_shares(made_up: MadeUp) -> None:
    sides = ["train" if n % 4 else "test" for n in range(100)]
    rows = [(f"{label}/{n:04}.png", label, None, side, None) for label in "ab" for n, side in enumerate(sides)]
    counts = Counter((record.label, record.subset) for record in take_stratified_subset(made_up(rows), 40).records)
    assert counts == {("a", "train"): 15, ("b", "train"): 15, ("a", "test"): 5, ("b", "test"): 5}


def test_subset_of_a_set_without_labels_is_of_all_images(whole: Catalogue) -> None:
    part = take_stratified_subset(replace(whole, records=(), unlabelled=whole.records), 4)
    assert len(part.unlabelled) == 4
    assert not part.records


@pytest.mark.parametrize("images", [112, 2])
def test_impossible_subset_is_refused(whole: Catalogue, images: int) -> None:
    with pytest.raises(DataError, match=f"^dataset.subset={images}: "):
        take_stratified_subset(whole, images)


@pytest.fixture
def tail(made_up: MadeUp) -> Catalogue:
    """Two large classes, one of two images with the same bytes, one of two, and forty of one."""
    rows = [(f"{label}/{n}.png", label, None, None, None) for label in "ab" for n in range(30)]
    rows += [(f"copied/{n}.png", "copied", None, None, "same") for n in range(2)]
    rows += [(f"pair/{n}.png", "pair", None, None, None) for n in range(2)]
    return made_up([*rows, *((f"t{n:02}/0.png", f"t{n:02}", None, None, None) for n in range(40))])


def test_copies_count_once_in_a_small_class(tail: Catalogue) -> None:
    small = find_small_classes(tail, 2)
    assert list(small.items())[:2] == [("copied", 1), ("t00", 1)]
    assert len(small) == 41
    assert "pair" not in small


@pytest.mark.parametrize("kind", ["stratified", "random", "auto"])
def test_whatever_the_split_its_message_leaves_all_small_classes_out(tail: Catalogue, kind: str) -> None:
    with pytest.raises(DataError, match=r"dataset\.min_class_images=2") as caught:
        make_split(tail, kind=kind, seed=0)
    assert len(str(caught.value)) < 250
    left = leave_out_small_classes(tail, 2)
    assert left.classes == ("a", "b", "pair")
    assert left.notes == (
        "41 classes: copied (1), t00 (1), t01 (1) and 38 more left out: fewer than 2 distinct images "
        "(dataset.min_class_images)",
    )
    split = make_split(left, kind="stratified", seed=0)
    assert "too few distinct images to validate as well of class pair (2)" in split.notes


def test_small_subset_is_answered_alike(tail: Catalogue) -> None:
    subset = take_stratified_subset(leave_out_small_classes(tail, 2), 20)
    with pytest.raises(DataError, match=r"of class pair \(1\).*min_class_images=2"):
        make_split(subset, kind="stratified", seed=0)
    assert leave_out_small_classes(subset, 2).classes == ("a", "b")


def test_only_small_classes_are_left_out_and_two_must_be_left(tail: Catalogue) -> None:
    assert leave_out_small_classes(tail, 1) is tail
    with pytest.raises(DataError, match=r"min_class_images=31: got 44 classes: copied \(1\)"):
        leave_out_small_classes(tail, 31)
    assert format_classes({"a": 1200}) == "class a (1,200)"
