"""The table of a run, letter for letter; what the largest class alone is worth; what a search is given."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score
from stored_runs import made_up_result

from lowres_ssl.experiment.scores import compute_objective, format_label_share, format_score_table, score_largest_class
from lowres_ssl.runs.records import ResultRecord, SplitSummary, SubsetSizes


def result(label: str, accuracy: float, weighted_f1: float, sizes: tuple[int, ...] = (6, 4)) -> ResultRecord:
    """A stored result; `sizes` are the test images of each class."""
    matrix = [[size, *[0] * (len(sizes) - 1)] for size in sizes]
    made = made_up_result(
        label=label, images=SubsetSizes(70, 10, sum(sizes)), split=SplitSummary("stratified", 3, "0" * 64)
    )
    test = replace(made.test, accuracy=accuracy, weighted_f1=weighted_f1, confusion_matrix=matrix)
    return replace(made, test=test)


ROWS = [
    ("vicreg, batch size 64, 250 epochs", [result("KNN (k=200)", 0.87654, 0.8), result("linear (MLP)", 0.9, 0.91239)]),
    ("random initialisation", [result("KNN (k=200)", 0.7, 0.6), result("linear (MLP)", 1.0, 1.0)]),
]

GOLDEN = """\
Chest X-rays
70 images train, 10 validate, 10 test (split stratified, split_seed 3); scores on the test images:

                                                  KNN (k=200)              linear (MLP)
                                        accuracy  weighted F1     accuracy  weighted F1
vicreg, batch size 64, 250 epochs          0.877        0.800        0.900        0.912
random initialisation                      0.700        0.600        1.000        1.000
always the largest class                   0.600        0.450        0.600        0.450"""


def test_table_letter_for_letter() -> None:
    assert format_score_table(ROWS, "Chest X-rays") == GOLDEN


def test_a_row_without_one_of_the_probes_has_dashes_there() -> None:
    rows = [
        ("supervised", [result("knn", 0.5, 0.25), result("end to end", 0.75, 0.5)]),
        ("random", [result("knn", 0, 1)]),
    ]
    lines = format_score_table(rows, "T").splitlines()
    assert lines[-2].split() == ["random", "0.000", "1.000", "-", "-"]


@pytest.mark.parametrize("name", ["x", "a" * 60])
@pytest.mark.parametrize("label", ["x", "KNN (k=200)", "a probe with a name that takes much room", "b" * 27])
def test_columns_line_up_however_long_the_names_are(name: str, label: str) -> None:
    lines = format_score_table([(name, [result(label, 0.1, 0.2), result("last", 0.3, 0.4)])], "T").splitlines()
    assert len({len(line) for line in lines[3:]}) == 1
    assert lines[3].endswith(" last")
    ends = [len(line) - len("  0.300") - len(line.rpartition("0.3")[2]) for line in lines if "0.300" in line]
    assert lines[3].index(label) + len(label) < ends[0]


@pytest.mark.parametrize("sizes", [(6, 4), (4, 6), (5, 5), (1, 0), (3, 0, 9, 1), (2, 2, 2)])
def test_largest_class_is_worth_what_scikit_learn_says(sizes: tuple[int, ...]) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    answers = np.full(len(labels), int(np.argmax(sizes)))
    accuracy, weighted_f1 = score_largest_class(result("any", 0.0, 0.0, sizes))
    assert accuracy == pytest.approx(accuracy_score(labels, answers))
    wanted = f1_score(labels, answers, labels=np.unique(labels), average="weighted", zero_division=0.0)
    assert weighted_f1 == pytest.approx(wanted)


def scored(probe: str, validation: float | None, test: float = 1.0) -> ResultRecord:
    made = made_up_result(probe=probe)
    scores = None if validation is None else replace(made.test, accuracy=validation)
    return replace(made, validation=scores, test=replace(made.test, accuracy=test))


@pytest.mark.parametrize(
    ("results", "wanted"),
    [
        ([scored("knn", 0.75, test=0.0), scored("linear", 0.9)], 0.75),
        ([scored("knn", 0.5), scored("knn", 0.75)], 0.625),  # of several draws of the labels
        ([], None),
        ([scored("linear", 0.9)], None),
        ([scored("knn", 0.5), scored("knn", None)], None),
    ],
)
def test_objective_is_the_mean_validation_accuracy_of_knn(results: list[ResultRecord], wanted: float | None) -> None:
    assert compute_objective(results) == wanted


@pytest.mark.parametrize(
    ("fraction", "used", "images", "text"),
    [
        (1.0, 112, 112, "100% of the labels (112 images)"),
        (0.25, 8, 28, "25% of the labels (8 images)"),
        (0.001, 4, 1120, "4 of 1,120 labels (0.1% asked for)"),
        (0.001, 4, 112, "4 of 112 labels (0.1% asked for)"),
    ],
)
def test_number_of_labels_comes_first_where_it_is_not_the_fraction(
    fraction: float, used: int, images: int, text: str
) -> None:
    assert format_label_share(fraction, used, images) == text
