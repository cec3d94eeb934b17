"""Sort results into chapters: for each data set and split, what every probe predicted of its test images."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lowres_ssl.config.experiment_schema import RANDOM_BASELINES
from lowres_ssl.errors import UserError
from lowres_ssl.reporting.cells import LEGEND_NAMES, Integers, ScoredCell, read_cell
from lowres_ssl.runs.predictions import TestPredictions, check_same_predicted_images
from lowres_ssl.runs.query import ResultColumn, ResultFilters, select_columns, select_ordinary

BASELINES = (*RANDOM_BASELINES, "trivial")  # to be compared with: they do not count among methods that are all wrong
PROBE_ORDER = ("knn", "linear", "logistic")  # others after them


@dataclass(frozen=True)
class ProbeResults:
    """Hold all encoders that one probe scored, each at its best batch size; at least one."""

    probe: str
    label: str
    cells: Sequence[ScoredCell]

    def judged(self) -> Sequence[ScoredCell]:
        """The methods that are compared: all but the baselines, or those if there is nothing else."""
        return [each for each in self.cells if each.entry not in BASELINES] or self.cells


@dataclass(frozen=True)
class Chapter:
    """Hold one data set under one split: its probes, at least one, all on the same test images."""

    dataset: str
    title: str
    split_seed: int
    split_digest: str
    probes: Sequence[ProbeResults]

    @property
    def first(self) -> ScoredCell:
        """Any cell: for what all results of the chapter share."""
        return self.probes[0].cells[0]

    @property
    def tested(self) -> TestPredictions:
        """Ids, groups, labels, classes of the test images."""
        return self.first.tested

    def entries(self) -> dict[str, ScoredCell]:
        """Each entry once, as the first probe that has it scored it."""
        found: dict[str, ScoredCell] = {}
        for probed in self.probes:
            for cell in probed.cells:
                found.setdefault(cell.entry, cell)
        return found


def build_sections(frame: pd.DataFrame, filters: ResultFilters) -> tuple[list[Chapter], list[str]]:
    """Build a chapter for each data set and split seed, and a line for each part that cannot be shown."""
    problems: list[str] = []
    by_split: dict[tuple[str, int, str], list[ProbeResults]] = defaultdict(list)
    rows = filters.apply(select_ordinary(frame))
    for dataset in sorted(set(rows["dataset"])):
        probes = set(rows.loc[rows["dataset"] == dataset, "probe"])
        for probe in sorted(probes, key=lambda each: (get_place(each, PROBE_ORDER), each)):
            try:
                columns = select_columns(frame, replace(filters, dataset=dataset, probe=probe))
            except UserError as error:
                problems.append(str(error))
                continue
            for column in columns:
                cells, more = read_column_cells(column)
                problems += more
                if cells:
                    key = (dataset, column.split_seed, str(column.rows["split_digest"].iloc[0]))
                    by_split[key].append(ProbeResults(probe, str(column.rows["label"].iloc[0]), cells))
    chapters = []
    for (dataset, split_seed, split_digest), probed in sorted(by_split.items()):
        title = str(probed[0].cells[0].cell.rows["title"].iloc[0])
        try:
            check_same_predicted_images([(each.cell, each.tested) for own in probed for each in own.cells])
        except UserError as error:
            problems.append(str(error))
            continue
        chapters.append(Chapter(dataset, title, split_seed, split_digest, probed))
    return chapters, list(dict.fromkeys(problems))


def read_column_cells(column: ResultColumn) -> tuple[list[ScoredCell], list[str]]:
    """The cells of a column in the order of the legends, baselines last; and a line for each that cannot be shown."""
    cells, problems = [], []
    known = list(LEGEND_NAMES)
    for entry in sorted(column.entries(), key=lambda each: (each in BASELINES, get_place(each, known), each)):
        try:
            cell = read_cell(column, entry)
            assert cell is not None, "an entry of the column"
            cells.append(cell)
        except UserError as error:
            problems.append(str(error))
    return cells, problems


def get_place(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


@dataclass(frozen=True)
class HardExamples:
    """Hold places of test images, int64. all_wrong: no method's vote is right. disputed: the votes differ, the most
    evenly divided first. `methods`: whose votes."""

    probe: str
    label: str
    methods: tuple[str, ...]
    all_wrong: Integers
    disputed: Integers


def find_hard_examples(probed: ProbeResults) -> HardExamples:
    """Find them by the votes of the compared methods' seeds (see `ScoredCell.vote`); one method disputes nothing."""
    methods = probed.judged()
    labels, classes = methods[0].tested.labels, len(methods[0].tested.classes)
    votes = np.stack([method.vote()[0] for method in methods])  # [M, n]
    wrong = (votes != labels).all(axis=0)
    for_class = (votes[:, :, None] == np.arange(classes)).sum(axis=0)  # [n, C]
    most = for_class.max(axis=1)
    disputed = np.flatnonzero(most < len(methods))
    return HardExamples(
        probe=probed.probe,
        label=probed.label,
        methods=tuple(method.name for method in methods),
        all_wrong=np.flatnonzero(wrong).astype(np.int64),
        disputed=disputed[np.argsort(most[disputed], kind="stable")].astype(np.int64),
    )
