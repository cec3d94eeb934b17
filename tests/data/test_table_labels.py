"""Labels of a row: one, several in a cell, a column a class."""

import pytest

from lowres_ssl.data.csv_table import LabelCells, is_binary, list_true_columns
from lowres_ssl.errors import DataError


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


def test_columns_of_classes() -> None:
    assert is_binary(["1.0", "0.0", "", "-1"])
    assert not is_binary(["0", ""])
    assert not is_binary(["1", "2"])
    assert list_true_columns(["1.0", "0", ""], ["A", "B", "C"], "row 2") == ["A"]
    with pytest.raises(DataError, match=r"row 2: B is '0\.7'"):
        list_true_columns(["1", "0.7"], ["A", "B"], "row 2")
