"""From the ledger to chapters. What may not stand beside each other is left out, and said."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from lowres_ssl.errors import UserError
from lowres_ssl.figures._panel import NAMES
from lowres_ssl.report import BASELINES, Chapter, Method, Probed
from lowres_ssl.results.selection import Column, Filters, columns_of, ordinary
from lowres_ssl.results.tested import check_same_images, tested

ENTRIES = NAMES | {"trivial": "mean colour and size"}
PROBES = ("knn", "linear", "logistic")  # in this order; others after them


def chapters_of(frame: pd.DataFrame, filters: Filters) -> tuple[list[Chapter], list[str]]:
    """A chapter a data set and split seed, and a line for each part that cannot be shown. `frame`: the ledger."""
    problems: list[str] = []
    by_split: dict[tuple[str, int, str], list[Probed]] = defaultdict(list)
    rows = filters.applied(ordinary(frame))
    for dataset in sorted(set(rows["dataset"])):
        probes = set(rows.loc[rows["dataset"] == dataset, "probe"])
        for probe in sorted(probes, key=lambda each: (PROBES.index(each) if each in PROBES else len(PROBES), each)):
            try:
                columns = columns_of(frame, replace(filters, dataset=dataset, probe=probe))
            except UserError as error:
                problems.append(str(error))
                continue
            for column in columns:
                methods, said = methods_in(column)
                problems += said
                if methods:
                    key = (dataset, column.split_seed, str(column.rows["split_digest"].iloc[0]))
                    by_split[key].append(Probed(probe, str(column.rows["label"].iloc[0]), methods))
    chapters = []
    for (dataset, split_seed, split_digest), probed in sorted(by_split.items()):
        title = str(probed[0].methods[0].cell.rows["title"].iloc[0])
        try:
            check_same_images([(each.cell, each.tested) for own in probed for each in own.methods])
        except UserError as error:
            problems.append(str(error))
            continue
        chapters.append(Chapter(dataset, title, split_seed, split_digest, probed))
    return chapters, list(dict.fromkeys(problems))


def methods_in(column: Column) -> tuple[list[Method], list[str]]:
    """The entries of a column at their best batch sizes, baselines last; and a line for each that cannot be shown."""
    methods, problems = [], []
    for entry in in_order(column.entries()):
        try:
            cell = column.cell(entry)
            assert cell is not None, "an entry of the column"
            methods.append(Method(entry, ENTRIES.get(entry, entry), cell, tested(cell)))
        except UserError as error:
            problems.append(str(error))
    return methods, problems


def in_order(entries: Sequence[str]) -> list[str]:
    """As the legends have them: the methods, then what else there is, then the baselines."""
    known = list(NAMES)
    return sorted(
        entries, key=lambda each: (each in BASELINES, known.index(each) if each in known else len(known), each)
    )
