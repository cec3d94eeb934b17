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

from lowres_ssl.augment.from_config import choose_example_rows, make_example_views
from lowres_ssl.config.check import PretrainConfig, to_plain
from lowres_ssl.config.experiment_schema import RANDOM_BASELINES
from lowres_ssl.config.overrides import PATH_KEYS
from lowres_ssl.console import log_info
from lowres_ssl.data.prepare import PreparedData
from lowres_ssl.errors import CheckpointError
from lowres_ssl.io.atomic import write_json
from lowres_ssl.runs.run import Run, get_encoder_name
from lowres_ssl.tracking.backends import Pixels, Told, Tracker, build_tracker
from lowres_ssl.tracking.background import BackgroundWorker
from lowres_ssl.train.history import EpochLog

END_TIMEOUT_SECONDS = 60.0
STOP_TIMEOUT_SECONDS = 10.0  # where the run was interrupted: a scheduler does not wait for long
MAX_EXAMPLES = 8
METRIC_GROUPS = {
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
HIDDEN_KEYS = frozenset(
    ["dataset", "tracker", "table_1", "dry_run", "evaluate", "force", "hash_ids", "preemption_signal"]
)
TRACKER_FILE = "tracker.json"  # in the run's folder: what each tool calls it
TRACKER_RUN_NAME = re.compile(r"\w[\w.-]*", re.ASCII)  # a tool makes paths and patterns of it


class TrackingSession:
    """One run, as a tracker sees it; where there is no tracker, nobody looks. Use it as a context manager."""

    def __init__(self, tracker: Tracker | None = None, name: str = "none", folder: Path = Path()) -> None:
        self.tracker, self.name, self.folder = tracker, name, folder
        self.worker = BackgroundWorker(f"tracker={name}")
        self.epochs = 0  # of which the tracker has the numbers

    def __enter__(self) -> "TrackingSession":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.worker.thread is None:
            return
        said: list[str] = []
        self.tell(lambda tracker: said.append(tracker.end(kind is None)))
        self.worker.finish(END_TIMEOUT_SECONDS if kind is None else STOP_TIMEOUT_SECONDS)
        for text in said:
            log_info(text)

    def tell(self, what: Callable[[Tracker], None]) -> None:
        tracker = self.tracker
        if tracker is not None:
            self.worker.submit(lambda: what(tracker))

    def begin(self, run: Run, config: PretrainConfig, material: PreparedData, trains: bool = True) -> None:
        """From here on it is this run. One that is finished has its history told as it is stored."""

        def begin(tracker: Tracker) -> None:
            kept = read_tracker_names(run.folder / TRACKER_FILE)
            begun = tracker.begin(Told(run.name, self.folder, flatten_settings(config), kept.get(self.name)))
            self.epochs = begun.epochs
            if kept.get(self.name) != begun.known_as:
                write_json(run.folder / TRACKER_FILE, kept | {self.name: begun.known_as})
            if trains and tracker.images and not begun.epochs:
                tracker.picture("views", make_sample_views(config, material), 0)

        self.tell(begin)

    def history(self, lines: Sequence[EpochLog]) -> None:
        """All epochs so far; those that the tracker has are not told again."""

        def numbers(tracker: Tracker) -> None:
            for line in lines:
                if line["epoch"] > self.epochs:
                    tracker.numbers(add_metric_groups(line), int(line["epoch"]))
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
            entry = get_encoder_name(run.description())
            beside = "" if is_own else f"-{entry.replace('_', '-')}" if entry in RANDOM_BASELINES else "-start"
            labels = "" if fraction == 1 else f"/labels-{fraction:g}"
            values = {
                f"{side}{beside}{labels}/{draws[0]['probe']}/{key}": value
                for draws in results
                for side in ("test", "validation")
                for key, value in average_numbers([draw[side] for draw in draws if draw[side] is not None]).items()
            }
            self.tell(lambda tracker: tracker.scores(values, self.epochs))

    def picture(self, name: str, path: Path) -> None:
        def picture(tracker: Tracker) -> None:
            with Image.open(path) as image:
                tracker.picture(name, np.asarray(image.convert("RGB")), self.epochs)

        self.tell(picture)


NO_TRACKING = TrackingSession()


def build_tracking_session(config: PretrainConfig) -> TrackingSession:
    """Raises `ConfigError` for what no tracker takes, and where its library is not installed."""
    tracker, name = build_tracker(config.tracker), str(config.tracker.get("name"))
    return TrackingSession(tracker, name, Path(config.output_dir) / "trackers" / name)


def read_tracker_names(path: Path) -> dict[str, str]:
    """What each tool calls the run. A file that is missing or damaged says nothing, nor does one of a stranger's whose
    names lead elsewhere: what W&B wrote under a name is removed when the run goes on."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    names = {str(key): str(value) for key, value in content.items()} if isinstance(content, dict) else {}
    return {key: name for key, name in names.items() if TRACKER_RUN_NAME.fullmatch(name)}


def flatten_settings(config: PretrainConfig) -> dict[str, Any]:
    """The config, flat, without what names a place."""
    told = {key: value for key, value in to_plain(config).items() if key not in HIDDEN_KEYS}
    return {"dataset": config.dataset.name, "title": config.dataset.title, **dict(flatten_values(told))}


def flatten_values(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            pairs += flatten_values(value, f"{prefix}{key}.")
        elif f"{prefix}{key}" not in PATH_KEYS:
            pairs.append((f"{prefix}{key}", value))
    return pairs


def add_metric_groups(line: EpochLog) -> dict[str, float]:
    """A line of the history, each number under a heading."""
    return {f"{METRIC_GROUPS.get(key, 'train')}/{key}": value for key, value in line.items() if key != "epoch"}


def average_numbers(scores: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The mean of each number that all have."""
    shared = [key for key in (scores[0] if scores else ()) if all(isinstance(each[key], float) for each in scores)]
    return {key: mean(each[key] for each in scores) for key in shared}


def make_sample_views(config: PretrainConfig, material: PreparedData) -> Pixels:
    """A few training images, a line each: the image, and two views of it as in the last epoch; uint8 [H, W, 3]."""
    rows = choose_example_rows(material, max(1, MAX_EXAMPLES // len(material.catalogue.classes)))
    shown = make_example_views(config, material, rows[:MAX_EXAMPLES])  # [C, n, 3, S, S, 3]
    lines = shown.reshape(-1, *shown.shape[2:])
    lines = lines[np.isfinite(lines).all(axis=(1, 2, 3, 4))]
    count, across, height, width, _ = lines.shape
    grid = lines.transpose(0, 2, 1, 3, 4).reshape(count * height, across * width, 3)
    return (255 * grid).round().astype(np.uint8)
