"""Tables beside images: which column is what, by its name and by which files are there."""

from pathlib import Path

import pytest

from lowres_ssl.errors import DataError
from lowres_ssl.init import guesses
from lowres_ssl.init.guesses import guess_label_table


def table(folder: Path, text: str, files: int = 10, place: str = "", suffix: str = ".png") -> Path:
    """A table in `folder`, and `files` images of which its rows can tell."""
    (folder / place).mkdir(parents=True, exist_ok=True)
    for number in range(files):
        (folder / place / f"{number}{suffix}").touch()
    (folder / "labels.csv").write_text(text)
    return folder


def rows(heads: str, row: str, number: int = 10) -> str:
    return "\n".join([heads, *(row.format(n=n, kind="ab"[n % 2], patient=n // 2) for n in range(number))])


def test_columns_are_known_by_their_names_and_files(tmp_path: Path) -> None:
    text = rows("Patient_ID,file,Diagnosis,age", "{patient},{n}.png,{kind},40")
    found = guess_label_table(table(tmp_path, text))
    assert found is not None
    assert found.root == tmp_path
    assert found.options == {"path": "file", "label": "Diagnosis", "patient": "Patient_ID"}


def test_images_may_lie_in_a_folder_and_have_no_suffix_in_the_table(tmp_path: Path) -> None:
    found = guess_label_table(table(tmp_path, rows("path,label", "{n},{kind}"), place="images", suffix=".jpg"))
    assert found is not None
    assert found.root == tmp_path / "images"
    assert found.options == {"table": "../labels.csv", "suffix": ".jpg"}


@pytest.mark.parametrize(("files", "is_one"), [(10, True), (8, True), (7, False), (0, False)])
def test_four_of_five_files_must_be_there(tmp_path: Path, files: int, is_one: bool) -> None:
    assert (guess_label_table(table(tmp_path, rows("path,label", "{n}.png,{kind}"), files=files)) is not None) == is_one


def test_which_column_is_the_label_is_asked_where_it_cannot_be_known(tmp_path: Path) -> None:
    text = rows("path,age,sex", "{n}.png,40,{kind}")
    with pytest.raises(DataError, match=r"which one is the label\? got 'age', 'sex'; rename that column to label"):
        guess_label_table(table(tmp_path, text))


def test_a_split_of_other_words_is_no_split(tmp_path: Path) -> None:
    found = guess_label_table(table(tmp_path, rows("path,label,fold", "{n}.png,{kind},{patient}")))
    assert found is not None
    assert "fold" not in found.options.values()


def test_a_table_of_other_files_is_given_up_soon_in_each_of_many_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = table(tmp_path, rows("name,remark", "x{n},none", number=50), files=0)
    for number in range(20):
        (folder / f"patient{number}").mkdir()
    asked = []
    monkeypatch.setattr(guesses, "is_existing_file", asked.append)
    assert guess_label_table(folder) is None
    assert len(asked) == 21 * 2 * len(guesses.PATH_SUFFIXES) * 11  # of 50 rows, 11 that are not there are enough
