"""Images found by what tables call them."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lowres_ssl.data.file_index import FileIndex
from lowres_ssl.data.image_folder import ImageFolder, scan_folder

Tree = Callable[[list[str]], Path]
IMAGES = [
    *("part_1/ISIC_1.jpg", "part_2/ISIC_2.jpg", "x/000001_01_01/109.png", "n/0007.png"),
    *("train/p1/view.png", "train/p2/view.png", "images/c.png", "masks/c.png", "dicom/1.2.840.1.dcm"),
    *("jpeg/1.3.6.1.4.1.9590.200/1-249.jpg", "a_b.png", "set/ISIC_3.jpg", "set/set/ISIC_3.jpg"),
]


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("ISIC_1", "part_1/ISIC_1.jpg"),
        ("isic_2.PNG", "part_2/ISIC_2.jpg"),
        ("elsewhere/ISIC_2.jpg", "part_2/ISIC_2.jpg"),
        ("C:\\data\\ISIC_2.jpg", "part_2/ISIC_2.jpg"),
        ("000001_01_01_109.png", "x/000001_01_01/109.png"),
        ("7", "n/0007.png"),
        ("set/train/p2/view.png", "train/p2/view.png"),
        ("p1/view", "train/p1/view.png"),
        ("c.png", "images/c.png"),
        ("1.2.840.1", "dicom/1.2.840.1.dcm"),
        ("a/b.png", "a_b.png"),
        ("ISIC_3", "set/ISIC_3.jpg"),
        ("CC/1.3.6.1.4.1.9590.100/1.3.6.1.4.1.9590.200/000000.dcm", "jpeg/1.3.6.1.4.1.9590.200/1-249.jpg"),
    ],
)
def test_cell_names_an_image(tree: Tree, cell: str, found: str) -> None:
    assert FileIndex(scan_folder(tree(IMAGES))).find(cell)[0] == [found]


def test_name_that_there_is_twice_is_not_clear(tree: Tree) -> None:
    index = FileIndex(scan_folder(tree(IMAGES)))
    assert index.find("view.png")[0] == ["train/p1/view.png", "train/p2/view.png"]
    assert index.find("p1/view.png", table=None)[1] == ""
    assert index.find("p9/ISIC_1.jpg") == (["part_1/ISIC_1.jpg"], "isic_1")
    for cell in ("", "..", "none.png", "/"):
        assert index.find(cell)[0] == []


def test_name_beside_the_table_comes_first(tree: Tree) -> None:
    root = tree(["train/1.png", "test/1.png"])
    assert FileIndex(scan_folder(root)).find("1", table=root.resolve() / "test" / "t.csv")[0] == ["test/1.png"]


def test_folder_stands_for_its_images(tree: Tree) -> None:
    index = FileIndex(scan_folder(tree(IMAGES)))
    assert index.find_folder("top/train/p1/") == ["train/p1/view.png"]
    assert index.find_folder("p2") == ["train/p2/view.png"]
    assert index.find_folder("train") == ["train/p1/view.png", "train/p2/view.png"]
    assert index.find_folder("none") == []


def test_thousands_of_images_of_one_name_take_no_time() -> None:
    top = Path("/set")
    ids = [f"train/patient{number}/study1/view1_frontal.jpg" for number in range(3000)]
    index = FileIndex(ImageFolder(top, top, tuple((top / id, id) for id in ids)))
    started = time.perf_counter()
    assert all(index.find(f"CheXpert/{id}")[0] == [id] for id in ids)
    assert len(index.find("view1_frontal.jpg")[0]) == 3000
    assert time.perf_counter() - started < 10  # compared in pairs, hours
