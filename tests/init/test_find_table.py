"""Tables beside images: found by what they name, whatever their columns are called; the reason why others are not."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from lowres_ssl.data.csv_table import read_table
from lowres_ssl.data.datasets import build_source
from lowres_ssl.data.file_index import FileIndex
from lowres_ssl.data.image_folder import scan_folder
from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.init.find_table import TableSearch, find_label_table
from lowres_ssl.init.guess_columns import guess_split_words, list_head_words
from lowres_ssl.init.typed_input import TypedInput, parse_split_words

Rows = Iterable[Iterable[object]]


def put(path: Path, rows: Rows, separator: str = ",") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(separator.join(map(str, row)) for row in rows))
    return path


def images(folder: Path, names: Iterable[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def search(folder: Path, **typed: Any) -> TableSearch:
    return find_label_table(scan_folder(folder), TypedInput(**typed))


def options(folder: Path, **typed: Any) -> dict[str, Any]:
    found = search(folder, **typed)
    assert found.options is not None, found.notes
    return found.options


def test_columns_are_known_by_their_names_and_files(tmp_path: Path) -> None:
    images(tmp_path, (f"{n}.png" for n in range(10)))
    put(
        tmp_path / "t.csv",
        [["Patient_ID", "file", "Diagnosis", "age"], *([n // 2, f"{n}.png", n % 2, 40] for n in range(10))],
    )
    assert options(tmp_path) == {"table": "t.csv", "path": "file", "label": "Diagnosis", "patient": "Patient_ID"}


def test_files_may_lie_in_parts_and_have_no_suffix_in_the_table(tmp_path: Path) -> None:
    images(tmp_path, (f"images_part_{n % 2}/ISIC_{n}.jpg" for n in range(10)))
    put(
        tmp_path / "meta.csv",
        [["image_id", "dx", "dx_type"], *([f"ISIC_{n}", "ab"[n % 2], "histo"] for n in range(10))],
    )
    assert options(tmp_path) == {"table": "meta.csv", "path": "image_id", "label": "dx"}


@pytest.mark.parametrize(
    ("files", "others", "is_one"), [(10, 0, True), (8, 20, True), (7, 0, True), (7, 20, False), (0, 1, False)]
)
def test_most_rows_name_a_file_or_half_of_the_files_are_named(
    tmp_path: Path, files: int, others: int, is_one: bool
) -> None:
    images(tmp_path, [*(f"{n}.png" for n in range(files)), *(f"x{n}.png" for n in range(others))])
    put(tmp_path / "t.csv", [["path", "label"], *([f"{n}.png", "ab"[n % 2]] for n in range(10))])
    found = search(tmp_path)
    assert (found.options is not None) == is_one
    if found.options is not None:
        assert ("skip_missing" in found.options) == (files < 10)
    else:
        assert found.notes == [f"t.csv: names no image below {tmp_path}"]


def test_table_without_a_label_is_named_and_its_columns_asked_for(tmp_path: Path) -> None:
    images(tmp_path, (f"{n}.png" for n in range(10)))
    put(tmp_path / "t.csv", [["path", "age", "sex"], *([f"{n}.png", 40, "fm"[n % 2]] for n in range(10))])
    found = search(tmp_path)
    assert found.options is None
    (note,) = found.notes
    assert "which column is the label? got age, sex" in note
    assert options(tmp_path, label="SEX")["label"] == "sex"


def test_several_tables_the_one_that_gives_a_set_and_why_not_the_others(tmp_path: Path) -> None:
    images(tmp_path, (f"train_images/a{n}.png" for n in range(10)))
    images(tmp_path, (f"test_images/b{n}.png" for n in range(4)))
    put(tmp_path / "test.csv", [["id_code"], *([f"b{n}"] for n in range(4))])
    put(tmp_path / "train.csv", [["id_code", "diagnosis"], *([f"a{n}", n % 2] for n in range(10))])
    put(tmp_path / "scores.csv", [["run", "score"], ["one", 0.5]])
    (tmp_path / "labels.xlsx").touch()
    found = search(tmp_path)
    assert found.options == {"table": "train.csv", "path": "id_code", "label": "diagnosis"}
    notes = " ".join(found.notes)
    assert "test.csv: names 4 images, without a label" in notes
    assert "scores.csv: names no image below" in notes
    assert "labels.xlsx: a workbook" in notes
    for number in range(20):
        put(tmp_path / f"scores{number}.csv", [["run", "score"], ["one", 0.5]])
    assert len(search(tmp_path).notes) == 4


def test_tables_of_the_same_columns_named_after_subsets_are_read_together(tmp_path: Path) -> None:
    for subset, number in (("train", 10), ("valid", 4), ("test", 4)):
        images(tmp_path, (f"set/{subset}/p{n}/view.png" for n in range(number)))
        rows = [[f"set/{subset}/p{n}/view.png", "" if n == 3 else n % 2] for n in range(number)]
        put(tmp_path / "set" / f"{subset}.csv", [["Path", "Edema"], *rows])
    found = options(tmp_path / "set")
    assert sorted(found["table"]) == ["test.csv", "train.csv", "valid.csv"]
    assert found["skip_unlabelled"] is True


def test_rows_without_heads_are_read_as_the_first_row(tmp_path: Path) -> None:
    images(tmp_path, (f"{n}_{n % 2}.png" for n in range(10)))
    rows = [[["TRAIN", "TEST"][n % 5 == 0], f"{n}_{n % 2}.png", n % 2] for n in range(10)]
    put(tmp_path / "medmnist.csv", rows)
    assert options(tmp_path) == {"table": "medmnist.csv"}
    put(tmp_path / "medmnist.csv", (row[1:] for row in rows)).rename(tmp_path / "list.txt")
    assert options(tmp_path) == {"table": "list.txt"}


def test_one_hot_truth_and_patients_of_another_table(tmp_path: Path) -> None:
    images(tmp_path, (f"in/I{n}.jpg" for n in range(12)))
    put(
        tmp_path / "truth.csv",
        [["image", "MEL", "NV"], *([f"I{n}", float(n % 2), float(1 - n % 2)] for n in range(12))],
    )
    put(tmp_path / "meta.csv", [["image", "age", "lesion_id"], *([f"I{n}", 50, n // 2] for n in range(12))])
    assert options(tmp_path) == {
        "table": "truth.csv",
        "path": "image",
        "label": ["MEL", "NV"],
        "patient": "lesion_id",
        "patient_table": "meta.csv",
    }


def test_of_several_findings_the_most_balanced_is_taken_and_the_others_named(tmp_path: Path) -> None:
    images(tmp_path, (f"{n}.png" for n in range(12)))
    rows = [[f"{n}.png", int(n == 0), n % 2, ["1.0", "-1.0", ""][n % 3]] for n in range(12)]
    put(tmp_path / "t.csv", [["path", "Mass", "Edema", "Effusion"], *rows])
    found = search(tmp_path)
    assert found.options == {"table": "t.csv", "label": "Edema"}
    assert "could be another column (Mass, Effusion)" in found.notes[0]
    assert options(tmp_path, label="Mass,Edema")["label"] == ["Mass", "Edema"]


def test_several_labels_in_a_cell_are_left_out(tmp_path: Path) -> None:
    images(tmp_path, (f"{n}.png" for n in range(12)))
    put(tmp_path / "t.csv", [["path", "label"], *([f"{n}.png", ["A", "B", "A|B"][n % 3]] for n in range(12))])
    assert options(tmp_path)["several_labels"] == "skip"


def test_label_that_is_a_mere_guess_gives_way_to_class_folders(tmp_path: Path) -> None:
    images(tmp_path, (f"{['benign', 'malignant'][n % 2]}/{n}.png" for n in range(20)))
    heads = ["file", "zoom"]
    put(tmp_path / "t.csv", [heads, *([f"{n}.png", ["40X", "100X"][n % 2]] for n in range(20))])
    found = search(tmp_path)
    assert found.options is None
    assert "label=zoom" in found.notes[0]
    assert options(tmp_path, label="zoom")["label"] == "zoom"
    put(tmp_path / "t.csv", [["file", "grade"], *([f"{n}.png", n // 2 % 2] for n in range(20))])
    found = search(tmp_path)
    assert found.options is not None
    assert "table=none" in found.notes[-1]
    assert search(tmp_path, table="none") == TableSearch()


def test_table_that_contradicts_itself_gives_way_to_class_folders(tmp_path: Path) -> None:
    images(tmp_path, (f"{['benign', 'malignant'][n % 2]}/{n}.png" for n in range(20)))
    rows = [[f"{n}.png", n % 2, n // 4] for n in range(20)]
    put(tmp_path / "t.csv", [["file", "label", "patient"], *rows, ["3.png", 1, 9]])
    found = search(tmp_path)
    assert found.options is None
    (note,) = found.notes
    assert "row 22: malignant/3.png has another label, patient or split" in note
    with pytest.raises(DataError, match="row 22"):
        search(tmp_path, table="t.csv")


def test_name_may_be_in_two_columns_and_a_row_be_a_folder(tmp_path: Path) -> None:
    images(tmp_path, (f"c{n // 3}/{n % 3}.png" for n in range(30)))
    put(
        tmp_path / "t.csv",
        [["case", "slice", "diagnosis"], *([f"c{n // 3}", f"{n % 3}.png", n % 2] for n in range(30))],
    )
    assert options(tmp_path)["path"] == ["case", "slice"]
    put(tmp_path / "t.csv", [["case", "diagnosis"], *([f"c{n}", n % 2] for n in range(10))])
    assert options(tmp_path)["path"] == "case"


def test_what_is_typed_is_taken_or_refused(tmp_path: Path) -> None:
    images(tmp_path, (f"{n}.png" for n in range(12)))
    rows = [[f"{n}.png", "ab"[n % 2], "xyz"[n % 3], n // 4] for n in range(12)]
    put(tmp_path / "t.csv", [["file", "Plane", "Op", "Fold"], *rows])
    assert options(tmp_path, label="Op", patient="fold") == {
        "table": "t.csv",
        "path": "file",
        "label": "Op",
        "patient": "Fold",
    }
    words = parse_split_words("train:0,train:1,test:2")
    assert words == {"train": ["0", "1"], "test": ["2"]}
    assert options(tmp_path, label="Op", split="Fold", split_words=words)["split_words"] == words
    assert "patient" not in options(tmp_path, label="Op", patient="none")
    with pytest.raises(ConfigError, match="split_words=a:1"):
        parse_split_words("a:1")
    for typed in ({"split": "Fold"}, {"label": "no"}, {"patient": "no"}, {"table": "no.csv"}):
        with pytest.raises(ConfigError, match=next(iter(typed))):
            search(tmp_path, **typed)


@pytest.mark.parametrize(
    ("head", "cells", "wanted"),
    [
        ("set", ["Train", "test"], {}),
        ("Train", ["1", "0"], {"train": "1", "test": "0"}),
        ("is_test", ["True", "False"], {"test": "true", "train": "false"}),
        ("Train_Val_Test", ["1", "2", "3"], {"train": "1", "val": "2", "test": "3"}),
        ("Usage", ["Training Set", "Test Set"], {"train": ["Training Set"], "test": ["Test Set"]}),
        ("fold", ["1", "2", "3"], None),
        ("split", ["train", "other"], None),
        ("split", ["train", "train"], None),
    ],
)
def test_words_of_a_split(head: str, cells: list[str], wanted: dict[str, Any] | None) -> None:
    assert guess_split_words(head, cells) == wanted


def test_words_of_heads() -> None:
    assert list_head_words("patientId") == {"patient", "id"}
    assert list_head_words("Coarse_lesion_type") == {"coarse", "lesion", "type"}


def test_excluded_images_are_not_what_a_table_names(tmp_path: Path) -> None:
    images(tmp_path, (f"{folder}/{n}.png" for folder in ("images", "copy") for n in range(6)))
    put(tmp_path / "t.csv", [("file", "label"), *((f"{n}.png", n % 2) for n in range(6))])
    assert search(tmp_path).options is None
    assert options(tmp_path, exclude=["copy"])["path"] == "file"


@pytest.mark.parametrize("number", ["", "case_id", "index"])
@pytest.mark.parametrize("name", ["{:04}.jpg", "IMG/{:04}.jpg", "IMG/{:04}"])
def test_names_of_files_count_more_than_the_numbers_of_rows(tmp_path: Path, number: str, name: str) -> None:
    images(tmp_path, (f"IMG/{n:04}.jpg" for n in range(1, 41)))
    rows = [[n, name.format(n * 7 % 41), ["pos", "neg"][n % 2]] for n in range(1, 41)]
    put(tmp_path / "t.csv", [[number, "filename", "finding"], *rows])
    found = search(tmp_path)
    assert found.options == {"table": "t.csv", "path": "filename", "label": "finding"}
    assert [f"path={number}" in note for note in found.notes] == [True] * bool(number)  # "" is the index of pandas
    assert options(tmp_path, path=number)["path"] == number
    with pytest.raises(ConfigError, match="path=no"):
        search(tmp_path, path="no")
    put(tmp_path / "t.csv", rows)
    assert options(tmp_path)["table"] == "t.csv"
    assert read_table(tmp_path / "t.csv", FileIndex(scan_folder(tmp_path))).columns == ("column 1", "path", "column 3")


def test_names_of_several_files_do_not_give_way_to_numbers(tmp_path: Path) -> None:
    images(tmp_path, (f"{folder}/{n}.jpg" for folder in "ab" for n in range(1, 21)))
    images(tmp_path, (f"c/{n:04}.jpg" for n in range(1, 21)))
    put(tmp_path / "t.csv", [["id", "file", "label"], *([n, f"{n}.jpg", n % 2] for n in range(1, 21))])
    assert search(tmp_path).options is None


def test_columns_that_could_be_patients_or_folds_are_named(tmp_path: Path) -> None:
    images(tmp_path, (f"{n}.png" for n in range(66)))
    rows = [[f"{n}.png", "ab"[n % 2], 900 + n // 2, n, n % 40 + 20, n % 5] for n in range(66)]
    put(tmp_path / "t.csv", [["file", "label", "Fallnummer", "number", "age", "fold"], *rows])
    patients, fold = search(tmp_path).notes
    assert "could be patients: Fallnummer (33 values in 66 rows)" in patients
    assert "patient=Fallnummer" in patients
    assert "split=fold split_words=train:0,train:1,train:2,train:3,test:4" in fold
    assert len(search(tmp_path, patient="Fallnummer").notes) == 1
    assert search(tmp_path, patient="none", split="none").notes == []


def test_both_eyes_of_a_row_are_read(tmp_path: Path) -> None:
    images(tmp_path, (f"{n}_{side}.jpg" for n in range(10) for side in ("left", "right")))
    rows = [[n, f"{n}_left.jpg", f"{n}_right.jpg", n % 2] for n in range(10)]
    put(tmp_path / "t.csv", [["ID", "Left-Fundus", "Right-Fundus", "label"], *rows])
    assert options(tmp_path) == {"table": "t.csv", "path": "Left-Fundus", "second_path": "Right-Fundus"}


def test_notes_on_an_image_each_are_no_tables(tmp_path: Path) -> None:
    images(tmp_path, (f"{n}.png" for n in range(30)))
    for n in range(30):
        put(tmp_path / "notes" / f"{n}.txt", [[f"{n}.png", n % 2]])
    assert search(tmp_path).options is None


def test_tables_of_parts_are_read_together(tmp_path: Path) -> None:
    for part in ("Base11", "Base12"):
        images(tmp_path, (f"{part}/{part}_{n}.tif" for n in range(10)))
        rows = [[f"{part}_{n}.tif", n % 2] for n in range(10)]
        put(tmp_path / part / f"Annotation_{part}.csv", [["Image name", "grade"], *rows])
    found = options(tmp_path)
    assert found["table"] == ["Base11/Annotation_Base11.csv", "Base12/Annotation_Base12.csv"]


def test_parts_may_have_their_columns_in_another_order(tmp_path: Path) -> None:
    images(tmp_path, (f"{n}.png" for n in range(20)))
    put(tmp_path / "train.csv", [["file", "label"], *([f"{n}.png", n % 2] for n in range(12))])
    put(tmp_path / "test.csv", [["label", "file"], *([n % 2, f"{n}.png"] for n in range(12, 20))])
    assert options(tmp_path) == {"table": ["train.csv", "test.csv"], "path": "file"}


def test_tables_of_one_name_in_the_folders_of_subsets_divide_the_set(tmp_path: Path) -> None:
    images(tmp_path, (f"{subset}/{n}.png" for subset in ("train", "test") for n in range(10)))
    for subset in ("train", "test"):
        put(tmp_path / subset / "labels.csv", [["file", "label"], *([f"{n}.png", n % 2] for n in range(10))])
    found = build_source("csv", options(tmp_path)).listings(scan_folder(tmp_path))
    assert len(found) == 20
    assert all(each.id.startswith(f"{each.subset}/") for each in found)


def test_files_of_one_name_are_those_of_the_subset_of_the_table(tmp_path: Path) -> None:
    images(tmp_path, (f"{subset}/{n}.png" for subset in ("train", "test") for n in range(10)))
    for subset in ("train", "test"):
        put(tmp_path / f"{subset}_labels.csv", [["file", "label"], *([f"{n}.png", n % 2] for n in range(10))])
    assert options(tmp_path) == {"table": ["test_labels.csv", "train_labels.csv"], "path": "file"}


@pytest.mark.parametrize("key", ["path", "label", "patient", "split"])
def test_typed_column_that_there_is_not_is_refused(tmp_path: Path, key: str) -> None:
    images(tmp_path, (f"{n}.png" for n in range(10)))
    rows = ([f"{n}.png", "ab"[n % 2], n // 2, ["train", "test"][n % 2]] for n in range(10))
    put(tmp_path / "t.csv", [["path", "label", "patient", "split"], *rows])
    with pytest.raises(ConfigError, match=f"{key}=none_such: .*: no such column, got 'path', 'label'"):
        search(tmp_path, **{key: "none_such"})


def test_folders_that_a_table_names_are_groups(tmp_path: Path) -> None:
    images(tmp_path, (f"scans/pt {p}/{eye}/{n}.png" for p in range(6) for eye in ("OD", "OS") for n in range(2)))
    put(tmp_path / "t.csv", [["patient", "diagnosis"], *([f"pt {p}", "ab"[p % 2]] for p in range(6))])
    listings = build_source("csv", options(tmp_path)).list_included(scan_folder(tmp_path))
    assert {each.group for each in listings} == {f"pt {p}" for p in range(6)}


def test_lists_of_a_published_split_are_not_dropped_in_silence(tmp_path: Path) -> None:
    images(tmp_path, (f"{name}/{n}.png" for name in ("ill", "well") for n in range(10)))
    for subset, numbers in {"train": range(6), "test": range(6, 10)}.items():
        put(tmp_path / f"{subset}1.txt", [[f"{name}/{n}.png"] for name in ("ill", "well") for n in numbers])
    assert sum("of a published split, which is not followed" in note for note in search(tmp_path).notes) == 2


def test_a_typed_table_that_gives_no_set_is_an_error(tmp_path: Path) -> None:
    images(tmp_path, (f"{folder}/{n}.png" for folder in ("US", "MG") for n in range(10)))
    put(tmp_path / "t.csv", [["id", "histology"], *([n, "ab"[n % 2]] for n in range(10))])
    with pytest.raises(ConfigError, match=r"table=t\.csv: gives no set; .*several times"):
        search(tmp_path, table="t.csv")


def test_a_table_in_utf_16_is_read(tmp_path: Path) -> None:
    images(tmp_path, (f"{n}.png" for n in range(10)))
    rows = ["Datei\tDiagnose", *(f"{n}.png\t{'ja' if n % 2 else 'nein'}" for n in range(10))]
    (tmp_path / "t.csv").write_text("\n".join(rows), encoding="utf-16")
    assert options(tmp_path) == {"table": "t.csv", "path": "Datei", "label": "Diagnose"}
