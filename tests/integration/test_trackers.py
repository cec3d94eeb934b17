"""`pretrain tracker=...`: what arrives in the tools, read back with their own readers, and what must not."""

import csv
import getpass
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from test_hostile_config import CANARY, everything_in
from test_wrong_input import refused
from typed import SMALL, Command

from lowres_ssl.runs.run import Run
from lowres_ssl.tracking import backends

TYPED = ("pretrain", "dataset=folder", *SMALL, "epochs=3", "probe=[knn]")
SECRETS = ("WANDB_API_KEY", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "SOME_SERVICE_TOKEN")
# What libraries warn of themselves is no matter here.
SLOW = (pytest.mark.slow, pytest.mark.filterwarnings("ignore"))
TOOLS = ["tensorboard", pytest.param("mlflow", marks=SLOW), pytest.param("wandb", marks=SLOW)]


def machine() -> list[str]:
    """What would give the machine away, unless it may stand there by chance."""
    return [name for name in (socket.gethostname(), getpass.getuser()) if len(name) > 4]


def run_in(folder: Path) -> Path:
    (run,) = (folder / "outputs" / "pretrain").glob("folder-simclr-*")
    return run


def history_of(run: Path) -> list[dict[str, float]]:
    text = (run / "history.csv").read_text()
    return [{key: float(value) for key, value in line.items()} for line in csv.DictReader(text.splitlines())]


def accuracy_of(run: Path) -> float:
    (path,) = run.glob("knn-*/result.json")
    return float(json.loads(path.read_text())["test"]["accuracy"])


def events(folder: Path) -> Any:
    """All that TensorBoard would show of the one run there."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (place,) = (folder / "outputs" / "trackers" / "tensorboard").iterdir()
    read = EventAccumulator(str(place), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    read.Reload()
    return read


def scalars(read: Any) -> dict[str, dict[int, float]]:
    """key -> step -> value; a step that is there twice is an error."""
    found = {}
    for key in read.Tags()["scalars"]:
        steps = [point.step for point in read.Scalars(key)]
        assert len(set(steps)) == len(steps), f"{key}: {steps}"
        found[key] = {point.step: point.value for point in read.Scalars(key)}
    return found


def check_numbers(found: Mapping[str, Mapping[int, float]], run: Path) -> None:
    """Every epoch's numbers, the collapse monitors and the scores, ours and the random rows'."""
    history = history_of(run)
    for key, name in (
        ("loss", "train/loss"),
        ("embedding_std", "collapse/embedding_std"),
        ("seconds", "course/seconds"),
    ):
        wanted = {int(line["epoch"]): pytest.approx(line[key], rel=1e-5) for line in history}
        assert dict(found[name]) == wanted
    assert set(found["collapse/effective_rank"]) == {1, 2, 3}
    assert found["test/knn/accuracy"][3] == pytest.approx(accuracy_of(run))
    for method, name in (("random", "test-random"), ("random_calibrated", "test-random-calibrated")):
        (start,) = run.parent.glob(f"folder-{method}-*")
        assert found[f"{name}/knn/accuracy"][3] == pytest.approx(accuracy_of(start))
    assert "validation/knn/accuracy" in found


def test_history_monitors_views_tsne_and_scores_arrive_in_tensorboard(
    lowres_ssl: Command, cells: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorboard")
    answer = lowres_ssl(*TYPED, "tracker=tensorboard")
    assert answer.code == 0, answer.err
    assert "tensorboard --logdir outputs/trackers/tensorboard" in answer.err
    read = events(tmp_path)
    check_numbers(scalars(read), run_in(tmp_path))
    views, tsne = read.Images("views"), read.Images("t-SNE")
    assert [(each.step, each.width, each.height) for each in views] == [(0, 60, 160)]  # 8 images: whole, two views
    assert len(tsne) == 1
    assert {path.name for path in tmp_path.iterdir()} == {"data", "outputs"}


def interrupted_once(lowres_ssl: Command, monkeypatch: pytest.MonkeyPatch, *typed: str) -> None:
    """A run whose process ends in its last epoch, and the same command again."""
    write = Run.write_history

    def fails_once(run: Run, lines: Any) -> None:
        write(run, lines)
        if len(lines) == 3:
            monkeypatch.setattr(Run, "write_history", write)
            raise KeyboardInterrupt

    monkeypatch.setattr(Run, "write_history", fails_once)
    assert lowres_ssl(*TYPED, *typed).code == 130
    answer = lowres_ssl(*TYPED, *typed)
    assert answer.code == 0, answer.err


def test_resumed_run_goes_on_in_tensorboard_without_a_doubled_epoch(
    lowres_ssl: Command, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tensorboard")
    interrupted_once(lowres_ssl, monkeypatch, "tracker=tensorboard")
    read = events(tmp_path)
    check_numbers(scalars(read), run_in(tmp_path))
    assert len(read.Images("views")) == 1


@pytest.mark.parametrize("tool", TOOLS)
def test_neither_secrets_nor_paths_nor_names_of_images_reach_a_tool(
    lowres_ssl: Command, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str
) -> None:
    pytest.importorskip(tool)
    for name in SECRETS:
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    answer = lowres_ssl(*TYPED, f"tracker={tool}", f"dataset.root={cells}")
    assert answer.code == 0, answer.err
    assert "switched off" not in answer.err
    written = everything_in(tmp_path / "outputs" / "trackers") | everything_in(tmp_path / "home")
    assert written
    hidden = [CANARY, str(cells), "p1_3.png", *machine()]
    for name, content in written.items():
        assert not [each for each in hidden if each.encode() in content], name
    assert CANARY not in answer.err
    assert {path.name for path in tmp_path.iterdir()} - {"home"} == {"data", "outputs"}


@pytest.mark.parametrize("tool", TOOLS)
def test_tool_that_cannot_write_is_said_once_and_the_run_goes_on(
    lowres_ssl: Command, cells: Path, tmp_path: Path, tool: str
) -> None:
    pytest.importorskip(tool)
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "trackers").write_text("a file where the folder should be")
    answer = lowres_ssl(*TYPED, f"tracker={tool}")
    assert answer.code == 0, answer.err
    assert answer.err.count("switched off") == 1
    assert f"tracker={tool}: " in answer.err
    assert "random initialisation" in answer.out
    assert len(history_of(run_in(tmp_path))) == 3


def test_missing_library_is_said_before_anything_is_read(
    lowres_ssl: Command, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    for tool in ("tensorboard", "wandb", "mlflow"):
        answer = lowres_ssl(*TYPED, f"tracker={tool}")
        refused(answer, 2, f"tracker={tool}", "not installed", f"pip install 'lowres-ssl[{tool}]'", "tracker=none")
        assert "images" not in answer.err
    assert not (tmp_path / "outputs").exists()


def mlflow_numbers(folder: Path) -> dict[str, dict[int, float]]:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'outputs' / 'trackers' / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("lowres-ssl")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.info.run_name == run_in(folder).name
    assert run.data.params["method.name"] == "simclr"
    artifacts = {each.path for each in client.list_artifacts(run.info.run_id)}
    assert "t-SNE.png" in artifacts
    assert "views.png" not in artifacts  # images: false, unless typed
    found = {}
    for key in run.data.metrics:
        points = client.get_metric_history(run.info.run_id, key)
        steps = [point.step for point in points]
        assert len(set(steps)) == len(steps), f"{key}: {steps}"
        found[key] = {point.step: point.value for point in points}
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_history_and_scores_arrive_in_mlflow_and_a_resumed_run_goes_on_there(
    lowres_ssl: Command, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    interrupted_once(lowres_ssl, monkeypatch, "tracker=mlflow")
    check_numbers(mlflow_numbers(tmp_path), run_in(tmp_path))
    answer = lowres_ssl(*TYPED, "tracker=mlflow")  # finished: nothing is told twice
    assert answer.code == 0, answer.err
    check_numbers(mlflow_numbers(tmp_path), run_in(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"data", "outputs"}


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


def wandb_numbers(folder: Path) -> dict[str, dict[int, float]]:
    (place,) = (folder / "outputs" / "trackers" / "wandb" / "wandb").glob("offline-run-*")
    (path,) = place.glob("*.wandb")
    found: dict[str, dict[int, float]] = {}
    for record in wandb_records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            assert record.run.display_name == run_in(folder).name
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


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_history_and_scores_arrive_in_an_offline_wandb_run_that_is_written_anew_when_it_goes_on(
    lowres_ssl: Command, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb")
    interrupted_once(lowres_ssl, monkeypatch, "tracker=wandb")
    check_numbers(wandb_numbers(tmp_path), run_in(tmp_path))
    answer = lowres_ssl(*TYPED, "tracker=wandb")
    assert "nothing was sent; wandb sync outputs/trackers/wandb" in answer.err
    check_numbers(wandb_numbers(tmp_path), run_in(tmp_path))
    assert {path.name for path in tmp_path.iterdir()} == {"data", "outputs"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_who_is_not_logged_in_is_told_and_not_asked(cells: Path, tmp_path: Path) -> None:
    """In a process of its own: the library keeps what it has once found."""
    pytest.importorskip("wandb")
    known = {key: value for key, value in os.environ.items() if not key.startswith(("WANDB", "LOWRES_SSL"))}
    answer = subprocess.run(
        [sys.executable, "-m", "lowres_ssl", *TYPED, "tracker=wandb", "tracker.mode=online"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=known | {"HOME": str(tmp_path / "home")},
        timeout=300,
    )
    assert "note: tracker=wandb: not logged in; type wandb login, or tracker.mode=offline" in answer.stderr
    assert "random initialisation" in answer.stdout


def test_tracker_changes_neither_the_run_nor_its_bytes(lowres_ssl: Command, cells: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    assert lowres_ssl(*TYPED, "evaluate=false").code == 0
    run = run_in(tmp_path)
    encoder = (run / "encoder.safetensors").read_bytes()
    assert lowres_ssl(*TYPED, "evaluate=false", "force=true", "tracker=tensorboard").code == 0
    assert run_in(tmp_path) == run
    assert (run / "encoder.safetensors").read_bytes() == encoder
