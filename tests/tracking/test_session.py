"""What a tracker receives, and that none of its calls that fails or hangs is more than a line."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from in_process import compose_config
from PIL import Image
from stored_runs import OUTCOME, made_up_record, made_up_result

from lowres_ssl.runs.run import Run
from lowres_ssl.tracking import Pixels, TrackedRun, Tracker, session
from lowres_ssl.tracking.session import BackgroundWorker, TrackingSession, flatten_settings, read_tracker_names

LINES = [{"epoch": number, "loss": 1.0 / number, "embedding_std": 0.9, "seconds": 2.0} for number in (1, 2, 3)]
SCORES = made_up_result()


class Recorder(Tracker):
    """Remembers what it was told; `fails`: the call that raises `error`."""

    def __init__(self, fails: str = "", error: BaseException | None = None) -> None:
        self.fails, self.error = fails, error
        self.told: list[tuple[Any, ...]] = []

    def note(self, call: str, *told: Any) -> None:
        if call == self.fails and self.error is not None:
            raise self.error
        self.told.append((call, *told))

    def begin(self, run: TrackedRun) -> tuple[str, int]:
        self.note("begin", run.name, run.known_as)
        return "known", 0

    def numbers(self, values: Mapping[str, float], epoch: int) -> None:
        self.note("numbers", dict(values), epoch)

    def scores(self, values: Mapping[str, float], epoch: int) -> None:
        self.note("scores", dict(values), epoch)

    def picture(self, name: str, pixels: Pixels, epoch: int) -> None:
        self.note("picture", name, pixels.shape, epoch)

    def end(self, finished: bool) -> str:
        self.note("end", finished)
        return "it is there"


@pytest.fixture
def follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Take a tracker through a run of three epochs, scored."""
    monkeypatch.setattr(session, "flatten_settings", lambda config: {})
    run = Run(tmp_path / "cells-dcl-bs8-s0-aaaaaaaa")
    run.start(made_up_record())
    Image.new("L", (4, 3)).save(tmp_path / "tsne.png")

    def through(tracker: Tracker, error: Exception | None = None) -> None:
        nothing: Any = None  # neither the config nor the images are looked at
        with TrackingSession(tracker, "x", tmp_path) as watch:
            watch.begin(run, nothing, nothing)
            for number in (1, 2, 3, 3):
                watch.history(LINES[:number])
            if error is not None:
                raise error
            watch.scores(run, True, 1, [[SCORES]])
            watch.scores(run, False, 0.1, [[SCORES, replace(SCORES, test=replace(SCORES.test, accuracy=0.25))]])
            watch.picture("t-SNE", tmp_path / "tsne.png")

    return through


def test_each_epoch_is_told_once_and_scores_stand_under_their_own_names(
    follow: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    tracker = Recorder()
    follow(tracker)
    epochs = [(told[1], told[2]) for told in tracker.told if told[0] == "numbers"]
    assert epochs == [
        ({"train/loss": line["loss"], "collapse/embedding_std": 0.9, "course/seconds": 2.0}, line["epoch"])
        for line in LINES
    ]
    own, beside = [values for call, *values in tracker.told if call == "scores"]
    assert (own[1], own[0]["test/knn/accuracy"], own[0]["validation/knn/accuracy"]) == (3, 0.75, 0.75)
    assert (beside[1], beside[0]["test-start/labels-0.1/knn/accuracy"]) == (3, 0.5)
    assert tracker.told[-2:] == [("picture", "t-SNE", (3, 4, 3), 3), ("end", True)]
    assert capsys.readouterr().err == "it is there\n"


FULL_DISK = OSError(28, "No space left on device")
FAILURES = [(call, FULL_DISK) for call in ("begin", "numbers", "scores", "picture", "end")]


@pytest.mark.parametrize(("call", "error"), [*FAILURES, ("scores", SystemExit(3))])  # some tools end their process
def test_whatever_call_fails_is_said_once(
    follow: Callable[..., None], capsys: pytest.CaptureFixture[str], call: str, error: BaseException
) -> None:
    tracker = Recorder(call, error)
    follow(tracker)
    assert capsys.readouterr().err == (
        f"note: tracker=x: {type(error).__name__}: {error}; it is switched off, the run goes on without it\n"
    )
    assert call not in [told[0] for told in tracker.told]


def test_run_that_fails_is_not_told_as_finished(follow: Callable[..., None]) -> None:
    tracker = Recorder()
    with pytest.raises(ValueError, match="within"):
        follow(tracker, ValueError("within"))
    assert tracker.told[-1] == ("end", False)


@pytest.mark.parametrize("damage", [None, "another", "gone"])
def test_numbers_of_a_damaged_history_are_not_sent(tmp_path: Path, damage: str | None) -> None:
    run = Run(tmp_path)
    run.start(made_up_record())
    run.write_history(LINES)
    run.finish(OUTCOME)
    if damage == "another":
        run.write_history([LINES[0] | {"loss": 9.0}, *LINES[1:]])
    elif damage == "gone":
        run.history.unlink()
    tracker = Recorder()
    with TrackingSession(tracker, "x", tmp_path) as watch:
        watch.stored(run)
    told = [each for each in tracker.told if each[0] == "numbers"]
    assert len(told) == (3 if damage is None else 0)


def test_settings_name_no_place(tmp_path: Path) -> None:
    places = (f"dataset.root={tmp_path}", f"initial_weights={tmp_path}/x")
    config = compose_config(*places, "dataset.name=cells", "tracker=mlflow", "tracker.uri=https://host")
    settings = flatten_settings(config)
    assert settings["dataset"] == "cells"
    assert settings["method.name"] == "simclr"
    assert settings["views.crop_scale"] == [0.08, 1.0]
    assert not [key for key, value in settings.items() if "/" in str(value)]


def test_call_that_hangs_is_given_up_and_delays_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "CALL_TIMEOUT_SECONDS", 0.05)
    gate = threading.Event()
    made: list[str] = []
    worker = BackgroundWorker("tracker=x")
    started = time.monotonic()
    worker.submit(gate.wait)
    while not worker.has_failed():
        time.sleep(0.01)
    worker.submit(lambda: made.append("after"))
    worker.finish(0.1)
    assert time.monotonic() - started < 5
    assert capsys.readouterr().err.count("switched off") == 1
    gate.set()
    assert worker.thread is not None
    worker.thread.join(5)
    assert made == []


@pytest.mark.parametrize("name", ["../../precious", "..", "a/b", "*", "[a-z]", "", "a\n", None])
def test_name_that_would_lead_elsewhere_is_none(name: str | None, tmp_path: Path) -> None:
    """What W&B wrote under that name would be removed. None: the file holds something else."""
    good = {"tensorboard": "cells-dcl-bs8-s0-aaaaaaaa", "mlflow": "7" * 32}
    path = tmp_path / "tracker.json"
    path.write_text(json.dumps(good | {"wandb": name} if name is not None else [3]))
    assert read_tracker_names(path) == (good if name is not None else {})
