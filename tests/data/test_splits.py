"""Splits: who is on which side, what never depends on what, and what test images share with training."""

import math
import random
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.datasets import Listing
from lowres_ssl.data.splits import (
    Split,
    compute_leakage,
    count_groups,
    describe_few_groups,
    load_split,
    make_split,
    save_split,
)
from lowres_ssl.errors import DataError

Row = tuple[str, str, str | None, str | None, str | None]
MadeUp = Callable[..., Catalogue]


def plain_rows(**classes: int) -> list[Row]:
    return [(f"{name}/{n:04d}.png", name, None, None, None) for name, count in classes.items() for n in range(count)]


def assert_together(catalogue: Catalogue, split: Split, name: str) -> None:
    """Images with the same value of a field are in the same subset."""
    subsets = [{getattr(catalogue.records[index], name) for index in each} for each in indices_of(split)]
    assert sum(map(len, subsets)) == len(set().union(*subsets))


def indices_of(split: Split) -> tuple[np.ndarray, ...]:
    return split.train, split.validation, split.test


def class_counts(catalogue: Catalogue, split: Split) -> dict[str, tuple[int, ...]]:
    """The number of images of each class that train, validate and test."""
    counts = [Counter(catalogue.records[index].label for index in each) for each in indices_of(split)]
    return {label: tuple(each[label] for each in counts) for label in catalogue.classes}


def assert_whole(catalogue: Catalogue, split: Split) -> None:
    everything = np.concatenate(indices_of(split))
    assert sorted(everything.tolist()) == list(range(len(catalogue.records)))
    for indices in indices_of(split):
        assert indices.dtype == np.int64
        assert indices.tolist() == sorted(indices.tolist())


def test_stratified_keeps_the_shares_in_each_class(made_up: MadeUp) -> None:
    catalogue = made_up(plain_rows(a=600, b=40))
    split = make_split(catalogue, kind="stratified", seed=3)
    assert class_counts(catalogue, split) == {"a": (420, 60, 120), "b": (28, 4, 8)}


def test_split_is_the_same_on_every_platform(made_up: MadeUp) -> None:
    """Pinned: a change here moves every user's images to other sides."""
    catalogue = made_up([(f"{c}/{n}.png", c, f"{c}{math.isqrt(n)}", None, None) for c in "ab" for n in range(30)])
    for kind, digest in {"random": "478ad821666b", "stratified": "4a832f8c9aac", "patient": "9e14213d4ff5"}.items():
        assert make_split(catalogue, kind=kind, seed=0).digest[:12] == digest


@pytest.mark.parametrize("kind", ["random", "stratified", "patient"])
def test_duplicates_stay_on_one_side(made_up: MadeUp, kind: str) -> None:
    rows = [(f"{c}/{n}.png", c, f"p{n}", None, f"{c}{n % 10}") for c in "ab" for n in range(40)]
    catalogue = made_up(rows)
    for seed in range(5):
        split = make_split(catalogue, kind=kind, seed=seed)
        assert_whole(catalogue, split)
        assert_together(catalogue, split, "sha256")


def test_class_of_two_trains_and_tests_and_a_class_of_one_is_refused(made_up: MadeUp) -> None:
    catalogue = made_up(plain_rows(a=50, rare=2))
    split = make_split(catalogue, kind="stratified", seed=0)
    assert class_counts(catalogue, split)["rare"] == (1, 0, 1)
    assert "too few distinct images to validate as well of class rare (2)" in split.notes
    with pytest.raises(DataError, match=r"too few distinct images of class rare \(1\), wanted at least 2"):
        make_split(made_up(plain_rows(a=50, rare=1)), kind="stratified", seed=0)


def test_no_patient_is_on_two_sides(made_up: MadeUp) -> None:
    rng = random.Random(0)
    rows: list[Row] = [
        (f"{c}/{n}.png", c, f"{c}{int(rng.expovariate(0.08))}", None, f"{c}{n % 190}")
        for c in "abc"
        for n in range(200)
    ]
    catalogue = made_up(rows)
    for seed in range(3):
        split = make_split(catalogue, kind="patient", seed=seed)
        assert_whole(catalogue, split)
        assert_together(catalogue, split, "group")


def test_patient_split_is_near_the_shares_where_groups_allow(made_up: MadeUp) -> None:
    rows: list[Row] = [
        (f"{c}/{p}_{n}.png", c, f"p{p}", None, None) for c in "abcd" for p in range(40) for n in range(4)
    ]
    catalogue = made_up(rows)
    split = make_split(catalogue, kind="patient", seed=0)
    assert class_counts(catalogue, split) == dict.fromkeys("abcd", (112, 16, 32))


def test_class_with_two_patients_trains_and_tests_but_does_not_validate(made_up: MadeUp) -> None:
    rows: list[Row] = [(f"a/{n}.png", "a", f"a{n % 10}", None, None) for n in range(50)]
    rows += [(f"b/{n}.png", "b", f"b{n % 2}", None, None) for n in range(20)]
    catalogue = made_up(rows)
    split = make_split(catalogue, kind="patient", seed=0)
    assert class_counts(catalogue, split)["b"] == (10, 0, 10)
    assert "only 2 groups of class b (2): no image validates" in split.notes


@pytest.mark.parametrize(
    ("patients", "note"),
    [
        (200, None),
        (50, "the test images are of 10 groups (patients, slides or source images): fewer than 25 measure little"),
    ],
)
def test_few_test_groups_are_noted(made_up: MadeUp, patients: int, note: str | None) -> None:
    rows: list[Row] = [(f"{c}/{n}.png", c, f"{c}{n % (patients // 2)}", None, None) for c in "ab" for n in range(400)]
    split = make_split(made_up(rows), kind="patient", seed=0)
    assert [each[: len(note or "")] for each in split.notes] == ([] if note is None else [note])


def test_groups_are_counted_with_images_that_have_none(made_up: MadeUp) -> None:
    rows: list[Row] = [(f"a/{n}.png", "a", "p" if n < 3 else None, None, None) for n in range(5)]
    assert sorted(count_groups(made_up(rows), range(5))) == [1, 1, 3]
    assert count_groups(made_up(rows), [3, 4]).tolist() == [1, 1]  # in a part without any as well
    assert not len(count_groups(made_up(plain_rows(a=5)), range(5)))


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ([4] * 25, ""),
        ([4] * 24, "of 24 groups"),
        ([1] * 24 + [100], "unequal in size, as much as 2 equal ones"),
        ([], ""),
    ],
)
def test_groups_count_as_if_of_one_size(sizes: list[int], said: str) -> None:
    notes = describe_few_groups(np.array(sizes, dtype=np.int64))
    assert bool(notes) == bool(said)
    assert all(said in note for note in notes)


def test_patient_split_without_patients_is_refused(made_up: MadeUp) -> None:
    with pytest.raises(DataError, match=r"no patients in its file names.*split=stratified"):
        make_split(made_up(plain_rows(a=9, b=9)), kind="patient", seed=0)


def divided_rows(train: int, val: int, test: int) -> list[Row]:
    sizes = {"train": train, "val": val, "test": test}
    return [
        (f"{side}/{c}/{n:03d}.png", c, None, side, None)
        for side, size in sizes.items()
        for c in "ab"
        for n in range(size)
    ]


def test_official_split_takes_the_folders_or_a_tenth_of_training_without_val(made_up: MadeUp) -> None:
    catalogue = made_up(divided_rows(20, 5, 8))
    split = make_split(catalogue, kind="official", seed=0)
    assert_whole(catalogue, split)
    for side, indices in zip(("train", "val", "test"), indices_of(split), strict=True):
        assert {catalogue.records[index].subset for index in indices} == {side}
    catalogue = made_up(divided_rows(40, 0, 8))
    split = make_split(catalogue, kind="official", seed=0)
    assert class_counts(catalogue, split) == dict.fromkeys("ab", (36, 4, 8))


def test_official_split_does_not_choose_on_a_handful_of_images(made_up: MadeUp) -> None:
    catalogue = made_up(divided_rows(300, 1, 8))
    split = make_split(catalogue, kind="official", seed=0)
    assert len(split.validation) == 60
    assert "the val folder has only 2 images: they train, and 10% of training validates" in split.notes


@pytest.mark.parametrize(
    ("rows", "kind", "typed"),
    [
        (divided_rows(300, 8, 8), "official", "16 images .* moves by 24 points; type split=official_test .* 61 images"),
        (
            divided_rows(40, 8, 8),
            "official",
            "16 images .*type one batch_size=N, select_encoder=last and probe=\\[knn\\]",
        ),
        (divided_rows(300, 8, 8), "official_test", ""),
        (divided_rows(300, 15, 8), "official", ""),
        (plain_rows(a=50, b=50), "stratified", "10 images .*type one batch_size=N"),
        (plain_rows(a=50, b=50), "random", "10 images .*type one batch_size=N"),
        (plain_rows(a=2, b=2), "stratified", ""),
    ],
)
def test_validation_subset_too_small_to_choose_by_is_noted(
    made_up: MadeUp, rows: list[Row], kind: str, typed: str
) -> None:
    notes = [note for note in make_split(made_up(rows), kind=kind, seed=0).notes if "to validate with" in note]
    assert len(notes) == bool(typed)
    assert all(re.match(f"only {typed}", note) for note in notes)


def test_tenth_of_the_others_validates_on_request(made_up: MadeUp) -> None:
    catalogue = made_up(divided_rows(300, 10, 8))
    split = make_split(catalogue, kind="official_test", seed=0)
    assert_whole(catalogue, split)
    assert {catalogue.records[index].subset for index in split.test} == {"test"}
    assert class_counts(catalogue, split) == dict.fromkeys("ab", (279, 31, 8))


@pytest.mark.parametrize("kind", ["official", "official_test"])
def test_tenth_that_validates_has_its_own_patients(made_up: MadeUp, kind: str) -> None:
    rows: list[Row] = [(id, label, id[:-5], side, None) for id, label, _, side, _ in divided_rows(300, 0, 8)]
    catalogue = made_up(rows)
    split = make_split(catalogue, kind=kind, seed=0)
    assert_whole(catalogue, split)
    assert_together(catalogue, split, "group")
    assert class_counts(catalogue, split) == dict.fromkeys("ab", (270, 30, 8))
    restarting = make_split(replace(catalogue, groups_may_restart=True), kind=kind, seed=0)
    assert any("60 of 60 validation images share a patient" in note for note in restarting.notes)


def test_auto_is_official_for_a_folder_that_comes_divided_else_by_patient_where_they_are_known(made_up: MadeUp) -> None:
    rows = divided_rows(20, 5, 8)
    known: list[Row] = [(id, label, id[:-5], side, None) for id, label, _, side, _ in rows]
    for own, divided, kind in (
        (rows, True, "official"),
        (known, True, "official"),
        (rows, False, "stratified"),
        (known, False, "patient"),
    ):
        catalogue = made_up(own, official_default=divided)
        split = make_split(catalogue, kind="auto", seed=1)
        assert split.kind == kind
        assert split.digest == make_split(catalogue, kind=kind, seed=1).digest


def test_saved_split_is_read_back(made_up: MadeUp, tmp_path: Path) -> None:
    catalogue = made_up(plain_rows(a=30, rare=2))
    split = make_split(catalogue, kind="stratified", seed=5)
    save_split(split, catalogue, tmp_path / "split.json")
    again = load_split(tmp_path / "split.json", catalogue, tmp_path)
    assert (again.kind, again.seed, again.digest, again.notes) == (split.kind, split.seed, split.digest, split.notes)
    np.testing.assert_array_equal(np.concatenate(indices_of(again)), np.concatenate(indices_of(split)))


def test_split_that_does_not_fit_is_refused(made_up: MadeUp, tmp_path: Path) -> None:
    catalogue = made_up(plain_rows(a=30, b=30))
    path = tmp_path / "split.json"
    save_split(make_split(catalogue, kind="stratified", seed=0), catalogue, path)
    fewer = replace(catalogue, records=catalogue.records[1:])
    with pytest.raises(DataError, match="a split of other images: got 60, wanted the 59"):
        load_split(path, fewer, tmp_path)
    with pytest.raises(DataError, match="no such file"):
        load_split(tmp_path / "none.json", catalogue, tmp_path)


@pytest.mark.parametrize(
    ("source", "file", "off"),
    [  # Kather's classes are 18 to 96 source images of up to 103 tiles: one is up to 0.16 of its class.
        ("breast", "breakhis_400x.txt", 0.02),
        ("colorectal", "kather2016_tiles.txt", 0.07),
        ("pneumonia", "kermany_chest_xray.txt", 0.001),
    ],
)
def test_real_sets_divide_by_patient(
    made_up: MadeUp, listed: Callable[..., list[Listing]], shared: Path, source: str, file: str, off: float
) -> None:
    listings = listed(source, (shared / "names" / file).read_text(encoding="utf-8").split())
    catalogue = made_up((each.id, each.label, each.group, each.subset, None) for each in listings)
    split = make_split(catalogue, kind="patient", seed=0)
    assert_whole(catalogue, split)
    totals = catalogue.counts()
    groups = Counter(label for label, _ in {(record.label, record.group) for record in catalogue.records})
    assert groups["08_EMPTY"] in (0, 2)  # Kather's empty tiles come from two source images
    for label, counts in class_counts(catalogue, split).items():
        if groups[label] >= 10:
            np.testing.assert_allclose(np.divide(counts, totals[label]), [0.7, 0.1, 0.2], rtol=0, atol=off)
        assert all(counts) or (groups[label] < 3 and counts[0] and counts[2])


LEAKY: list[Row] = [
    *((f"train/{c}/{n}.png", c, f"{c}{n}", "train", None) for c in "ab" for n in range(20)),
    *((f"val/{c}/{n}.png", c, f"{c}v{n}", "val", None) for c in "ab" for n in range(5)),
    ("test/a/1.png", "a", "a1", "test", None),  # a patient of the training folder
    ("test/a/2.png", "a", "a99", "test", "train/a/3.png"),  # the bytes of a training image
    ("test/b/3.png", "b", "bv1", "test", None),  # a patient of the validation folder
    ("test/b/4.png", "b", None, "test", None),
]


def test_leakage_counts_patients_and_bytes_shared_with_training(made_up: MadeUp) -> None:
    catalogue = made_up(LEAKY)
    found = compute_leakage(catalogue, make_split(catalogue, kind="official", seed=0))
    assert (found.test_images, found.share_group, found.exact_duplicate) == (4, 1, 1)
    assert found.groups_known
    assert not found.possible
    assert found.format_sentence() == (
        "leakage: 1 of 4 test images (25%) share a patient, slide or source image with training; "
        "1 have an exact duplicate there"
    )
    found = compute_leakage(catalogue, make_split(catalogue, kind="patient", seed=0))
    assert (found.share_group, found.exact_duplicate) == (0, 0)


def test_leakage_is_only_possible_where_numbering_may_restart(made_up: MadeUp) -> None:
    catalogue = made_up(LEAKY, groups_may_restart=True)
    found = compute_leakage(catalogue, make_split(catalogue, kind="official", seed=0))
    assert found.possible
    assert "possible, not certain: the numbering may restart" in found.format_sentence()
    assert not compute_leakage(catalogue, make_split(catalogue, kind="stratified", seed=0)).possible


def patient_rows(**patients: int) -> list[Row]:
    """Twelve images of each class, of so many patients."""
    return [
        (f"{name}/{n:02d}.png", name, f"{name}{n % count}", None, None)
        for name, count in patients.items()
        for n in range(12)
    ]


def test_a_class_of_one_patient_is_refused_with_its_exclusion_where_the_others_divide(made_up: MadeUp) -> None:
    catalogue = made_up(patient_rows(a=6, b=6, lone=1))
    with pytest.raises(
        DataError, match=r"group of class lone \(1\).*; type 'dataset.exclude_classes=\[lone\]', or split="
    ):
        make_split(catalogue, kind="patient", seed=0)
    (warning,) = compute_leakage(catalogue, make_split(catalogue, kind="stratified", seed=0)).list_warnings()
    assert warning.endswith("; split=patient 'dataset.exclude_classes=[lone]' keeps each in one subset")
    divided = replace(catalogue, records=tuple(each for each in catalogue.records if each.label != "lone"))
    assert make_split(divided, kind="patient", seed=0).kind == "patient"
    (warning,) = compute_leakage(divided, make_split(divided, kind="stratified", seed=0)).list_warnings()
    assert warning.endswith("; split=patient keeps each in one subset")


def test_no_patient_split_is_advised_where_none_can_be_made(made_up: MadeUp) -> None:
    catalogue = made_up(patient_rows(a=6, lone=1))
    with pytest.raises(DataError, match=r"; type split=stratified$"):
        make_split(catalogue, kind="patient", seed=0)
    (warning,) = compute_leakage(catalogue, make_split(catalogue, kind="stratified", seed=0)).list_warnings()
    assert warning.endswith("have an exact duplicate there")
