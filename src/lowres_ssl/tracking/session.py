"""Follow a run with a tracker: settings, epochs, sample views, scores, t-SNE. Nothing of it can affect the run."""

import json
import queue
import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import mean
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image

from lowres_ssl.augment.from_config import choose_example_rows, make_example_views
from lowres_ssl.config.command_schemas import PATH_KEYS
from lowres_ssl.config.experiment_schema import RANDOM_BASELINES, PretrainConfig, list_keys_with, to_plain
from lowres_ssl.console import log_info, log_warning
from lowres_ssl.data.prepare import PreparedData
from lowres_ssl.errors import CheckpointError, UserError
from lowres_ssl.io.atomic import write_json
from lowres_ssl.runs.records import ResultRecord, Scores
from lowres_ssl.runs.run import Run
from lowres_ssl.runs.run_hash import flatten_setting
from lowres_ssl.tracking import Pixels, TrackedRun, Tracker, build_tracker
from lowres_ssl.train.history import EpochLog

CALL_TIMEOUT_SECONDS = 120.0
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
# Keys of the config, beside paths, that no tool receives: a data set's options may name files, a tracker's a machine.
HIDDEN_KEYS = frozenset(list_keys_with(PretrainConfig, "private"))
TRACKER_FILE = "tracker.json"  # in the run's folder: what each tool calls it
TRACKER_RUN_NAME = re.compile(r"\w[\w.-]*", re.ASCII)  # a tool makes paths and patterns of it


class BackgroundWorker:
    """Make calls one after the other in a background thread; failures and hangs cannot affect the caller.

    The first call that raises or takes too long is reported once and ends the work. The caller's thread reports it, so
    that no two write at once. The thread is a daemon, which a pool's is not: a call that hangs keeps no process.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.thread: threading.Thread | None = None
        self.failure: str | None = None
        self.is_reported = False
        self.since: float | None = None  # when the current call began

    def submit(self, call: Callable[[], None]) -> None:
        """Call it after those before it. Returns at once."""
        if self.has_failed():
            return
        if self.thread is None:
            self.thread = threading.Thread(target=self.work, name=self.name, daemon=True)
            self.thread.start()
        self.calls.put(call)

    def work(self) -> None:
        while (call := self.calls.get()) is not None and self.failure is None:
            self.since = time.monotonic()
            try:
                call()
            except BaseException as error:  # some tools end the process they are in
                kind = "" if isinstance(error, UserError) else type(error).__name__
                parts = (kind, " ".join(str(error).split())[:300])
                self.failure = ": ".join(part for part in parts if part)
                return
            self.since = None

    def has_failed(self) -> bool:
        since = self.since
        if self.failure is None and since is not None and time.monotonic() - since > CALL_TIMEOUT_SECONDS:
            self.failure = f"no answer for {CALL_TIMEOUT_SECONDS:.0f} s"
        if self.failure is not None and not self.is_reported:
            self.is_reported = True
            log_warning(f"{self.name}: {self.failure}; it is switched off, the run goes on without it")
        return self.failure is not None

    def finish(self, seconds: float) -> None:
        """Wait for the remaining calls, at most so long."""
        if self.thread is not None:
            self.calls.put(None)
            self.thread.join(seconds)
            if self.thread.is_alive() and self.failure is None:
                self.failure = f"not done within {seconds:.0f} s"
            self.has_failed()


class TrackingSession:
    """Follow one run with a tracker, or with none. Use it as a context manager."""

    def __init__(self, tracker: Tracker | None = None, name: str = "none", folder: Path = Path()) -> None:
        self.tracker, self.name, self.folder = tracker, name, folder
        self.worker = BackgroundWorker(f"tracker={name}")
        self.epochs = 0  # those whose numbers the tracker has

    def __enter__(self) -> "TrackingSession":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.worker.thread is None:
            return
        closing: list[str] = []
        self.submit(lambda tracker: closing.append(tracker.end(kind is None)))
        self.worker.finish(END_TIMEOUT_SECONDS if kind is None else STOP_TIMEOUT_SECONDS)
        for text in closing:
            log_info(text)

    def submit(self, call: Callable[[Tracker], None]) -> None:
        tracker = self.tracker
        if tracker is not None:
            self.worker.submit(lambda: call(tracker))

    def begin(self, run: Run, config: PretrainConfig, material: PreparedData, trains: bool = True) -> None:
        """Follow this run from here on. A finished run comes with its stored history."""

        def begin(tracker: Tracker) -> None:
            names = read_tracker_names(run.folder / TRACKER_FILE)
            known_as = names.get(self.name)
            begun_as, self.epochs = tracker.begin(TrackedRun(run.name, self.folder, flatten_settings(config), known_as))
            if known_as != begun_as:
                write_json(run.folder / TRACKER_FILE, names | {self.name: begun_as})
            if trains and tracker.images and not self.epochs:
                tracker.picture("views", make_sample_views(config, material), 0)

        self.submit(begin)

    def history(self, lines: Sequence[EpochLog]) -> None:
        """Send all epochs so far that the tracker does not have, each number under a heading."""

        def numbers(tracker: Tracker) -> None:
            for line in lines:
                epoch = int(line["epoch"])
                if epoch > self.epochs:
                    values = {key: value for key, value in line.items() if key != "epoch"}
                    grouped = {f"{METRIC_GROUPS.get(key, 'train')}/{key}": value for key, value in values.items()}
                    tracker.numbers(grouped, epoch)
                    self.epochs = epoch

        self.submit(numbers)

    def stored(self, run: Run) -> None:
        """Send the stored history of a finished run."""
        if self.tracker is not None:
            with suppress(CheckpointError):  # damage has been reported
                self.history(run.read_history(run.read()))

    def scores(self, run: Run, is_own: bool, fraction: float, results: Sequence[Sequence[ResultRecord]]) -> None:
        """Send the probes' scores, each the mean over draws of a fraction of the labels: of the run itself, or of one
        that it is compared with."""
        if self.tracker is not None:
            entry = run.read().entry
            beside = "" if is_own else f"-{entry.replace('_', '-')}" if entry in RANDOM_BASELINES else "-start"
            labels = "" if fraction == 1 else f"/labels-{fraction:g}"
            values = {
                f"{subset}{beside}{labels}/{draws[0].probe}/{key}": value
                for draws in results
                for subset in ("test", "validation")
                for key, value in average_scores([getattr(draw, subset) for draw in draws]).items()
            }
            self.submit(lambda tracker: tracker.scores(values, self.epochs))

    def picture(self, name: str, path: Path) -> None:
        def picture(tracker: Tracker) -> None:
            with Image.open(path) as image:
                tracker.picture(name, np.asarray(image.convert("RGB")), self.epochs)

        self.submit(picture)


NO_TRACKING = TrackingSession()


def build_tracking_session(config: PretrainConfig) -> TrackingSession:
    """Raises `ConfigError` for what no tracker takes, and where its library is not installed."""
    tracker, name = build_tracker(config.tracker), str(config.tracker.get("name"))
    return TrackingSession(tracker, name, Path(config.output_dir) / "trackers" / name)


def read_tracker_names(path: Path) -> dict[str, str]:
    """Read what each tool calls the run; nothing from a missing or damaged file, no name that leads elsewhere: what W&B
    wrote under a name is removed when the run goes on."""
    try:
        names = dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
    return {str(key): str(name) for key, name in names.items() if TRACKER_RUN_NAME.fullmatch(str(name))}


def flatten_settings(config: PretrainConfig) -> dict[str, Any]:
    """Flatten the config, without paths."""
    shown = {key: value for key, value in to_plain(config).items() if key not in HIDDEN_KEYS}
    flat = (pair for key, value in shown.items() for pair in flatten_setting(key, value))
    settings = {key: value for key, value in flat if key not in PATH_KEYS}
    return {"dataset": config.dataset.name, "title": config.dataset.title, **settings}


def average_scores(scores: Sequence[Scores | None]) -> dict[str, float]:
    """The mean of each number that all have; None: without validation images there are no scores."""
    columns = {key: [getattr(each, key) for each in scores if each] for key in Scores.__dataclass_fields__}
    return {key: mean(own) for key, own in columns.items() if own and all(isinstance(each, float) for each in own)}


def make_sample_views(config: PretrainConfig, material: PreparedData) -> Pixels:
    """Draw a few training images, a line each: the image and two views of it as in the last epoch; uint8 [H, W, 3]."""
    rows = choose_example_rows(material, max(1, MAX_EXAMPLES // max(1, len(material.catalogue.classes))))
    shown = make_example_views(config, material, rows[:MAX_EXAMPLES])  # [C, n, 3, S, S, 3]
    lines = shown.reshape(-1, *shown.shape[2:])
    lines = lines[np.isfinite(lines).all(axis=(1, 2, 3, 4))]
    count, across, height, width, _ = lines.shape
    grid = lines.transpose(0, 2, 1, 3, 4).reshape(count * height, across * width, 3)
    return (255 * grid).round().astype(np.uint8)
