"""Patients guessed from file names: real names of sets that have them, and of sets that have not."""

import time
from pathlib import Path

import pytest

from lowres_ssl.data.datasets import build_source
from lowres_ssl.data.datasets.folder import ClassFolderReader
from lowres_ssl.init.inspect_folder import PatientGuess, guess_patients


def names_in(shared: Path, file: str) -> list[str]:
    return (shared / "names" / file).read_text(encoding="utf-8").split()


def numbered(pattern: str, groups: int, each: int) -> list[str]:
    return ["ab"[group % 2] + "/" + pattern.format(g=group, n=n) for group in range(groups) for n in range(each)]


def test_breakhis_slides_are_found_by_their_shape_alone(shared: Path) -> None:
    names = names_in(shared, "breakhis_v1_all_paths.txt")
    ids = [f"{name.split('/')[3]}/{name.rsplit('/', 1)[1]}" for name in names]
    found = guess_patients(ids, classes=2, depth=1)
    assert found is not None
    assert (found.groups, found.matched) == (80, 7663)  # each slide once, over all magnifications
    assert found.example.startswith("SOB_B_PT-14-21998")


def test_kermany_patients_are_found_by_their_word(shared: Path) -> None:
    found = guess_patients(names_in(shared, "kermany_chest_xray.txt"), classes=2, depth=2)
    assert found == PatientGuess(r"(person\d+)", groups=1667, matched=4265, example="person23", example_images=31)


def test_names_without_patients_give_no_guess(shared: Path) -> None:
    for folder in ("blood_cells", "colorectal_sample"):
        root = shared / folder
        ids = [path.relative_to(root).as_posix() for path in root.glob("*/*")]
        assert guess_patients(ids, classes=8, depth=1) is None
    tiles = names_in(shared, "kather2016_tiles.txt")  # each begins with a number of its own
    assert guess_patients(tiles, classes=8, depth=1) is None


@pytest.mark.parametrize(
    ("ids", "wanted"),
    [
        (numbered("patient{g}_{n}.png", 10, 3), r"(patient\d+)"),
        (numbered("x-Subject_{g:03}-{n}.png", 10, 3), r"(Subject_\d+)"),
        (numbered("p{g}_{n}.png", 10, 3), r"(p\d+)"),
        (numbered("case{g}/{n}.png", 10, 3), "^[^/]+/([^/]+)/"),
        (numbered("A{g}-{n}.png", 12, 3), r"(?:^|/)([^/\d]*\d[^/]*)(?:[_ .-][^_ ./-]+){1}\.[^./]+$"),
        (numbered("img{g}_jpg.rf.{n}a{g}b7c8d.jpg", 12, 3), r"(?:^|/)([^/]+)_(?:jpe?g|png|bmp|tiff?)\.rf\."),
        (numbered("{g}_left_{n}.png", 12, 3), r"(?:^|/)([^/\d]*\d[^/]*)(?:[_ .-][^_ ./-]+){2}\.[^./]+$"),
    ],
)
def test_pattern_that_convinces_is_one_that_the_source_takes(ids: list[str], wanted: str) -> None:
    found = guess_patients(ids, classes=2, depth=1)
    assert found is not None
    assert found.pattern == wanted
    source = build_source("folder", {"group_pattern": found.pattern})
    assert isinstance(source, ClassFolderReader)
    assert source.group_pattern is not None
    groups = [source.group_pattern.search(id) for id in ids]
    assert None not in groups
    assert len(set(groups)) == found.groups


@pytest.mark.parametrize(
    "ids",
    [
        numbered("img_{g}{n}.png", 20, 3),  # each name once
        numbered("patient{g}.png", 30, 1),  # nobody twice
        numbered("patient{g}_{n}.png", 3, 20),  # too few
        numbered("class{g}_{n}.png", 2, 40),  # a name of the class
        [f"a/temp{n}_x.png" for n in range(40)],  # the p of another word
        numbered("patient{g}_{n}.png", 10, 3) + [f"b/x{n}.png" for n in range(40)],  # less than half
    ],
    ids=["unique", "single", "few", "class", "word", "half"],
)
def test_names_that_do_not_convince(ids: list[str]) -> None:
    assert guess_patients(ids, classes=2, depth=1) is None


@pytest.mark.parametrize("name", ["1" * 240 + ".png", "1_" * 100 + ".png", "1-1_" * 60])
def test_long_names_take_no_time(name: str) -> None:
    """A thousand names of 240 digits took six minutes."""
    ids = [f"{'ab'[number % 2]}/{number}{name}" for number in range(200)]
    started = time.process_time()
    assert guess_patients(ids, classes=2, depth=1) is None
    assert time.process_time() - started < 2


def test_an_original_is_of_the_group_of_its_copies() -> None:
    ids = [f"a/x{n}{mark}.png" for n in range(10) for mark in ("", "_flip", "_rot90", "_rot270", " - Copy")]
    found = guess_patients(ids, classes=1, depth=1)
    assert found is not None
    assert (found.groups, found.matched, found.example_images) == (10, 50, 5)
