"""`torchrun -m lowres_ssl pretrain`, as it is typed: two processes, one run."""

import csv
import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from stored_runs import reseal
from typed import SMALL, Command

from lowres_ssl.train import world

# Each process has BatchNorm statistics of its own 8 images, and not of all 16.
TOLERANCE = 0.1
TYPED = (
    "pretrain",
    "dataset=folder",
    *SMALL,
    "batch_size=16",
    "learning_rate=0.001",
)


def history_of(run: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((run / "history.csv").read_text().splitlines()))


def torchrun(folder: Path, *typed: str) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    return subprocess.run(
        [*launcher, "-m", "lowres_ssl", *TYPED, *typed],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        timeout=300,
    )


def check_alike(one: Path, other: Path, tolerance: float) -> None:
    for line, like in zip(history_of(one), history_of(other), strict=True):
        for key in ("epoch", "learning_rate", "image_size"):
            assert line[key] == like[key]
        for key in ("loss", "embedding_std", "effective_rank"):
            assert float(like[key]) == pytest.approx(float(line[key]), rel=tolerance), key


def test_two_processes_make_one_run_like_that_of_one(lowres_ssl: Command, cells: Path, tmp_path: Path) -> None:
    ran = torchrun(tmp_path, "device=cpu", "tracker=tensorboard")
    assert ran.returncode == 0, ran.stderr
    assert len(list((tmp_path / "outputs" / "trackers").rglob("events.out.tfevents.*"))) == 1  # the first process's
    assert ran.stdout.count("simclr, batch size 16, 1 epoch") == 1
    assert ran.stderr.count(": simclr on 2 x ") == 1
    assert ran.stderr.count("Decoding images") == 1
    (shared,) = (tmp_path / "outputs" / "pretrain").glob("folder-simclr-*")
    assert {"run.json", "split.json", "history.csv", "encoder.safetensors"} <= {path.name for path in shared.iterdir()}
    assert not (shared / "checkpoint.pt").exists()
    description = json.loads((shared / "run.json").read_text())
    assert description["outcome"]["processes"] == description["identity"]["processes"] == 2
    assert len(list(shared.glob("knn-*/result.json"))) == 1

    assert lowres_ssl(*TYPED, "device=cpu", "evaluate=false").code == 0
    (alone,) = set((tmp_path / "outputs" / "pretrain").glob("folder-simclr-*")) - {shared}
    assert json.loads((alone / "run.json").read_text())["identity"]["processes"] is None
    check_alike(alone, shared, TOLERANCE)


@pytest.mark.gpu
def test_two_gpus_with_synchronised_statistics_make_the_run_of_one(
    lowres_ssl: Command, cells: Path, tmp_path: Path
) -> None:
    """Sums are taken in another order, and that is all: it is the same run, by its name."""
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU here")
    typed = ("device=cuda", "sync_batch_norm=true", "compile=never", "evaluate=false")
    for place in ("shared", "alone"):
        typed_here = (*typed, f"output_dir={tmp_path / place}")
        if place == "shared":
            ran = torchrun(tmp_path, *typed_here)
            assert ran.returncode == 0, ran.stderr
        else:
            assert lowres_ssl(*TYPED, *typed_here).code == 0
    (shared,), (alone,) = ((tmp_path / place / "pretrain").iterdir() for place in ("shared", "alone"))
    assert shared.name == alone.name
    check_alike(alone, shared, 1e-3)


@pytest.fixture
def first_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the first of two, and the other one never answers."""
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "here"), ("MASTER_PORT", "0")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(world, "rendezvous", lambda *_: iter([(torch.distributed.HashStore(), 0, 2)]))
    monkeypatch.setattr(world, "LEAVE_TIMEOUT", timedelta(seconds=0.01))


@pytest.mark.usefixtures("first_of_two")
@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (("batch_size=9",), "batch_size=9: is shared by 2 processes, wanted a multiple of 2"),
        (("sync_batch_norm=true", "device=cpu"), "sync_batch_norm=true: PyTorch has it on GPUs only"),
        (("compile=always",), "compile=always: not with several processes"),
        (("-m", "seed=0,1"), "-m: not with several processes a run"),
        (("keep_last_batch=true", "batch_size=26"), "keep_last_batch=true: the last batch of 28 images has 2"),
    ],
)
def test_what_several_processes_cannot_do_is_refused_before_the_work(
    lowres_ssl: Command, cells: Path, typed: tuple[str, ...], said: str
) -> None:
    switches = [each for each in typed if "=" not in each]
    keys = [each for each in typed if "=" in each]
    answer = lowres_ssl("pretrain", *switches, "dataset=folder", *SMALL, *keys)
    assert answer.code == 2, answer.err
    assert said in answer.err
    assert "Decoding" not in answer.err


@pytest.mark.gpu
def test_each_process_needs_a_gpu_of_its_own(lowres_ssl: Command, monkeypatch: pytest.MonkeyPatch, cells: Path) -> None:
    size = torch.cuda.device_count() + 1
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, str(size))
    for name, value in (("RANK", "0"), ("MASTER_ADDR", "here"), ("MASTER_PORT", "0")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(world, "rendezvous", lambda *_: iter([(torch.distributed.HashStore(), 0, size)]))
    monkeypatch.setattr(world, "LEAVE_TIMEOUT", timedelta(seconds=0.01))
    answer = lowres_ssl("pretrain", "dataset=folder", *SMALL, f"batch_size={4 * size}", "device=cuda")
    assert answer.code == 2
    assert "wanted one each" in answer.err


def test_run_begun_by_two_processes_is_not_begun_again_by_one(
    lowres_ssl: Command, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the two had been stopped: their checkpoint is there."""
    typed = ("pretrain", "dataset=folder", *SMALL, "evaluate=false")
    assert lowres_ssl(*typed).code == 0
    (run,) = (tmp_path / "outputs" / "pretrain").iterdir()
    stored = json.loads((run / "run.json").read_text())
    reseal(run / "run.json", stored | {"identity": stored["identity"] | {"processes": 2}})
    two = run.rename(run.with_name(f"{run.name[:-8]}00000000"))
    (two / "checkpoint.pt").write_bytes(b"")
    answer = lowres_ssl(*typed)
    assert answer.code == 4
    assert "begun by 2 processes, got 1" in answer.err
    assert "torchrun --nproc-per-node=2" in answer.err
    assert not run.exists()
    assert lowres_ssl(*typed, "force=true").code == 0
    assert run.exists()
