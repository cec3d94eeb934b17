"""Leakage: what a test image shares with the training images."""

from collections.abc import Callable

from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.splits import compute_leakage, make_split

ROWS = [
    *((f"train/{c}/{n}.png", c, f"{c}{n}", "train", None) for c in "ab" for n in range(20)),
    *((f"val/{c}/{n}.png", c, f"{c}v{n}", "val", None) for c in "ab" for n in range(5)),
    ("test/a/1.png", "a", "a1", "test", None),  # a patient of the training folder
    ("test/a/2.png", "a", "a99", "test", "train/a/3.png"),  # the bytes of a training image
    ("test/b/3.png", "b", "bv1", "test", None),  # a patient of the validation folder
    ("test/b/4.png", "b", None, "test", None),
]


def test_leakage_counts_patients_and_bytes_shared_with_training(made_up: Callable[..., Catalogue]) -> None:
    catalogue = made_up(ROWS)
    found = compute_leakage(catalogue, make_split(catalogue, kind="official", seed=0))
    assert (found.test_images, found.share_group, found.exact_duplicate) == (4, 1, 1)
    assert found.groups_known
    assert not found.possible
    assert found.format_sentence() == (
        "leakage: 1 of 4 test images (25%) share a patient, slide or source image with training; "
        "1 have an exact duplicate there"
    )


def test_leakage_is_only_possible_where_numbering_may_restart(made_up: Callable[..., Catalogue]) -> None:
    catalogue = made_up(ROWS, groups_may_restart=True)
    found = compute_leakage(catalogue, make_split(catalogue, kind="official", seed=0))
    assert found.possible
    assert "possible, not certain: the numbering may restart" in found.format_sentence()
    assert not compute_leakage(catalogue, make_split(catalogue, kind="stratified", seed=0)).possible


def test_patient_split_leaks_nothing(made_up: Callable[..., Catalogue]) -> None:
    catalogue = made_up(ROWS)
    found = compute_leakage(catalogue, make_split(catalogue, kind="patient", seed=0))
    assert (found.share_group, found.exact_duplicate) == (0, 0)
