"""Tables beside images: found by what they name, whatever their columns are called; the reason why others are not."""

from collections.abc import Iterable, Mapping
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


def fill(text: str, numbers: Iterable[int] = range(10)) -> list[str]:
    """Fill in each number n, and what follows from it."""
    return [text.format(n=n, odd=n % 2, even=1 - n % 2, half=n // 2, third=n // 3, rest=n % 3) for n in numbers]


def table(heads: str, row: str, numbers: Iterable[int] = range(10)) -> str:
    return "\n".join([heads, *fill(row, numbers)])


TEN, TWELVE = fill("{n}.png"), fill("{n}.png", range(12))
BY_CLASS = [*fill("benign/{n}.png", range(0, 20, 2)), *fill("malignant/{n}.png", range(1, 20, 2))]


def put(folder: Path, images: Iterable[str], tables: Mapping[str, str]) -> None:
    for name, text in {**dict.fromkeys(images, ""), **tables}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def search(folder: Path, **typed: Any) -> TableSearch:
    return find_label_table(scan_folder(folder), TypedInput(**typed))


def options(folder: Path, **typed: Any) -> dict[str, Any]:
    found = search(folder, **typed)
    assert found.options is not None, found.notes
    return found.options


# The images, the tables, and the options of the set that they give, if any.
CASES: dict[str, tuple[list[str], dict[str, str], dict[str, Any] | None]] = {
    "columns are known by their names and files": (
        TEN,
        {"t.csv": table("Patient_ID,file,Diagnosis,age", "{half},{n}.png,{odd},40")},
        {"table": "t.csv", "path": "file", "label": "Diagnosis", "patient": "Patient_ID"},
    ),
    "files lie in parts and have no suffix in the table": (
        fill("images_part_{odd}/ISIC_{n}.jpg"),
        {"meta.csv": table("image_id,dx,dx_type", "ISIC_{n},{odd},histo")},
        {"table": "meta.csv", "path": "image_id", "label": "dx"},
    ),
    "tables of the same columns named after subsets, paths from the folder's own name on": (
        [*fill("train/p{n}/view.png"), *fill("test/p{n}/view.png")],
        {
            "train.csv": table("Path,Edema", "set/train/p{n}/view.png,{odd}"),
            "test.csv": table("Path,Edema", "set/test/p{n}/view.png,{odd}") + "\nset/test/p3/view.png,",
        },
        {"table": ["test.csv", "train.csv"], "path": "Path", "label": "Edema", "skip_unlabelled": True},
    ),
    "no heads, with subsets": (
        TEN,
        {"t.csv": "\n".join([*fill("TRAIN,{n}.png,{odd}", range(8)), *fill("TEST,{n}.png,{odd}", range(8, 10))])},
        {"table": "t.csv"},
    ),
    "no heads in a list": (TEN, {"list.txt": "\n".join(fill("{n}.png,{odd}"))}, {"table": "list.txt"}),
    "a column a class, and patients of another table": (
        fill("in/I{n}.jpg"),
        {
            "truth.csv": table("image,MEL,NV", "I{n},{odd}.0,{even}.0"),
            "meta.csv": table("image,age,lesion_id", "I{n},50,{half}"),
        },
        {
            "table": "truth.csv",
            "path": "image",
            "label": ["MEL", "NV"],
            "patient": "lesion_id",
            "patient_table": "meta.csv",
        },
    ),
    "several labels in a cell": (
        TEN,
        {"t.csv": table("path,label", "{n}.png,{odd}") + "\n1.png,0|1"},
        {"table": "t.csv", "several_labels": "skip"},
    ),
    "folder and name in two columns": (
        fill("c{third}/{rest}.png", range(30)),
        {"t.csv": table("case,slice,diagnosis", "c{third},{rest}.png,{odd}", range(30))},
        {"table": "t.csv", "path": ["case", "slice"], "label": "diagnosis"},
    ),
    "a row a folder": (
        fill("c{third}/{rest}.png", range(30)),
        {"t.csv": table("case,diagnosis", "c{n},{odd}")},
        {"table": "t.csv", "path": "case", "label": "diagnosis"},
    ),
    "both eyes of a row": (
        [*fill("{n}_left.jpg"), *fill("{n}_right.jpg")],
        {"t.csv": table("ID,Left-Fundus,Right-Fundus,label", "{n},{n}_left.jpg,{n}_right.jpg,{odd}")},
        {"table": "t.csv", "path": "Left-Fundus", "second_path": "Right-Fundus"},
    ),
    "tables of parts": (
        [*fill("A/A_{n}.tif"), *fill("B/B_{n}.tif")],
        {f"{part}/notes_{part}.csv": table("Image name,grade", f"{part}_{{n}}.tif,{{odd}}") for part in "AB"},
        {"table": ["A/notes_A.csv", "B/notes_B.csv"], "path": "Image name", "label": "grade"},
    ),
    "tables of parts with columns in another order": (
        fill("{n}.png", range(20)),
        {
            "test.csv": table("label,file", "{odd},{n}.png", range(12, 20)),
            "train.csv": table("file,label", "{n}.png,{odd}"),
        },
        {"table": ["train.csv", "test.csv"], "path": "file"},
    ),
    "files of one name are those of the subset of the table": (
        [*fill("train/{n}.png"), *fill("test/{n}.png")],
        {f"{subset}_labels.csv": table("file,label", "{n}.png,{odd}") for subset in ("train", "test")},
        {"table": ["test_labels.csv", "train_labels.csv"], "path": "file"},
    ),
    "notes on an image each": (fill("{n}.png", range(30)), {f"notes/{n}.txt": f"{n}.png,1" for n in range(30)}, None),
    "names of several files do not give way to numbers": (
        [*fill("a/{n}.jpg", range(1, 21)), *fill("b/{n}.jpg", range(1, 21)), *fill("c/{n:04}.jpg", range(1, 21))],
        {"t.csv": table("id,file,label", "{n},{n}.jpg,{odd}", range(1, 21))},
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_table_that_gives_the_set(tmp_path: Path, case: str) -> None:
    images, tables, wanted = CASES[case]
    put(tmp_path / "set", images, tables)
    assert search(tmp_path / "set").options == wanted


@pytest.mark.parametrize(
    ("files", "others", "is_one"), [(10, 0, True), (8, 20, True), (7, 0, True), (7, 20, False), (0, 1, False)]
)
def test_most_rows_name_a_file_or_half_of_the_files_are_named(
    tmp_path: Path, files: int, others: int, is_one: bool
) -> None:
    images = [*TEN[:files], *fill("x{n}.png", range(others))]
    put(tmp_path, images, {"t.csv": table("path,label", "{n}.png,{odd}")})
    found = search(tmp_path)
    assert (found.options is not None) == is_one
    if found.options is not None:
        assert ("skip_missing" in found.options) == (files < 10)
    else:
        assert found.notes == [f"t.csv: names no image below {tmp_path}"]


def test_table_without_a_label_is_named_and_its_columns_asked_for(tmp_path: Path) -> None:
    put(tmp_path, TEN, {"t.csv": table("path,age,sex", "{n}.png,40,{odd}")})
    found = search(tmp_path)
    assert found.options is None
    (note,) = found.notes
    assert "which column is the label? got age, sex" in note
    assert options(tmp_path, label="SEX")["label"] == "sex"


def test_several_tables_the_one_that_gives_a_set_and_why_not_the_others(tmp_path: Path) -> None:
    tables = {
        "test.csv": table("id_code", "b{n}", range(4)),
        "train.csv": table("id_code,diagnosis", "a{n},{odd}"),
        "scores.csv": "run,score\none,0.5",
        "labels.xlsx": "",
    }
    put(tmp_path, [*fill("train_images/a{n}.png"), *fill("test_images/b{n}.png", range(4))], tables)
    found = search(tmp_path)
    assert found.options == {"table": "train.csv", "path": "id_code", "label": "diagnosis"}
    notes = " ".join(found.notes)
    assert "test.csv: names 4 images, without a label" in notes
    assert "scores.csv: names no image below" in notes
    assert "labels.xlsx: a workbook" in notes
    put(tmp_path, [], dict.fromkeys(fill("scores{n}.csv", range(20)), tables["scores.csv"]))
    assert len(search(tmp_path).notes) == 4


def test_of_several_findings_the_most_balanced_is_taken_and_the_others_named(tmp_path: Path) -> None:
    findings = table("path,Mass,Edema,Effusion", "{n}.png,0,{odd},-1.0") + "\n10.png,1,0,1.0\n11.png,0,1,"
    put(tmp_path, TWELVE, {"t.csv": findings})
    found = search(tmp_path)
    assert found.options == {"table": "t.csv", "label": "Edema"}
    assert "could be another column (Mass, Effusion)" in found.notes[0]
    assert options(tmp_path, label="Mass,Edema")["label"] == ["Mass", "Edema"]


def test_label_that_is_a_mere_guess_gives_way_to_class_folders(tmp_path: Path) -> None:
    put(tmp_path, BY_CLASS, {"t.csv": table("file,zoom", "{n}.png,{odd}X", range(20))})
    found = search(tmp_path)
    assert found.options is None
    assert "label=zoom" in found.notes[0]
    assert options(tmp_path, label="zoom")["label"] == "zoom"
    put(tmp_path, [], {"t.csv": table("file,grade", "{n}.png,{rest}", range(20))})
    found = search(tmp_path)
    assert found.options is not None
    assert "table=none" in found.notes[-1]
    assert search(tmp_path, table="none") == TableSearch()


def test_table_that_contradicts_itself_gives_way_to_class_folders(tmp_path: Path) -> None:
    wrong = table("file,label,patient", "{n}.png,{odd},{half}", range(20)) + "\n3.png,1,9"
    put(tmp_path, BY_CLASS, {"t.csv": wrong, "truth.csv": table("file,MEL,NV", "{n}.png,{odd},{even}")})
    found = search(tmp_path)
    assert found.options is None
    why, other = found.notes
    assert "row 22: malignant/3.png has another label, patient or split" in why
    assert "label=MEL,NV" in other
    with pytest.raises(DataError, match="row 22"):
        search(tmp_path, table="t.csv")


def test_what_is_typed_is_taken_or_refused(tmp_path: Path) -> None:
    put(tmp_path, TWELVE, {"t.csv": table("file,Plane,Op,Fold", "{n}.png,{odd},x{rest},{rest}", range(12))})
    wanted = {"table": "t.csv", "path": "file", "label": "Op", "patient": "Fold"}
    assert options(tmp_path, label="Op", patient="fold") == wanted
    words = parse_split_words("train:0,train:1,test:2")
    assert words == {"train": ["0", "1"], "test": ["2"]}
    assert options(tmp_path, label="Plane", split="Fold", split_words=words)["split_words"] == words
    assert "patient" not in options(tmp_path, label="Op", patient="none")
    with pytest.raises(ConfigError, match="split_words=a:1"):
        parse_split_words("a:1")
    for typed in ({"split": "Fold"}, {"table": "no.csv"}):
        with pytest.raises(ConfigError, match=next(iter(typed))):
            search(tmp_path, **typed)
    for key in ("path", "label", "patient", "split"):
        with pytest.raises(ConfigError, match=f"{key}=none_such: .*: no such column, got 'file', 'Plane'"):
            search(tmp_path, **{key: "none_such"})


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
    put(tmp_path, [*fill("images/{n}.png"), *fill("copy/{n}.png")], {"t.csv": table("file,label", "{n}.png,{odd}")})
    assert search(tmp_path).options is None
    assert options(tmp_path, exclude=["copy"])["path"] == "file"


@pytest.mark.parametrize("number", ["", "case_id", "index"])
@pytest.mark.parametrize("name", ["{:04}.jpg", "IMG/{:04}.jpg", "IMG/{:04}"])
def test_names_of_files_count_more_than_the_numbers_of_rows(tmp_path: Path, number: str, name: str) -> None:
    rows = [f"{n},{name.format(n * 7 % 41)},{n % 2}" for n in range(1, 41)]
    heads = f"{number},filename,finding"
    put(tmp_path, fill("IMG/{n:04}.jpg", range(1, 41)), {"t.csv": "\n".join([heads, *rows])})
    found = search(tmp_path)
    assert found.options == {"table": "t.csv", "path": "filename", "label": "finding"}
    assert [f"path={number}" in note for note in found.notes] == [True] * bool(number)  # "" is the index of pandas
    assert options(tmp_path, path=number)["path"] == number
    put(tmp_path, [], {"t.csv": "\n".join(rows)})
    assert options(tmp_path)["table"] == "t.csv"
    assert read_table(tmp_path / "t.csv", FileIndex(scan_folder(tmp_path))).columns == ("column 1", "path", "column 3")


def test_columns_that_could_be_patients_or_folds_are_named(tmp_path: Path) -> None:
    rows = [f"{n}.png,{n % 2},{900 + n // 2},{n},{n % 40 + 20},{n % 5}" for n in range(66)]
    heads = "file,label,Fallnummer,number,age,fold"
    put(tmp_path, fill("{n}.png", range(66)), {"t.csv": "\n".join([heads, *rows])})
    patients, fold = search(tmp_path).notes
    assert "could be patients: Fallnummer (33 values in 66 rows)" in patients
    assert "patient=Fallnummer" in patients
    assert "split=fold split_words=train:0,train:1,train:2,train:3,test:4" in fold
    assert len(search(tmp_path, patient="Fallnummer").notes) == 1
    assert search(tmp_path, patient="none", split="none").notes == []


def test_tables_of_one_name_in_the_folders_of_subsets_divide_the_set(tmp_path: Path) -> None:
    for subset in ("train", "test"):
        put(tmp_path / subset, TEN, {"labels.csv": table("file,label", "{n}.png,{odd}")})
    found = build_source("csv", options(tmp_path)).listings(scan_folder(tmp_path))
    assert len(found) == 20
    assert all(each.id.startswith(f"{each.subset}/") for each in found)


def test_folders_that_a_table_names_are_groups(tmp_path: Path) -> None:
    images = [*fill("scans/pt {half}/OD/{odd}.png", range(12)), *fill("scans/pt {half}/OS/{odd}.png", range(12))]
    put(tmp_path, images, {"t.csv": table("patient,diagnosis", "pt {n},{odd}", range(6))})
    listings = build_source("csv", options(tmp_path)).list_included(scan_folder(tmp_path))
    assert {each.group for each in listings} == set(fill("pt {n}", range(6)))


def test_lists_of_a_published_split_are_not_dropped_in_silence(tmp_path: Path) -> None:
    train, test = ([*fill("ill/{n}.png", own), *fill("well/{n}.png", own)] for own in (range(6), range(6, 10)))
    put(tmp_path, [*train, *test], {"train1.txt": "\n".join(train), "test1.txt": "\n".join(test)})
    assert sum("of a published split, which is not followed" in note for note in search(tmp_path).notes) == 2


def test_a_typed_table_that_gives_no_set_is_an_error(tmp_path: Path) -> None:
    images = [*fill("US/{{x}}{n}.png"), *fill("MG/{{x}}{n}.png")]
    put(tmp_path, images, {"t.csv": table("id,histology", "{{x}}{n},{odd}")})
    with pytest.raises(ConfigError, match=r"table=t\.csv: gives no set; .*several times .*, such as MG/\{x\}\d\.png"):
        search(tmp_path, table="t.csv")


def test_a_table_in_utf_16_is_read(tmp_path: Path) -> None:
    put(tmp_path, TEN, {})
    (tmp_path / "t.csv").write_text(table("Datei\tDiagnose", "{n}.png\t{odd}"), encoding="utf-16")
    assert options(tmp_path) == {"table": "t.csv", "path": "Datei", "label": "Diagnose"}
