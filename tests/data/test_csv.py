"""Tables of labels: what is read, and that each fault is refused with the row it is in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lowres_ssl.data import csv_table
from lowres_ssl.data.csv_table import read_table
from lowres_ssl.data.datasets import Listing, build_source
from lowres_ssl.data.file_index import FileIndex
from lowres_ssl.data.image_folder import scan_folder
from lowres_ssl.errors import DataError

Tree = Callable[[list[str]], Path]
IMAGES = ["a/one.png", "a/two.png", "b/three.png"]


@pytest.fixture
def read(tree: Tree) -> Callable[..., list[Listing]]:
    """The listings of three images and a table of these bytes beside them."""

    def make(content: str | bytes, name: str = "labels.csv", **options: Any) -> list[Listing]:
        root = tree(IMAGES)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return build_source("csv", options).listings(scan_folder(root))

    return make


def summary(found: list[Listing]) -> list[tuple[str, str, str | None, str | None]]:
    return [(each.id, each.label, each.group, each.subset) for each in found]


PLAIN = [("a/one.png", "x", None, None), ("b/three.png", "y", None, None)]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("labels.csv", "path,label\na/one.png,x\nb/three.png,y\n"),
        ("labels.csv", "path;label\r\na/one.png;x\r\nb/three.png;y\r\n"),
        ("labels.tsv", "path\tlabel\nb/three.png\ty\na/one.png\tx"),
        ("labels.csv", "\ufefflabel,path\nx,a/one.png\ny,b/three.png\n"),
        ("labels.csv", 'path,label\n"a/one.png", x \n./b/three.png,y\n'),
        ("labels.csv", "path,label,,\na/one.png,x,,\n,,,\n\nb/three.png,y,,\n"),
        ("labels.csv", "path,label\na\\one.png,x\nb\\three.png,y\n"),
        ("labels.csv", "path,label\na/../a/one.png,x\nb/three.png,y\n"),
    ],
    ids=["comma", "semicolon", "tab", "mark", "quotes", "empty-cells-and-rows", "windows", "dots-inside"],
)
def test_table_is_read_as_spreadsheets_write_it(read: Callable[..., list[Listing]], name: str, content: str) -> None:
    assert summary(read(content, name)) == PLAIN


def test_patients_and_sides_come_from_their_columns(read: Callable[..., list[Listing]]) -> None:
    found = read("path,label,patient,split\na/one.png,x,P 1,Train\na/two.png,y,,validation\nb/three.png,y,P 2,TEST\n")
    assert [(each.group, each.subset) for each in found] == [("P 1", "train"), (None, "val"), ("P 2", "test")]


def test_columns_may_have_other_names_and_paths_no_suffix(read: Callable[..., list[Listing]]) -> None:
    options = {"path": "file name", "label": "dx", "patient": "case", "split": None, "suffix": ".png"}
    found = read("split,dx,file name,case\nno,x,a/one,7\nno,y,b/three,8\n", **options)
    assert [(each.id, each.label, each.group, each.subset) for each in found] == [
        ("a/one.png", "x", "7", None),
        ("b/three.png", "y", "8", None),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path,label\na/one.png,x\nb/gone.png,y\na/gone.png,y\n", "labels.csv, row 3: b/gone.png is not there (and"),
        ("path,label\na/one.png,x\na/two.png,\n", "row 3: a/two.png has no label"),
        ("path,label\na/one.png,x\na/two.png,y\na/one.png,y\n", "row 4: a/one.png has another label"),
        ("path,label,split\na/one.png,x,train\na/two.png,x,outside\n", "row 3: split is 'outside', wanted train"),
        ("path,label\n../set/a/one.png,x\n../../etc/passwd,y\n", "row 3: ../../etc/passwd leads out of"),
        ("path,label\n/etc/passwd,y\n", "row 2: /etc/passwd leads out of"),
        (f"path,label\n{5000 * 'a'},x\n", "row 2: aaaaa"),
        ("path,label\na/one.png\n", "row 2: got 1 cells, wanted 2"),
        ('path,label\na/one.png,x\n"a/two.png,y\n', "row 3: not a row of a table"),
        ("path,class\na/one.png,x\n", "no column 'label', got 'path', 'class'; type dataset.options.label=COLUMN"),
        ("path,Label\na/one.png,x\n", "type dataset.options.label=Label"),
        ("", "an empty table"),
        (b"path,label\na/one.png,gr\xf6\xdfer\n", "row 2: not UTF-8 text, perhaps Latin-1"),
        ("path,label\n".encode("utf-16")[:-1], "UTF-16"),
        (b"path,label\na/one.png,\0\n", "row 2: got a zero byte"),
    ],
)
def test_fault_is_refused_with_its_row(read: Callable[..., list[Listing]], content: str | bytes, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read(content)
    assert said in str(caught.value)
    assert "wanted" in str(caught.value) or "type" in str(caught.value) or "save it" in str(caught.value)


def test_same_row_twice_is_one_image_and_a_note(tree: Tree, catalogue_at: Callable[..., Any], write_image: Any) -> None:
    root = tree([])
    for name in IMAGES:
        write_image(root / name)
    (root / "labels.csv").write_text("path,label\na/one.png,x\na/one.png,x\nb/three.png,y\n")
    catalogue = catalogue_at(root, "csv")
    assert [record.id for record in catalogue.records] == ["a/one.png", "b/three.png"]
    assert any("1 rows of labels.csv repeat a row above" in note for note in catalogue.notes)
    assert any("1 of 3 image files do not belong" in note for note in catalogue.notes)


def test_missing_files_are_left_out_on_request_and_counted(tree: Tree) -> None:
    root = tree(IMAGES)
    (root / "labels.csv").write_text("path,label\na/one.png,x\nb/gone.png,y\n")
    source = build_source("csv", {"skip_missing": True})
    assert [each.id for each in source.listings(scan_folder(root))] == ["a/one.png"]
    assert source.notes == ["1 rows of labels.csv name a missing file: skipped"]
    (root / "labels.csv").write_text("path,label\nb/gone.png,y\n")
    with pytest.raises(DataError, match="none of its 1 files"):
        source.listings(scan_folder(root))


def test_table_may_lie_elsewhere_and_must_be_named_where_there_are_several(tree: Tree) -> None:
    root = tree([*IMAGES, "one.csv", "two.csv"])
    with pytest.raises(DataError, match=r"which table\? got one.csv, two.csv"):
        build_source("csv", {}).listings(scan_folder(root))
    (root.parent / "elsewhere.csv").write_text("path,label\na/one.png,x\nset/a/two.png,y\n")
    for name in (str(root.parent / "elsewhere.csv"), "../elsewhere.csv"):
        found = build_source("csv", {"table": name}).listings(scan_folder(root))
        assert [each.id for each in found] == ["a/one.png", "a/two.png"]
    with pytest.raises(DataError, match="cannot be read"):
        build_source("csv", {"table": "no.csv"}).listings(scan_folder(root))


def test_table_that_is_too_large_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_table, "MAX_TABLE_BYTES", 10)
    (tmp_path / "t.csv").write_text("path,label\n")
    with pytest.raises(DataError, match="got 11 bytes, wanted a table of at most 10"):
        read_table(tmp_path / "t.csv", FileIndex(scan_folder(tmp_path)))


def test_file_is_found_by_its_name_if_no_other_row_may_mean_it(tree: Tree) -> None:
    root = tree(["p1/view.png", "p2/view.png", "p3/other.png"])
    (root / "t.csv").write_text("path,label\nset/p1/view.png,x\nset/p2/view,y\nset/p9/other.png,y\n")
    found = build_source("csv", {}).listings(scan_folder(root))
    assert [each.id for each in found] == ["p1/view.png", "p2/view.png", "p3/other.png"]
    (root / "t.csv").write_text("path,label\nset/p8/other.png,x\nset/p9/other.png,y\n")
    with pytest.raises(DataError, match=r"p8/other.png is not there \(and those of 1 more rows\)"):
        build_source("csv", {}).listings(scan_folder(root))
    (root / "t.csv").write_text("path,label\nview.png,x\n")
    with pytest.raises(DataError, match=r"view\.png may be p1/view\.png or p2/view\.png"):
        build_source("csv", {}).listings(scan_folder(root))


def test_folder_stands_for_all_its_images(tree: Tree) -> None:
    root = tree(["s/p1/1.png", "s/p1/2.png", "s/p2/1.png"])
    (root / "t.csv").write_text("set/s/p1/,1\nset/s/p2/,0\n")  # without heads
    found = build_source("csv", {"group_pattern": "(p\\d)/"}).listings(scan_folder(root))
    assert [(each.id, each.label, each.group) for each in found] == [
        ("s/p1/1.png", "1", "p1"),
        ("s/p1/2.png", "1", "p1"),
        ("s/p2/1.png", "0", "p2"),
    ]


def test_rows_without_a_label_are_left_out_on_request_and_counted(tree: Tree) -> None:
    root = tree([*IMAGES, "b/four.png"])
    (root / "t.csv").write_text("path,label\na/one.png,0\na/two.png,-1\nb/three.png,\nb/four.png,1\n")
    with pytest.raises(DataError, match="skip_unlabelled=true"):
        build_source("csv", {}).listings(scan_folder(root))
    source = build_source("csv", {"skip_unlabelled": True})
    assert [each.id for each in source.listings(scan_folder(root))] == ["a/one.png", "b/four.png"]
    assert source.notes == ["2 rows of t.csv have no label: skipped"]


@pytest.mark.parametrize(
    ("choice", "labels"), [(None, ["A|B", "B"]), ("skip", ["B"]), ("first", ["A", "B"])], ids=["as-is", "skip", "first"]
)
def test_several_labels_are_counted(read: Callable[..., list[Listing]], choice: str | None, labels: list[str]) -> None:
    assert [each.label for each in read("path,label\na/one.png,A|B\na/two.png,B\n", several_labels=choice)] == labels


def test_several_rows_of_an_image_have_several_labels(read: Callable[..., list[Listing]]) -> None:
    content = "path,label\na/one.png,A\na/one.png,B\na/two.png,B\na/two.png,B\n"
    assert [each.id for each in read(content, several_labels="skip")] == ["a/two.png"]


def test_class_may_be_the_column_that_holds_1(read: Callable[..., list[Listing]]) -> None:
    content = "path,MEL,NV\na/one.png,1.0,0.0\na/two.png,0,1\nb/three.png,0,0\n"
    found = read(content, label=["MEL", "NV"], skip_unlabelled=True)
    assert [each.label for each in found] == ["MEL", "NV"]


def test_words_of_the_split_may_be_mapped(read: Callable[..., list[Listing]]) -> None:
    content = "path,label,split\na/one.png,x,1\na/two.png,y,0.0\nb/three.png,x,2\n"
    found = read(content, split_words={"train": [1, "2"], "test": 0})
    assert [each.subset for each in found] == ["train", "test", "train"]


def test_words_of_the_split_that_are_not_mapped_are_refused(read: Callable[..., list[Listing]]) -> None:
    with pytest.raises(DataError, match="row 2: split is '1', wanted one of 0"):
        read("path,label,split\na/one.png,x,1\n", split_words={"test": 0})


def test_patients_may_be_in_another_table_and_the_set_in_several(tree: Tree) -> None:
    root = tree(IMAGES)
    (root / "train.csv").write_text("path,label\na/one.png,x\na/two.png,y\n")
    (root / "test.csv").write_text("path,label\nb/three.png,y\n")
    (root / "more.csv").write_text("path,case\na/one.png,7\nb/three.png,8\n")
    options = {"table": ["train.csv", "test.csv"], "patient": "case", "patient_table": "more.csv"}
    found = build_source("csv", options).listings(scan_folder(root))
    assert [(each.group, each.subset) for each in found] == [("7", "train"), (None, "train"), ("8", "test")]


def test_row_may_name_two_images_which_stay_together(tree: Tree) -> None:
    root = tree(["0_left.jpg", "0_right.jpg", "1_left.jpg", "2_left.jpg", "2_right.jpg"])
    (root / "t.csv").write_text("left,right,label,id\n0_left.jpg,0_right.jpg,x,7\n1_left.jpg,,y,8\n2_left,2_right,y,\n")
    source = build_source("csv", {"path": "left", "second_path": "right", "patient": "id"})
    found = source.listings(scan_folder(root))
    assert [each.id for each in found] == ["0_left.jpg", "0_right.jpg", "1_left.jpg", "2_left.jpg", "2_right.jpg"]
    assert [(each.label, each.group) for each in found] == [
        *[("x", "7")] * 2,
        ("y", "8"),
        *[("y", "2_left")] * 2,
    ]
