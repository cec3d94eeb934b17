"""`pretrain tracker=...`: what arrives in the tools, read back with their own readers, and what must not."""

import getpass
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_runs import SMALL
from test_hostile_config import CANARY
from typed import Command, accuracy_of, files_with, history_of, refused, the_run, type_apart

from lowres_ssl import tracking
from lowres_ssl.runs.run import Run

TYPED = ("pretrain", "dataset=folder", *SMALL, "epochs=3")
OURS = "folder-simclr-*"
SECRETS = ("WANDB_API_KEY", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "SOME_SERVICE_TOKEN")
# What libraries warn of themselves is no matter here.
SLOW = (pytest.mark.slow, pytest.mark.filterwarnings("ignore"))
TOOLS = ["tensorboard", pytest.param("mlflow", marks=SLOW), pytest.param("wandb", marks=SLOW)]

pytestmark = pytest.mark.usefixtures("cells")
Numbers = dict[str, dict[int, float]]  # key -> step -> value


def machine() -> list[str]:
    """What would give the machine away, unless it may stand there by chance."""
    return [name for name in (socket.gethostname(), getpass.getuser()) if len(name) > 4]


def by_step(key: str, points: list[Any]) -> dict[int, float]:
    """The values of a key; a step that is there twice is an error."""
    steps = [point.step for point in points]
    assert len(set(steps)) == len(steps), f"{key}: {steps}"
    return {point.step: point.value for point in points}


def tensorboard_numbers() -> Numbers:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (place,) = Path("outputs/trackers/tensorboard").iterdir()
    read = EventAccumulator(str(place), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    read.Reload()
    views = read.Images("views")
    assert [(each.step, each.width, each.height) for each in views] == [(0, 60, 160)]  # 8 images: whole, two views
    assert len(read.Images("t-SNE")) == 1
    return {key: by_step(key, read.Scalars(key)) for key in read.Tags()["scalars"]}


def mlflow_numbers() -> Numbers:
    from mlflow import MlflowClient

    client = MlflowClient("sqlite:///outputs/trackers/mlflow/mlflow.db")
    experiment = client.get_experiment_by_name("lowres-ssl")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", the_run(OURS).name)
    assert run.data.params["method.name"] == "simclr"
    artifacts = {each.path for each in client.list_artifacts(run.info.run_id)}
    assert "t-SNE.png" in artifacts
    assert "views.png" not in artifacts  # images: false, unless typed
    return {key: by_step(key, client.get_metric_history(run.info.run_id, key)) for key in run.data.metrics}


def wandb_numbers() -> Numbers:
    (place,) = Path("outputs/trackers/wandb/wandb").glob("offline-run-*")
    (path,) = place.glob("*.wandb")
    found: Numbers = {}
    for record in wandb_records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            assert record.run.display_name == the_run(OURS).name
            assert not record.run.host
        elif kind == "history":
            step = record.history.step.num
            for item in record.history.item:
                key, value = item.key or "/".join(item.nested_key), json.loads(item.value_json)
                assert step not in found.setdefault(key, {})
                found[key][step] = value
        elif kind == "summary":
            for item in record.summary.update:
                if "/knn/" in (item.key or ""):
                    found[item.key] = {3: json.loads(item.value_json)}
    assert not list(place.rglob("views*"))  # images: false, unless typed
    assert list(place.rglob("t-SNE*"))
    return found


def wandb_records(path: Path) -> Iterator[Any]:
    """What an offline run wrote: LevelDB's log format, blocks of 32 kB, after a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    content, place, parts = path.read_bytes(), 7, b""
    while place + 7 <= len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # whole, or the last part
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


READERS = {
    "tensorboard": (tensorboard_numbers, "tensorboard --logdir outputs/trackers/tensorboard"),
    "mlflow": (mlflow_numbers, "mlflow ui --backend-store-uri"),
    "wandb": (wandb_numbers, "nothing was sent; wandb sync outputs/trackers/wandb"),
}


def check_numbers(found: Numbers, run: Path) -> None:
    """Every epoch's numbers, the collapse monitors and the scores, ours and the random rows'."""
    history = history_of(run)
    for key, name in (("loss", "train/loss"), ("embedding_std", "collapse/embedding_std")):
        wanted = {int(line["epoch"]): pytest.approx(line[key], rel=1e-5) for line in history}
        assert dict(found[name]) == wanted
    # Of an epoch that is trained twice a tracker may have the time of the first, which the history has no more.
    assert set(found["course/seconds"]) == {1, 2, 3}
    assert found["course/seconds"][3] == pytest.approx(history[-1]["seconds"], rel=1e-5)
    assert set(found["collapse/effective_rank"]) == {1, 2, 3}
    assert found["test/knn/accuracy"][3] == pytest.approx(accuracy_of(run))
    for method, name in (("random", "test-random"), ("random_calibrated", "test-random-calibrated")):
        (start,) = run.parent.glob(f"folder-{method}-*")
        assert found[f"{name}/knn/accuracy"][3] == pytest.approx(accuracy_of(start))
    assert "validation/knn/accuracy" in found


def interrupted_once(lowres_ssl: Command, monkeypatch: pytest.MonkeyPatch, *typed: str) -> None:
    """A run whose process ends in its last epoch, and the same command again."""
    write = Run.write_history

    def fails_once(run: Run, lines: Any) -> None:
        write(run, lines)
        if len(lines) == 3:
            monkeypatch.setattr(Run, "write_history", write)
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "write_history", fails_once)
    lowres_ssl(*TYPED, *typed, code=130)
    lowres_ssl(*TYPED, *typed)


@pytest.mark.parametrize("tool", TOOLS)
def test_history_monitors_pictures_and_scores_arrive_and_no_epoch_is_doubled_when_the_run_goes_on(
    lowres_ssl: Command, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    """Nor does a secret, a path or the name of an image arrive."""
    pytest.importorskip(tool)
    for name in SECRETS:
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    read, said = READERS[tool]
    typed = (f"tracker={tool}", "picture=true", f"dataset.root={cells}")
    interrupted_once(lowres_ssl, monkeypatch, *typed)
    check_numbers(read(), the_run(OURS))
    answer = lowres_ssl(*TYPED, *typed)  # finished: nothing is told twice
    assert said in answer.err
    check_numbers(read(), the_run(OURS))
    assert "switched off" not in answer.err
    for folder in ("outputs/trackers", "home"):
        assert files_with(Path(folder), CANARY, str(cells), "p1_3.png", *machine()) == []
    assert CANARY not in answer.err
    assert {path.name for path in tmp_path.iterdir()} - {"home"} == {"data", "outputs"}


def test_missing_library_is_said_before_anything_is_read(lowres_ssl: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    for tool in ("tensorboard", "wandb", "mlflow"):
        answer = lowres_ssl(*TYPED, f"tracker={tool}", code=2)
        refused(answer, f"tracker={tool}", "not installed", f"pip install 'lowres-ssl[{tool}]'", "tracker=none")
        assert "images" not in answer.err
    assert not Path("outputs").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("lowres_ssl")
def test_who_is_not_logged_in_is_told_and_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own: the library keeps what it has once found."""
    pytest.importorskip("wandb")
    for name in os.environ:
        if name.startswith("WANDB"):
            monkeypatch.delenv(name)
    answer = type_apart(*TYPED, "tracker=wandb", "tracker.mode=online", HOME=str(tmp_path / "home"))
    assert "note: tracker=wandb: not logged in; type wandb login, or tracker.mode=offline" in answer.err
    assert "random initialisation" in answer.out


def test_tracker_changes_neither_the_run_nor_its_bytes(lowres_ssl: Command) -> None:
    pytest.importorskip("tensorboard")
    typed = (*TYPED, "epochs=1", "evaluate=false")
    lowres_ssl(*typed)
    run = the_run(OURS)
    encoder = (run / "encoder.safetensors").read_bytes()
    lowres_ssl(*typed, "force=true", "tracker=tensorboard")
    assert the_run(OURS) == run
    assert (run / "encoder.safetensors").read_bytes() == encoder


PROGRAM = """
import sys
from pathlib import Path
import mlflow.entities
from lowres_ssl.tracking import TrackedRun
from lowres_ssl.tracking.mlflow import MLflowTracker

tracker = MLflowTracker(uri=None, experiment="cells", images=False)
print("ready", flush=True)
sys.stdin.readline()
tracker.begin(TrackedRun(sys.argv[2], Path(sys.argv[1]), {"epochs": 1}, None))
tracker.numbers({"train/loss": 1.0}, 1)
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_runs_that_begin_at_once_make_one_store_of_mlflow(tmp_path: Path) -> None:
    """Each would make the tables and the experiment: without waiting, all but one fail."""
    pytest.importorskip("mlflow")
    names = {"a", "b", "c"}
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "store")]
    pipe = subprocess.PIPE
    processes = [
        subprocess.Popen([*command, name], stdin=pipe, stdout=pipe, stderr=pipe, text=True) for name in sorted(names)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], said
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'store' / 'mlflow.db'}")
    (experiment,) = (each for each in client.search_experiments() if each.name == "cells")
    assert {run.info.run_name for run in client.search_runs([experiment.experiment_id])} == names
