"""Sort results into chapters, a data set under a split each, and collect what is known of their images and runs."""

import base64
import io
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from lowres_ssl.config.experiment_schema import RANDOM_BASELINES
from lowres_ssl.data.image_store import find_image_store
from lowres_ssl.data.prepare import drop_known_unreadable, load_catalogue
from lowres_ssl.data.splits import compute_leakage, load_split
from lowres_ssl.errors import UserError
from lowres_ssl.reporting.cells import LEGEND_NAMES, get_legend_name
from lowres_ssl.reporting.stored import list_run_commands
from lowres_ssl.runs.filters import ResultFilters
from lowres_ssl.runs.index import format_state
from lowres_ssl.runs.predictions import ResultCell, TestPredictions, check_same_predicted_images
from lowres_ssl.runs.query import ResultColumn, select_columns, select_ordinary
from lowres_ssl.runs.run import Run, find_run, relocate_path

Integers = NDArray[np.int64]

BASELINES = (*RANDOM_BASELINES, "trivial")  # to be compared with: they do not count among methods that are all wrong
WEBP_QUALITY = 70  # of WebP: at 96 pixels an X-ray takes about 1.5 kB, a stained tissue 4 kB
PROBE_ORDER = ("knn", "linear", "logistic")  # others after them


@dataclass(frozen=True)
class ProbeResults:
    """Hold all encoders that one probe scored, each at its best batch size; at least one."""

    probe: str
    label: str
    cells: Sequence[ResultCell]

    def judged(self) -> Sequence[ResultCell]:
        """Return the methods that are compared: all but the baselines, or those if there is nothing else."""
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
    def first(self) -> ResultCell:
        """Return any cell: for what all results of the chapter share."""
        return self.probes[0].cells[0]

    @property
    def tested(self) -> TestPredictions:
        """Return ids, groups, labels, classes of the test images."""
        return self.first.tested

    def entries(self) -> dict[str, ResultCell]:
        """Return each entry once, as the first probe that has it scored it."""
        found: dict[str, ResultCell] = {}
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
                problems += [*column.notes, *more]
                if cells:
                    key = (dataset, column.split_seed, str(column.rows["split_digest"].iloc[0]))
                    by_split[key].append(ProbeResults(probe, str(column.rows["label"].iloc[0]), cells))
    chapters = []
    for (dataset, split_seed, split_digest), probed in sorted(by_split.items()):
        title = str(probed[0].cells[0].rows["title"].iloc[0])
        try:
            check_same_predicted_images([each.tested for own in probed for each in own.cells])
        except UserError as error:
            problems.append(str(error))
            continue
        chapters.append(Chapter(dataset, title, split_seed, split_digest, probed))
    return chapters, list(dict.fromkeys(problems))


def read_column_cells(column: ResultColumn) -> tuple[list[ResultCell], list[str]]:
    """Read the cells of a column in the order of the legends, baselines last; and a line for each that cannot be
    shown."""
    cells, problems = [], []
    known = list(LEGEND_NAMES)
    for entry in sorted(column.entries(), key=lambda each: (each in BASELINES, get_place(each, known), each)):
        try:
            cell = column.cell(entry)
            assert cell is not None, "an entry of the column"
            check_same_predicted_images([cell.tested])  # which reads them
            cells.append(cell)
        except UserError as error:
            problems.append(str(error))
    return cells, problems


def get_place(name: str, order: Sequence[str]) -> int:
    return order.index(name) if name in order else len(order)


def compute_votes(tested: TestPredictions) -> tuple[Integers, Integers]:
    """Compute the class that most seeds predict of each image, int64 [n], and how many seeds do.

    Of classes with equal votes the first seed's, else the first in order.
    """
    predictions = tested.predictions
    votes = (predictions[:, :, None] == np.arange(len(tested.classes))).sum(axis=0)  # [n, C]
    images = np.arange(len(votes))
    most = votes.max(axis=1)
    chosen = np.where(votes[images, predictions[0]] == most, predictions[0], votes.argmax(axis=1))
    return chosen.astype(np.int64), most.astype(np.int64)


@dataclass(frozen=True)
class HardExamples:
    """Hold places of test images, int64. all_wrong: no method's vote is right. disputed: the votes differ, the most
    evenly divided first. `methods`: whose votes."""

    label: str
    methods: tuple[str, ...]
    all_wrong: Integers
    disputed: Integers


def find_hard_examples(probed: ProbeResults) -> HardExamples:
    """Find them by the votes of the compared methods' seeds (see `compute_votes`); one method disputes nothing."""
    methods = probed.judged()
    labels, classes = methods[0].tested.labels, len(methods[0].tested.classes)
    votes = np.stack([compute_votes(method.tested)[0] for method in methods])  # [M, n]
    wrong = (votes != labels).all(axis=0)
    for_class = (votes[:, :, None] == np.arange(classes)).sum(axis=0)  # [n, C]
    most = for_class.max(axis=1)
    disputed = np.flatnonzero(most < len(methods))
    return HardExamples(
        label=probed.label,
        methods=tuple(get_legend_name(method.entry) for method in methods),
        all_wrong=np.flatnonzero(wrong).astype(np.int64),
        disputed=disputed[np.argsort(most[disputed], kind="stable")].astype(np.int64),
    )


@dataclass(frozen=True)
class DatasetFacts:
    """Hold facts in words. `leakage`: a sentence, or why it is not known. `store`: its name."""

    leakage: str
    leaks: bool
    licence: str
    store: str
    root: Path


def collect_dataset_facts(chapter: Chapter, store_dir: Path) -> DatasetFacts:
    """Read names and headers of the images, where they still are; no pixel."""
    run = Run(Path(chapter.first.rows["result"].iloc[0]).parent)  # any: all have the same images and split
    record = run.read()
    store, config = record.store, record.config
    licence, root = config.dataset.licence, Path(relocate_path(run, config, config.dataset.root))
    dataset = replace(config.dataset, root=str(root), archive=None)  # nothing is unpacked
    leakage, leaks = "not known here: the images are not where they were", False
    if root.exists():
        try:
            catalogue = drop_known_unreadable(dataset, load_catalogue(dataset, store_dir), store_dir / store)
            found = compute_leakage(catalogue, load_split(run.split, catalogue, store_dir))
            leakage, leaks = found.format_sentence().removeprefix("leakage: "), found.leaks
        except UserError:
            leakage = "not known: the images or the split are not those of the run any more"
    return DatasetFacts(leakage, leaks, licence, store, root)


class ThumbnailAlbum:
    """Collect thumbnails. `pictures`: WebP in base64, in the order they were asked for. `size`: pixels of the longer
    side, at most."""

    def __init__(self, store_dir: Path, size: int) -> None:
        self.store_dir, self.size = store_dir, size
        self.pictures: list[str] = []
        self.places: dict[tuple[str, int], int] = {}  # of each row of a store that was asked for

    def add(self, store: str, ids: Sequence[str], named: Callable[[str], str] = str) -> list[int]:
        """Return the place in `pictures` of each of these images of the store of that name; -1 where it is not there.

        `named`: what `ids` call an image that the store knows by its name.
        """
        kept = find_image_store(self.store_dir / store)
        if kept is None:
            return [-1] * len(ids)
        rows = {named(id): row for row, id in enumerate(kept.ids)}
        for row in (rows[id] for id in ids if id in rows):
            if (store, row) not in self.places:
                self.places[store, row] = len(self.pictures)
                self.pictures.append(encode_webp(kept.images[row], self.size))
        return [self.places[store, rows[id]] if id in rows else -1 for id in ids]


def encode_webp(pixels: NDArray[np.uint8], size: int) -> str:
    """Encode uint8 [C, R, R], of one channel or three, as a WebP of `size` pixels a side at most, in base64."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)).convert("RGB")
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=WEBP_QUALITY)
    return base64.b64encode(file.getvalue()).decode()


def list_report_runs(frame: pd.DataFrame, output_dir: Path, *, paths: bool) -> list[tuple[str, str, list[str]]]:
    """List name, state and commands of the runs in these rows of the index; no commands where none is known. `paths`:
    whether commands may name folders."""
    listed = []
    for name, first in frame.groupby("run", sort=True).first().iterrows():
        try:
            commands = list_run_commands(find_run(output_dir, str(name)), output_dir, paths=paths)
        except UserError:  # it is damaged, which reading the index has reported
            commands = []
        listed.append((str(name), format_state(first), commands))
    return listed
