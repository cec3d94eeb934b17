"""Guess which columns of a table hold the label, the patient and the subset: by their heads, then by their content."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from lowres_ssl.data.csv_table import TRUE_WORDS, CsvTable, LabelCells, is_binary
from lowres_ssl.data.datasets import get_subset, guess_subset, list_words, normalise_word

LABEL_HEADS = ("label", "labels", "class", "category", "diagnosis", "dx", "target", "finding", "finding labels", "y")
LABEL_WORDS = (  # those of the surest labels first
    *("label", "labels", "class", "category", "diagnosis", "diagnostic", "dx", "target", "truth", "pathology"),
    *("outcome", "disease", "condition", "finding", "findings", "grade", "level", "severity", "stage", "malignant"),
    *("malignancy", "subtype", "type", "histology", "tumor", "tumour", "lesion"),
)
# Columns that describe the patient, the machine or the file, whatever values they have.
OTHER_WORDS = {
    *("id", "ids", "index", "idx", "number", "num", "no", "nr", "uid", "key", "code", "name", "file"),
    *("filename", "path", "image", "url", "age", "sex", "gender", "race", "ethnicity", "date", "year", "time"),
    *("day", "view", "position", "projection", "side", "laterality", "eye", "frontal", "lateral", "ap", "pa"),
    *("width", "height", "size", "spacing", "weight", "pixel", "modality", "scanner", "machine", "device"),
    *("manufacturer", "operator", "hospital", "site", "center", "centre", "source", "location", "localization"),
    *("localisation", "anatom", "follow", "offset", "row", "col", "slice", "frame", "x", "y"),
    *("noisy", "quality", "fold", "folder"),
}
PATIENT_HEADS = (
    *("patient", "patient_id", "patientid", "patient id", "subject", "subject_id", "subjectid", "case", "case_id"),
    *("person", "person_id", "pid", "donor", "slide", "slide_id", "lesion_id", "group"),
)
PATIENT_WORDS = {
    *("patient", "patients", "subject", "case", "person", "donor", "lesion", "slide", "pid", "participant"),
    *("individual", "animal", "mouse"),
}
NAMING_WORDS = {"id", "ids", "num", "number", "no", "nr", "index", "idx", "code", "key", "identifier", "name", "uid"}
BOOLEAN_WORDS = ({"1", "0"}, {"true", "false"}, {"yes", "no"})
MAX_CLASSES, MAX_NUMBERED_CLASSES, MIN_ROWS_A_CLASS = 50, 10, 5
MIN_PATIENTS, LEAST_TO_LARGEST = 10, 5  # rows by those of the largest patient
MAX_SPLIT_WORDS = 5
ONE_HOT_SHARE = 0.95  # of the rows with a label that have one only


@dataclass(frozen=True)
class LabelGuess:
    """Hold the column of the label, or those of the classes, and other columns that could be it. `certain`: found by
    a name of labels or as a column a class, so that it counts more than class folders do."""

    columns: list[str]
    others: list[str]
    certain: bool


def list_head_words(head: str) -> set[str]:
    return set(list_words(head.replace("#", " no ")))


def guess_label(table: CsvTable, taken: Iterable[int]) -> LabelGuess | None:
    """Guess from the heads of labels, then a column a class, then words in heads, then any column of few values."""
    free = [place for place in range(len(table.columns)) if place not in taken]
    heads = {place: table.columns[place] for place in free}
    named = [place for name in LABEL_HEADS for place in free if heads[place].lower() == name]
    if found := next((place for place in named if has_classes(table.get_cells(place), alone=len(free) == 1)), None):
        return LabelGuess([heads[found]], [], True)
    truths = [place for place in free if is_binary(table.get_cells(place)) and not is_other_column(heads[place])]
    if len(truths) > 1:
        counts = [sum(cells[place].lower() in TRUE_WORDS for place in truths) for _, cells in table.rows]
        if counts.count(1) >= ONE_HOT_SHARE * sum(count > 0 for count in counts) and counts.count(1) * 2 > len(counts):
            return LabelGuess([heads[place] for place in truths], [], True)
    if len(truths) > 2:
        best = max(truths, key=lambda place: measure_balance(table.get_cells(place)))
        return LabelGuess([heads[best]], [heads[place] for place in truths if place != best], True)
    plausible = [place for place in free if not is_other_column(heads[place]) and has_classes(table.get_cells(place))]
    worded = [place for word in LABEL_WORDS for place in plausible if word in list_head_words(heads[place])]
    few = max(2, len(table.rows) // MIN_ROWS_A_CLASS)
    likely = [place for place in plausible if place in worded or len(set(table.get_cells(place))) <= few]
    if not likely:
        alone = len(free) == 1 and has_classes(table.get_cells(free[0]), alone=True)
        return LabelGuess([heads[free[0]]], [], True) if alone else None
    best = (worded or likely)[0]
    return LabelGuess([heads[best]], [heads[place] for place in likely if place != best], bool(worded))


def is_other_column(head: str) -> bool:
    """Whether a head has words of what is no label, and none of labels beside numbers and names ("class_id")."""
    words = list_head_words(head)
    return bool(words & OTHER_WORDS) and not (words & set(LABEL_WORDS) and not words & OTHER_WORDS - NAMING_WORDS)


def has_classes(cells: Sequence[str], *, alone: bool = False) -> bool:
    """Whether a column may hold classes: at least two labels, not one for each row or two, few if they are numbers.
    `alone`: no other column may, so that two labels are enough."""
    column = LabelCells(cells)
    labels = {part for cell in set(cells) if not column.is_missing(cell) for part in column.split(cell)}
    if alone or len(labels) < 2:
        return len(labels) > 1
    numbers = all(re.fullmatch(r"-?\d+([.,]\d+)?", label) for label in labels)
    return len(labels) <= min(MAX_NUMBERED_CLASSES if numbers else MAX_CLASSES, max(2, len(cells) // 2))


def measure_balance(cells: Sequence[str]) -> tuple[int, int]:
    """Count the rows of the rarer of 1 and 0, then those with either."""
    true = sum(cell.lower() in TRUE_WORDS for cell in cells)
    false = sum(cell.lower() in ("0", "0.0", "false", "no") for cell in cells)
    return min(true, false), true + false


def guess_patient(table: CsvTable, taken: Iterable[int]) -> str | None:
    """Guess a column of patients: named as one, and with several images of some."""
    free = [place for place in range(len(table.columns)) if place not in taken]
    named = [place for name in PATIENT_HEADS for place in free if table.columns[place].lower() == name]
    for place in free:
        words = list_head_words(table.columns[place])
        if words & PATIENT_WORDS and words & NAMING_WORDS and not words - PATIENT_WORDS - NAMING_WORDS:
            named.append(place)
    return next((table.columns[place] for place in named if len(set(table.get_cells(place))) < len(table.rows)), None)


def find_patient_like(table: CsvTable, taken: Iterable[int]) -> tuple[str, int] | None:
    """Find the column that could be patients by its values, and their number: in enough groups, most of several rows,
    of which none is too large, as `guess_patients` wants where no word names them."""
    found = []
    for place, head in enumerate(table.columns):
        if place not in taken and head and not list_head_words(head) & OTHER_WORDS - NAMING_WORDS:
            sizes = Counter(cell for cell in table.get_cells(place) if cell)
            shared = sum(size for size in sizes.values() if size > 1)
            if len(sizes) >= MIN_PATIENTS and 2 * shared > len(table.rows) > LEAST_TO_LARGEST * max(sizes.values()):
                found.append((head, len(sizes)))
    return max(found, key=lambda each: each[1], default=None)


def guess_split(table: CsvTable, taken: Iterable[int]) -> tuple[str | None, dict[str, Any] | None]:
    """Guess a column of subsets, with the map of its words if they are not train, val and test."""
    for place, head in enumerate(table.columns):
        words = None if place in taken else guess_split_words(head, table.get_cells(place))
        if words is not None:
            return head, words or None
    return None, None


def guess_split_words(head: str, cells: Sequence[str]) -> dict[str, Any] | None:
    """Guess what the words of a split column mean; empty if they are train, val and test, None if it is none."""
    values = sorted({normalise_word(cell) for cell in cells})
    if len(values) < 2 or "" in values:
        return None
    if all(map(get_subset, values)):
        return {}
    named = {cell: subset for cell in set(cells) if (subset := guess_subset(cell)) is not None}
    if len(named) == len(set(cells)) <= MAX_SPLIT_WORDS:
        return {subset: sorted(cell for cell in named if named[cell] == subset) for subset in set(named.values())}
    subsets = [subset for word in re.findall(r"[a-z]+", head.lower()) if (subset := get_subset(word))]
    if len(subsets) == len(values) and all(value.isdecimal() for value in values) and len(subsets) > 1:
        return dict(zip(subsets, values, strict=True))  # Train_Val_Test of 1, 2, 3
    if len(subsets) == 1 and set(values) in BOOLEAN_WORDS:
        true, false = next((one, other) for one in values for other in values if one in TRUE_WORDS and other != one)
        return {subsets[0]: true, "test" if subsets[0] == "train" else "train": false}
    return None


def find_column(columns: Sequence[str], typed: str) -> str | None:
    """Find the column that was typed, whatever its case."""
    return next((each for each in columns if each.lower() == typed.strip().lower()), None)


def find_columns(columns: Sequence[str], typed: str) -> list[str]:
    """Find the column that was typed, or several with commas between them; none where one of them is not there."""
    wanted = [typed] if find_column(columns, typed) else typed.split(",")
    found = [each for name in wanted if (each := find_column(columns, name)) is not None]
    return found if len(found) == len(wanted) else []
