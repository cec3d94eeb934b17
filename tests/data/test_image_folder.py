"""What is no image of a set: names that are excluded, and what runs write into the folder they are typed in."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.datasets import build_source
from lowres_ssl.data.image_folder import compile_exclude, is_image_file, list_image_files, scan_folder
from lowres_ssl.errors import DataError

Tree = Callable[..., Path]


@pytest.mark.parametrize(
    ("pattern", "id", "is_excluded"),
    [
        ("*_mask*", "benign/x (1)_mask_1.png", True),
        ("*_mask*", "benign/x (1).png", False),
        ("*_MASK*", "a/x_Mask.png", True),
        ("masks", "a/masks/deep/1.png", True),
        ("masks/", "masks/1.png", True),
        ("masks", "masks2/1.png", False),
        ("masks", "a/masks.png", False),
        ("a/masks", "a/masks/1.png", True),
        ("a/masks", "b/masks/1.png", False),
        ("*.png", "a/1.png", True),
        ("?.png", "a/12.png", False),
        ("x [1].png", "a/x [1].png", True),
        ("a.b", "axb/1.png", False),
        ("gro\u0308ße", "größe/1.png", True),
    ],
)
def test_pattern_stands_for_whole_names(pattern: str, id: str, is_excluded: bool) -> None:
    compiled = compile_exclude(["no such name", pattern])
    assert compiled is not None
    assert bool(compiled.search(id)) == is_excluded


@pytest.mark.parametrize("name", ["x.jfif", "x.jpe", "x.JPG"])
def test_jpeg_has_several_suffixes(name: str) -> None:
    assert is_image_file(name)


def test_no_pattern_excludes_nothing() -> None:
    assert compile_exclude([]) is None
    assert compile_exclude(["", "/"]) is None


def test_excluded_folder_is_neither_a_class_nor_in_the_way_of_the_classes(tree: Tree) -> None:
    root = tree(["images/a/1.png", "images/b/1.png", "images/b/1_mask.png", "masks/a/1.png", "masks/b/1.png"])
    found = build_source("folder", {}, ["masks", "*_mask*"]).list_included(scan_folder(root))
    assert [(each.id, each.label) for each in found] == [("a/1.png", "a"), ("b/1.png", "b")]


def test_excluded_files_are_in_no_set_and_in_no_note(
    tmp_path: Path, write_image: Callable[..., Path], catalogue_at: Callable[..., Catalogue]
) -> None:
    for name in ("a/1.png", "a/1_mask.png", "b/1.png", "b/1_mask.png"):
        write_image(tmp_path / "set" / name)
    (tmp_path / "set" / "t.csv").write_text("path,label\na/1.png,x\nb/1.png,y\nb/1_mask.png,y\n")
    for source in ("folder", "csv"):
        catalogue = catalogue_at(tmp_path / "set", source, exclude=["*_mask*"])
        assert [record.id for record in catalogue.records] == ["a/1.png", "b/1.png"]
        assert not catalogue.notes


RUNS = {
    "a run": "outputs/pretrain/x-dcl-bs8-s0-12345678/run.json",
    "an evaluated encoder": "results 2/evaluate/x-random-s0-12345678/run.json",
    "the stores alone": "elsewhere/stores/index-12345678.json",
    "a store folder by another name": "cache/index-12345678.json",
    "a run, copied": "x-dcl-bs8-s0-12345678/run.json",
    "a config": "lowres_ssl_conf/dataset/x.yaml",
}


@pytest.mark.parametrize("kind", RUNS)
@pytest.mark.parametrize("place", ["", "a/", "a/deeper/"])
def test_nothing_in_the_folders_of_runs_is_an_image(tree: Tree, kind: str, place: str) -> None:
    written = RUNS[kind]
    top = place + written.split("/")[0]
    root = tree(["a/1.png", "b/1.png", place + written, f"{top}/figures/samples.png", f"{top}/tsne.png"])
    assert scan_folder(root).ids == ["a/1.png", "b/1.png"]
    assert [id for _, id in list_image_files(root)] == ["a/1.png", "b/1.png"]
    assert top not in scan_folder(root).folders


def test_class_with_the_name_of_our_folders_stays_a_class(tree: Tree) -> None:
    names = ["evaluate/1.png", "outputs/1.png", "pretrain/1.png", "stores/1.png"]
    indices = ["stores/index.json", "pretrain/index-train.json"]
    assert scan_folder(tree([*names, *indices])).ids == names


def test_links_are_followed_and_never_in_circles(tree: Tree) -> None:
    root = tree(["a/1.png", "b/2.png"])
    (root / "a" / "up").symlink_to(root)
    (root / "c").symlink_to(root / "b")
    assert "a/1.png" in scan_folder(root).ids
    assert len(scan_folder(root).ids) == 2


def test_ids_are_the_same_for_composed_and_decomposed_letters(tree: Tree) -> None:
    assert scan_folder(tree(["u\u0308ber/1.png", "unter/2.png"])).ids == ["unter/2.png", "\u00fcber/1.png"]


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing", "no such folder"), ("file.png", "not a folder"), ("empty", "no images there")],
)
def test_wrong_folder_is_one_line(tree: Tree, name: str, message: str) -> None:
    root = tree(["file.png", "empty/notes.txt"])
    with pytest.raises(DataError, match=f"{message}.*; type images=FOLDER$"):
        list_image_files(root / name)
