"""Collect what the report has about images and runs beside scores: leakage, licence, thumbnails, commands."""

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

from lowres_ssl.config.experiment_schema import (
    PAPER_ORIGIN,
    SETTINGS_ORIGIN,
    TUNABLE_KEYS,
    TUNED_ORIGIN,
    ExperimentConfig,
)
from lowres_ssl.config.overrides import format_command
from lowres_ssl.data.image_store import ImageStore, drop_undecodable, find_image_store
from lowres_ssl.data.prepare import load_catalogue
from lowres_ssl.data.splits import compute_leakage, load_split
from lowres_ssl.errors import UserError
from lowres_ssl.reporting.html.sections import Chapter
from lowres_ssl.reporting.tables.fill_commands import build_output_override, read_default_settings
from lowres_ssl.runs.cleanup import relocate_path
from lowres_ssl.runs.collapse import RUN_MARKS
from lowres_ssl.runs.records import ResultRecord
from lowres_ssl.runs.run import CLASSIFIER_PROBE, Run, find_run
from lowres_ssl.runs.stored_command import format_value, rebuild_overrides

WEBP_QUALITY = 70  # of WebP: at 96 pixels an X-ray takes about 1.5 kB, a stained tissue 4 kB


@dataclass(frozen=True)
class DatasetFacts:
    """Hold facts in words. `leakage`: a sentence, or why it is not known. `known`: whether it is. `store`: its name."""

    leakage: str
    leaks: bool
    known: bool
    licence: str
    store: str | None
    root: Path


def collect_dataset_facts(chapter: Chapter, store_dir: Path) -> DatasetFacts:
    """Read names and headers of the images, where they still are; no pixel."""
    run = Run(Path(chapter.first.cell.rows["result"].iloc[0]).parent)  # any: all have the same images and split
    record = run.read()
    store, config = record.store, record.config
    licence, root = config.dataset.licence, Path(relocate_path(run, config, config.dataset.root))
    dataset = replace(config.dataset, root=str(root), archive=None)  # nothing is unpacked
    if not root.exists():
        return DatasetFacts("not known here: the images are not where they were", False, False, licence, store, root)
    try:
        catalogue = load_catalogue(dataset, store_dir)
        if dataset.skip_unreadable:
            catalogue = drop_undecodable(catalogue, store_dir / store)
        found = compute_leakage(catalogue, load_split(run.split, catalogue, store_dir))
    except UserError:
        why = "not known: the images or the split are not those of the run any more"
        return DatasetFacts(why, False, False, licence, store, root)
    leakage = found.format_sentence().removeprefix("leakage: ")
    return DatasetFacts(leakage, found.leaks, found.groups_known, licence, store, root)


class ThumbnailAlbum:
    """`pictures`: WebP in base64, in the order they were asked for. `size`: pixels of the longer side, at most."""

    def __init__(self, store_dir: Path, size: int) -> None:
        self.store_dir, self.size = store_dir, size
        self.pictures: list[str] = []
        self.places: dict[tuple[str, int], int] = {}

    def add(self, store: str | None, ids: Sequence[str], named: Callable[[str], str] = str) -> list[int]:
        """The place in `pictures` of each of these images of the store of that name; -1 where it is not there.

        `named`: what `ids` call an image that the store knows by its name.
        """
        kept = None if store is None else find_image_store(self.store_dir / store)
        if kept is None or store is None:
            return [-1] * len(ids)
        rows = {named(id): row for row, id in enumerate(kept.ids)}
        return [self.place(store, kept, rows.get(id)) for id in ids]

    def place(self, name: str, store: ImageStore, row: int | None) -> int:
        if row is None:
            return -1
        key = (name, row)
        if key not in self.places:
            self.places[key] = len(self.pictures)
            self.pictures.append(encode_webp(store.images[row], self.size))
        return self.places[key]


def encode_webp(pixels: NDArray[np.uint8], size: int) -> str:
    """uint8 [C, R, R], of one channel or three, as a WebP of `size` pixels a side at most, in base64."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)).convert("RGB")
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=WEBP_QUALITY)
    return base64.b64encode(file.getvalue()).decode()


@dataclass(frozen=True)
class ListedRun:
    """Hold a run as the page lists it; `commands` is empty where none is known."""

    run: str
    entry: str
    dataset: str
    batch_size: int | None
    seed: int
    state: str
    commands: Sequence[str]


def list_report_runs(frame: pd.DataFrame, output_dir: Path, *, paths: bool) -> list[ListedRun]:
    """List the runs of these rows of the index. `paths`: whether commands may name folders."""
    listed = []
    for name, rows in frame.groupby("run", sort=True):
        first = rows.iloc[0]
        try:
            commands = list_run_commands(find_run(output_dir, str(name)), output_dir, paths=paths)
        except UserError:  # it is damaged, which reading the index has reported
            commands = []
        size = None if pd.isna(first["batch_size"]) else int(first["batch_size"])
        state = str(first["state"]) + "".join(f", {mark.word}" for key, mark in RUN_MARKS.items() if first[key])
        about = (str(name), str(first["entry"]), str(first["dataset"]), size, int(first["seed"]), state)
        listed.append(ListedRun(*about, commands))
    return listed


def list_run_commands(run: Run, output_dir: Path, *, paths: bool) -> list[str]:
    """List the command that makes the run, then those that score it in ways that its own command did not."""
    record = run.read()
    config = record.config
    place = build_output_override(output_dir) if paths else []
    words = rebuild_overrides(config, trained=record.identity.is_trained, paths=paths)
    lines = [] if words is None else [format_command(*words, *place)]
    later: dict[tuple[str, ...], set[float]] = defaultdict(set)  # how it was scored beyond that -> with which labels
    for _, result in run.results():
        if result.probe != CLASSIFIER_PROBE and not is_made_by_run(result, config):
            later[build_scoring_overrides(result, config)].add(result.labels.fraction)
    for scored, fractions in later.items():
        share = f"label_fraction=[{','.join(f'{each:g}' for each in sorted(fractions))}]"
        lines.append(format_command("evaluate", f"run={run.name}", *scored, *[share] * (fractions != {1.0}), *place))
    return lines


def is_made_by_run(result: ResultRecord, config: ExperimentConfig) -> bool:
    """Whether the run's own command gives this result."""
    own = config.probe.get(result.probe, {})
    asked = {key: value for key, value in own.items() if key != "name"}
    return asked == result.settings and result.labels.fraction in config.label_fraction


def build_scoring_overrides(result: ResultRecord, config: ExperimentConfig) -> tuple[str, ...]:
    """The probe, and its settings that are not the run's."""
    probe, settings = result.probe, dict(result.settings)
    usual = config.probe.get(probe) or read_default_settings(probe, config.recipe)
    if settings.get(SETTINGS_ORIGIN) in (TUNED_ORIGIN, PAPER_ORIGIN):  # the origin of these two
        settings = {key: value for key, value in settings.items() if key not in TUNABLE_KEYS}
    differing = [
        f"probe.{probe}.{key}={format_value(value)}"
        for key, value in settings.items()
        if value != usual.get(key) and value != "typed"
    ]
    return (f"probe=[{probe}]", *differing)
