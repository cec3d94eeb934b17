"""A tail of tiny classes: named all at once, left out on request, and no message that leads back to itself."""

from collections.abc import Callable

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
def tail(made_up: MadeUp) -> Catalogue:
    """Two large classes, one of two images with the same bytes, one of two, and forty of one."""
    rows = [(f"{label}/{n}.png", label, None, None, None) for label in "ab" for n in range(30)]
    rows += [(f"copied/{n}.png", "copied", None, None, "same") for n in range(2)]
    rows += [(f"pair/{n}.png", "pair", None, None, None) for n in range(2)]
    return made_up([*rows, *((f"t{n:02}/0.png", f"t{n:02}", None, None, None) for n in range(40))])


def test_copies_count_once(tail: Catalogue) -> None:
    small = find_small_classes(tail, 2)
    assert list(small.items())[:2] == [("copied", 1), ("t00", 1)]
    assert len(small) == 41
    assert "pair" not in small


@pytest.mark.parametrize("kind", ["stratified", "random", "auto"])
def test_whatever_the_split_its_message_leaves_all_of_them_out(tail: Catalogue, kind: str) -> None:
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


def test_nothing_is_left_out_that_is_large_enough(tail: Catalogue) -> None:
    assert leave_out_small_classes(tail, 1) is tail


def test_two_classes_must_be_left(tail: Catalogue) -> None:
    with pytest.raises(DataError, match=r"min_class_images=31: got 44 classes: copied \(1\)"):
        leave_out_small_classes(tail, 31)


def test_one_class_is_named_without_a_number_of_classes() -> None:
    assert format_classes({"a": 1200}) == "class a (1,200)"
