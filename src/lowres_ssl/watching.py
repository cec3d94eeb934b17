"""What a tracker is told of a run: settings, epochs, sample views, scores, t-SNE. Nothing of it can hurt the run."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from lowres_ssl.aside import Aside
from lowres_ssl.command_line.overrides import PATH_KEYS
from lowres_ssl.config import PretrainConfig, plain
from lowres_ssl.errors import CheckpointError
from lowres_ssl.files.atomic import write_json
from lowres_ssl.planning.examples import examples, pictures
from lowres_ssl.planning.preparation import Material
from lowres_ssl.runs import Run, entry_in
from lowres_ssl.schemas.experiment import RANDOM_STARTS
from lowres_ssl.terminal import say
from lowres_ssl.trackers import Pixels, Told, Tracker, build_tracker
from lowres_ssl.training.history import Line

SECONDS_TO_END = 60.0
SECONDS_TO_STOP = 10.0  # where the run was interrupted: a scheduler does not wait for long
MOST_EXAMPLES = 8
GROUPS = {
    "embedding_std": "collapse",
    "effective_rank": "collapse",
    "views_per_second": "course",
    "seconds": "course",
    "compile_seconds": "course",
    "learning_rate": "course",
    "image_size": "course",
    "validation_knn_accuracy": "validation",
}
# Of the config, beside paths, what a tool is not told: options of a data set may name files, a tracker's a machine.
UNTOLD = frozenset(["dataset", "tracker", "table_1", "dry_run", "evaluate", "force", "hash_ids", "preemption_signal"])
KEPT_IN = "tracker.json"  # in the run's folder: what each tool calls it
A_NAME = re.compile(r"\w[\w.-]*", re.ASCII)  # a tool makes paths and patterns of it


class Watch:
    """One run, as a tracker sees it; where there is no tracker, nobody looks. Use it as a context manager."""

    def __init__(self, tracker: Tracker | None = None, name: str = "none", folder: Path = Path()) -> None:
        self.tracker, self.name, self.folder = tracker, name, folder
        self.aside = Aside(f"tracker={name}")
        self.epochs = 0  # of which the tracker has the numbers

    def __enter__(self) -> "Watch":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.aside.thread is None:
            return
        said: list[str] = []
        self.tell(lambda tracker: said.append(tracker.end(kind is None)))
        self.aside.finish(SECONDS_TO_END if kind is None else SECONDS_TO_STOP)
        for text in said:
            say(text)

    def tell(self, what: Callable[[Tracker], None]) -> None:
        tracker = self.tracker
        if tracker is not None:
            self.aside.do(lambda: what(tracker))

    def begin(self, run: Run, config: PretrainConfig, material: Material, trains: bool = True) -> None:
        """From here on it is this run. One that is finished has its history told as it is stored."""

        def begin(tracker: Tracker) -> None:
            kept = kept_in(run.folder / KEPT_IN)
            begun = tracker.begin(Told(run.name, self.folder, settings_of(config), kept.get(self.name)))
            self.epochs = begun.epochs
            if kept.get(self.name) != begun.known_as:
                write_json(run.folder / KEPT_IN, kept | {self.name: begun.known_as})
            if trains and tracker.images and not begun.epochs:
                tracker.picture("views", sample_views(config, material), 0)

        self.tell(begin)

    def history(self, lines: Sequence[Line]) -> None:
        """All epochs so far; those that the tracker has are not told again."""

        def numbers(tracker: Tracker) -> None:
            for line in lines:
                if line["epoch"] > self.epochs:
                    tracker.numbers(grouped(line), int(line["epoch"]))
                    self.epochs = int(line["epoch"])

        self.tell(numbers)

    def stored(self, run: Run) -> None:
        """The history of a finished run, as it is stored."""
        if self.tracker is not None:
            with suppress(CheckpointError):  # what is damaged has been said
                self.history(run.read_history(run.description()))

    def scores(self, run: Run, is_own: bool, fraction: float, results: Sequence[Sequence[Mapping[str, Any]]]) -> None:
        """What the probes came to, each in as many draws of a fraction of the labels; of the run itself, or of one it
        is compared with."""
        if self.tracker is not None:
            entry = entry_in(run.description())
            beside = "" if is_own else f"-{entry.replace('_', '-')}" if entry in RANDOM_STARTS else "-start"
            labels = "" if fraction == 1 else f"/labels-{fraction:g}"
            values = {
                f"{side}{beside}{labels}/{draws[0]['probe']}/{key}": value
                for draws in results
                for side in ("test", "validation")
                for key, value in means([draw[side] for draw in draws if draw[side] is not None]).items()
            }
            self.tell(lambda tracker: tracker.scores(values, self.epochs))

    def picture(self, name: str, path: Path) -> None:
        def picture(tracker: Tracker) -> None:
            with Image.open(path) as image:
                tracker.picture(name, np.asarray(image.convert("RGB")), self.epochs)

        self.tell(picture)


UNWATCHED = Watch()


def watch_of(config: PretrainConfig) -> Watch:
    """Raises `ConfigError` for what no tracker takes, and where its library is not installed."""
    tracker, name = build_tracker(config.tracker), str(config.tracker.get("name"))
    return Watch(tracker, name, Path(config.output_dir) / "trackers" / name)


def kept_in(path: Path) -> dict[str, str]:
    """What each tool calls the run. A file that is missing or damaged says nothing, nor does one of a stranger's whose
    names lead elsewhere: what W&B wrote under a name is removed when the run goes on."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    names = {str(key): str(value) for key, value in content.items()} if isinstance(content, dict) else {}
    return {key: name for key, name in names.items() if A_NAME.fullmatch(name)}


def settings_of(config: PretrainConfig) -> dict[str, Any]:
    """The config, flat, without what names a place."""
    told = {key: value for key, value in plain(config).items() if key not in UNTOLD}
    return {"dataset": config.dataset.name, "title": config.dataset.title, **dict(flat(told))}


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            pairs += flat(value, f"{prefix}{key}.")
        elif f"{prefix}{key}" not in PATH_KEYS:
            pairs.append((f"{prefix}{key}", value))
    return pairs


def grouped(line: Line) -> dict[str, float]:
    """A line of the history, each number under a heading."""
    return {f"{GROUPS.get(key, 'train')}/{key}": value for key, value in line.items() if key != "epoch"}


def means(scores: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The mean of each number that all have."""
    shared = [key for key in (scores[0] if scores else ()) if all(isinstance(each[key], float) for each in scores)]
    return {key: mean(each[key] for each in scores) for key in shared}


def sample_views(config: PretrainConfig, material: Material) -> Pixels:
    """A few training images, a line each: the image, and two views of it as in the last epoch; uint8 [H, W, 3]."""
    rows = examples(material, max(1, MOST_EXAMPLES // len(material.catalogue.classes)))
    shown = pictures(config, material, rows[:MOST_EXAMPLES])  # [C, n, 3, S, S, 3]
    lines = shown.reshape(-1, *shown.shape[2:])
    lines = lines[np.isfinite(lines).all(axis=(1, 2, 3, 4))]
    count, across, height, width, _ = lines.shape
    grid = lines.transpose(0, 2, 1, 3, 4).reshape(count * height, across * width, 3)
    return (255 * grid).round().astype(np.uint8)
