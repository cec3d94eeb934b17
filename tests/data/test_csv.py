"""Tables of labels: what is read, and that each fault is refused with the row it is in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lowres_ssl.data import csv_table
from lowres_ssl.data.csv_table import LabelCells, is_binary, list_true_columns, read_table
from lowres_ssl.data.datasets import Source, build_source
from lowres_ssl.data.file_index import FileIndex
from lowres_ssl.data.image_folder import scan_folder
from lowres_ssl.errors import DataError

Tree = Callable[[list[str]], Path]
Read = Callable[..., list[str]]
IMAGES = ["a/one.png", "a/two.png", "b/three.png"]
VIEWS = ["p1/view.png", "p2/view.png", "p3/other.png"]


def facts(source: Source, root: Path) -> list[str]:
    """Id, label, patient and subset of each image that is listed, as far as they are known: "a/one.png x P1 train"."""
    listings = source.listings(scan_folder(root))
    return [" ".join(filter(None, (each.id, each.label, each.group, each.subset))) for each in listings]


@pytest.fixture
def read(tree: Tree) -> Read:
    """The facts of three images, or others, with a table of these bytes beside them."""

    def make(content: str | bytes, images: list[str] = IMAGES, name: str = "t.csv", **options: Any) -> list[str]:
        root = tree(images)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
        return facts(build_source("csv", options), root)

    return make


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
def test_table_is_read_as_spreadsheets_write_it(read: Read, name: str, content: str) -> None:
    assert read(content, name=name) == ["a/one.png x", "b/three.png y"]


def test_patients_and_subsets_come_from_their_columns(read: Read) -> None:
    found = read("path,label,patient,split\na/one.png,x,P 1,Train\na/two.png,y,,validation\nb/three.png,y,P 2,TEST\n")
    assert found == ["a/one.png x P 1 train", "a/two.png y val", "b/three.png y P 2 test"]


def test_columns_may_have_other_names_and_paths_no_suffix(read: Read) -> None:
    options = {"path": "file name", "label": "dx", "patient": "case", "split": None, "suffix": ".png"}
    found = read("split,dx,file name,case\nno,x,a/one,7\nno,y,b/three,8\n", **options)
    assert found == ["a/one.png x 7", "b/three.png y 8"]


@pytest.mark.parametrize(
    ("choice", "labels"),
    [(None, ["a/one.png A|B", "a/two.png B"]), ("skip", ["a/two.png B"]), ("first", ["a/one.png A", "a/two.png B"])],
)
def test_several_labels_are_in_a_cell_or_in_several_rows(read: Read, choice: str | None, labels: list[str]) -> None:
    assert read("path,label\na/one.png,A|B\na/two.png,B\na/two.png,B\n", several_labels=choice) == labels


def test_images_with_several_labels_in_several_rows_are_skipped(read: Read) -> None:
    content = "path,label\na/one.png,A\na/one.png,B\na/two.png,B\na/two.png,B\n"
    assert read(content, several_labels="skip") == ["a/two.png B"]


def test_class_may_be_the_column_that_holds_1(read: Read) -> None:
    content = "path,MEL,NV\na/one.png,1.0,0.0\na/two.png,0,1\nb/three.png,0,0\n"
    assert read(content, label=["MEL", "NV"], skip_unlabelled=True) == ["a/one.png MEL", "a/two.png NV"]


def test_words_of_the_split_may_be_mapped(read: Read) -> None:
    content = "path,label,split\na/one.png,x,1\na/two.png,y,0.0\nb/three.png,x,2\n"
    found = read(content, split_words={"train": [1, "2"], "test": 0})
    assert found == ["a/one.png x train", "a/two.png y test", "b/three.png x train"]


def test_row_may_name_two_images_which_stay_together(read: Read) -> None:
    content = "left,right,label,id\n0_left.jpg,0_right.jpg,x,7\n1_left.jpg,,y,8\n2_left,2_right,y,\n"
    images = ["0_left.jpg", "0_right.jpg", "1_left.jpg", "2_left.jpg", "2_right.jpg"]
    found = read(content, images, path="left", second_path="right", patient="id")
    groups = ["x 7", "x 7", "y 8", "y 2_left", "y 2_left"]
    assert found == [f"{image} {group}" for image, group in zip(images, groups, strict=True)]


def test_folder_stands_for_all_its_images_in_a_table_without_heads(read: Read) -> None:
    found = read("set/s/p1/,1\nset/s/p2/,0\n", ["s/p1/1.png", "s/p1/2.png", "s/p2/1.png"], group_pattern="(p\\d)/")
    assert found == ["s/p1/1.png 1 p1", "s/p1/2.png 1 p1", "s/p2/1.png 0 p2"]


def test_file_is_found_by_its_name_if_no_other_row_may_mean_it(read: Read) -> None:
    found = read("path,label\nset/p1/view.png,x\nset/p2/view,y\nset/p9/other.png,y\n", VIEWS)
    assert found == ["p1/view.png x", "p2/view.png y", "p3/other.png y"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("path,label\na/one.png,x\nb/gone.png,y\na/gone.png,y\n", "t.csv, row 3: b/gone.png is not there (and"),
        ("path,label\nset/p8/other.png,x\nset/p9/other.png,y\n", "p8/other.png is not there (and those of 1 more row"),
        ("path,label\nview.png,x\n", "row 2: view.png may be p1/view.png or p2/view.png"),
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
def test_fault_is_refused_with_its_row(read: Read, content: str | bytes, said: str) -> None:
    with pytest.raises(DataError) as caught:
        read(content, [*IMAGES, *VIEWS])
    assert said in str(caught.value)
    assert "wanted" in str(caught.value) or "type" in str(caught.value) or "save it" in str(caught.value)


def test_words_of_the_split_that_are_not_mapped_are_refused(read: Read) -> None:
    with pytest.raises(DataError, match="row 2: split is '1', wanted one of 0"):
        read("path,label,split\na/one.png,x,1\n", split_words={"test": 0})


def test_table_of_which_no_file_is_there_is_refused(read: Read) -> None:
    with pytest.raises(DataError, match="none of its 1 files"):
        read("path,label\nb/gone.png,y\n", skip_missing=True)


def test_same_row_twice_is_one_image_and_a_note(tree: Tree, catalogue_at: Callable[..., Any], write_image: Any) -> None:
    root = tree([])
    for name in IMAGES:
        write_image(root / name)
    (root / "labels.csv").write_text("path,label\na/one.png,x\na/one.png,x\nb/three.png,y\n")
    catalogue = catalogue_at(root, "csv")
    assert [record.id for record in catalogue.records] == ["a/one.png", "b/three.png"]
    assert any("1 rows of labels.csv repeat a row above" in note for note in catalogue.notes)
    assert any("1 of 3 image files do not belong" in note for note in catalogue.notes)


@pytest.mark.parametrize(
    ("option", "rows", "note"),
    [
        ("skip_missing", "b/gone.png,y", "1 rows of t.csv name a missing file: skipped"),
        ("skip_unlabelled", "a/two.png,-1\nb/three.png,", "2 rows of t.csv have no label: skipped"),
    ],
)
def test_rows_without_a_file_or_a_label_are_left_out_on_request(tree: Tree, option: str, rows: str, note: str) -> None:
    root = tree([*IMAGES, "b/four.png"])
    (root / "t.csv").write_text(f"path,label\na/one.png,0\n{rows}\nb/four.png,1\n")
    with pytest.raises(DataError, match=f"{option}=true"):
        facts(build_source("csv", {}), root)
    source = build_source("csv", {option: True})
    assert facts(source, root) == ["a/one.png 0", "b/four.png 1"]
    assert source.notes == [note]


def test_table_may_lie_elsewhere_and_must_be_named_where_there_are_several(tree: Tree) -> None:
    root = tree([*IMAGES, "one.csv", "two.csv"])
    with pytest.raises(DataError, match=r"which table\? got one.csv, two.csv"):
        facts(build_source("csv", {}), root)
    (root.parent / "elsewhere.csv").write_text("path,label\na/one.png,x\nset/a/two.png,y\n")
    for name in (str(root.parent / "elsewhere.csv"), "../elsewhere.csv"):
        assert facts(build_source("csv", {"table": name}), root) == ["a/one.png x", "a/two.png y"]
    with pytest.raises(DataError, match="cannot be read"):
        facts(build_source("csv", {"table": "no.csv"}), root)


def test_table_that_is_too_large_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(csv_table, "MAX_TABLE_BYTES", 10)
    (tmp_path / "t.csv").write_text("path,label\n")
    with pytest.raises(DataError, match="got 11 bytes, wanted a table of at most 10"):
        read_table(tmp_path / "t.csv", FileIndex(scan_folder(tmp_path)))


def test_patients_may_be_in_another_table_and_the_set_in_several(tree: Tree) -> None:
    root = tree(IMAGES)
    (root / "train.csv").write_text("path,label\na/one.png,x\na/two.png,y\n")
    (root / "test.csv").write_text("path,label\nb/three.png,y\n")
    (root / "more.csv").write_text("path,case\na/one.png,7\nb/three.png,8\n")
    options = {"table": ["train.csv", "test.csv"], "patient": "case", "patient_table": "more.csv"}
    found = facts(build_source("csv", options), root)
    assert found == ["a/one.png x 7 train", "a/two.png y train", "b/three.png y 8 test"]


@pytest.mark.parametrize(
    ("cells", "cell", "labels"),
    [
        (["A", "B|A"], "B|A", ["B", "A"]),
        (["A", "B", "A;B"], "A;B", ["A", "B"]),
        (["A", "B", "A, B"], "A, B", ["A", "B"]),
        (["adenoma, tubular", "adenoma, villous"], "adenoma, villous", ["adenoma, villous"]),
        (["Pneumonia/Viral"], "Pneumonia/Viral", ["Pneumonia/Viral"]),
        (["['normal']", "['nodule', 'mass']"], "['nodule', 'mass']", ["nodule", "mass"]),
        (["['normal']", "['nodule', 'mass']"], "['normal']", ["normal"]),
        (["A", "A|A"], "A|A", ["A"]),
    ],
)
def test_what_separates_labels_is_seen_from_all_cells(cells: list[str], cell: str, labels: list[str]) -> None:
    assert LabelCells(cells).split(cell) == labels


@pytest.mark.parametrize(
    ("cells", "missing"),
    [
        (["0", "1", "-1", ""], {"-1", ""}),
        (["1", "-1"], set()),
        (["1.0", "0.0", "-1.0", "nan"], {"-1.0", "nan"}),
        (["0", "1", "-9", "-999"], {"-9", "-999"}),
    ],
)
def test_blanks_have_no_label_and_minus_one_beside_two_others(cells: list[str], missing: set[str]) -> None:
    labels = LabelCells(cells)
    assert {cell for cell in cells if labels.is_missing(cell)} == missing


def test_columns_of_classes_hold_1_and_0() -> None:
    assert is_binary(["1.0", "0.0", "", "-1"])
    assert not is_binary(["0", ""])
    assert not is_binary(["1", "2"])
    assert list_true_columns(["1.0", "0", ""], ["A", "B", "C"], "row 2") == ["A"]
    with pytest.raises(DataError, match=r"row 2: B is '0\.7'"):
        list_true_columns(["1", "0.7"], ["A", "B"], "row 2")
