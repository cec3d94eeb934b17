"""From the ledger to chapters. What may not stand beside each other is left out, and said."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from lowres_ssl.errors import UserError
from lowres_ssl.reporting.figures._panel import LEGEND_NAMES
from lowres_ssl.reporting.html import BASELINES, Chapter, Integers, Method, Probed
from lowres_ssl.runs.predictions import check_same_predicted_images, read_test_predictions
from lowres_ssl.runs.query import ResultColumn, ResultFilters, select_columns, select_ordinary

ENCODER_TITLES = LEGEND_NAMES | {"trivial": "mean colour and size"}
PROBE_ORDER = ("knn", "linear", "logistic")  # in this order; others after them


def build_sections(frame: pd.DataFrame, filters: ResultFilters) -> tuple[list[Chapter], list[str]]:
    """A chapter a data set and split seed, and a line for each part that cannot be shown. `frame`: the ledger."""
    problems: list[str] = []
    by_split: dict[tuple[str, int, str], list[Probed]] = defaultdict(list)
    rows = filters.apply(select_ordinary(frame))
    for dataset in sorted(set(rows["dataset"])):
        probes = set(rows.loc[rows["dataset"] == dataset, "probe"])
        for probe in sorted(
            probes, key=lambda each: (PROBE_ORDER.index(each) if each in PROBE_ORDER else len(PROBE_ORDER), each)
        ):
            try:
                columns = select_columns(frame, replace(filters, dataset=dataset, probe=probe))
            except UserError as error:
                problems.append(str(error))
                continue
            for column in columns:
                methods, said = list_method_results(column)
                problems += said
                if methods:
                    key = (dataset, column.split_seed, str(column.rows["split_digest"].iloc[0]))
                    by_split[key].append(Probed(probe, str(column.rows["label"].iloc[0]), methods))
    chapters = []
    for (dataset, split_seed, split_digest), probed in sorted(by_split.items()):
        title = str(probed[0].methods[0].cell.rows["title"].iloc[0])
        try:
            check_same_predicted_images([(each.cell, each.tested) for own in probed for each in own.methods])
        except UserError as error:
            problems.append(str(error))
            continue
        chapters.append(Chapter(dataset, title, split_seed, split_digest, probed))
    return chapters, list(dict.fromkeys(problems))


def list_method_results(column: ResultColumn) -> tuple[list[Method], list[str]]:
    """The entries of a column at their best batch sizes, baselines last; and a line for each that cannot be shown."""
    methods, problems = [], []
    for entry in sort_encoders(column.entries()):
        try:
            cell = column.cell(entry)
            assert cell is not None, "an entry of the column"
            methods.append(Method(entry, ENCODER_TITLES.get(entry, entry), cell, read_test_predictions(cell)))
        except UserError as error:
            problems.append(str(error))
    return methods, problems


def sort_encoders(entries: Sequence[str]) -> list[str]:
    """As the legends have them: the methods, then what else there is, then the baselines."""
    known = list(LEGEND_NAMES)
    return sorted(
        entries, key=lambda each: (each in BASELINES, known.index(each) if each in known else len(known), each)
    )


@dataclass(frozen=True)
class HardExamples:
    """Places of test images, int64. all_wrong: no method's vote is right. disputed: the votes differ, the most evenly
    divided first. `methods`: whose votes."""

    probe: str
    label: str
    methods: tuple[str, ...]
    all_wrong: Integers
    disputed: Integers


def find_hard_examples(probed: Probed) -> HardExamples:
    """By the votes of the compared methods' seeds (see `Method.vote`). One method has no one to disagree with."""
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
