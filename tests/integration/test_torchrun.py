"""`torchrun -m lowres_ssl pretrain`, as it is typed: two processes, one run."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from small_runs import SMALL
from stored_runs import reseal
from typed import Command, history_of, result_of, the_run, type_apart

from lowres_ssl.train import world

# Each process has BatchNorm statistics of its own 8 images, and not of all 16.
TOLERANCE = 0.1
PRETRAIN = ("pretrain", "dataset=folder", *SMALL)
TYPED = (*PRETRAIN, "batch_size=16", "learning_rate=0.001")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")

pytestmark = pytest.mark.usefixtures("cells")


def check_alike(one: Path, other: Path, tolerance: float) -> None:
    for line, like in zip(history_of(one), history_of(other), strict=True):
        for key in ("epoch", "learning_rate", "image_size"):
            assert line[key] == like[key]
        for key in ("loss", "embedding_std", "effective_rank"):
            assert like[key] == pytest.approx(line[key], rel=tolerance), key


def test_two_processes_make_one_run_like_that_of_one(lowres_ssl: Command) -> None:
    ran = type_apart(*TYPED, "device=cpu", "tracker=tensorboard", launcher=TORCHRUN)
    assert len(list(Path("outputs/trackers").rglob("events.out.tfevents.*"))) == 1  # the first process's
    assert ran.out.count("simclr, batch size 16, 1 epoch") == 1
    assert ran.err.count(": simclr on 2 x ") == 1
    assert ran.err.count("Decoding images") == 1
    shared = the_run("folder-simclr-*")
    assert {"run.json", "split.json", "history.csv", "encoder.safetensors"} <= {path.name for path in shared.iterdir()}
    assert not (shared / "checkpoint.pt").exists()
    description = json.loads((shared / "run.json").read_text())
    assert description["outcome"]["processes"] == description["identity"]["processes"] == 2
    assert result_of(shared, "knn")

    lowres_ssl(*TYPED, "device=cpu", "evaluate=false")
    (alone,) = set(shared.parent.glob("folder-simclr-*")) - {shared}
    assert json.loads((alone / "run.json").read_text())["identity"]["processes"] is None
    check_alike(alone, shared, TOLERANCE)


@pytest.mark.gpu
def test_two_gpus_with_synchronised_statistics_make_the_run_of_one(lowres_ssl: Command) -> None:
    """Sums are taken in another order, and that is all: it is the same run, by its name."""
    if torch.cuda.device_count() < 2:
        pytest.skip("one GPU here")
    typed = (*TYPED, "device=cuda", "sync_batch_norm=true", "compile=never", "evaluate=false")
    type_apart(*typed, "output_dir=shared", launcher=TORCHRUN)
    lowres_ssl(*typed, "output_dir=alone")
    (shared,), (alone,) = (Path(place, "pretrain").iterdir() for place in ("shared", "alone"))
    assert shared.name == alone.name
    check_alike(alone, shared, 1e-3)


def be_first_of(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is the first of so many on this machine, and the others never answer."""
    for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"):
        monkeypatch.setenv(name, str(size))
    for name, value in (("RANK", "0"), ("MASTER_ADDR", "here"), ("MASTER_PORT", "0")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(world, "rendezvous", lambda *_: iter([(torch.distributed.HashStore(), 0, size)]))
    monkeypatch.setattr(world, "LEAVE_TIMEOUT", timedelta(seconds=0.01))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("batch_size=9", "batch_size=9: is shared by 2 processes, wanted a multiple of 2"),
        ("sync_batch_norm=true device=cpu", "sync_batch_norm=true: PyTorch has it on GPUs only"),
        ("compile=always", "compile=always: not with several processes"),
        ("-m seed=0,1", "-m: not with several processes a run"),
        ("keep_last_batch=true batch_size=26", "keep_last_batch=true: the last batch of 28 images has 2"),
    ],
)
def test_what_several_processes_cannot_do_is_refused_before_the_work(
    lowres_ssl: Command, monkeypatch: pytest.MonkeyPatch, typed: str, said: str
) -> None:
    be_first_of(2, monkeypatch)
    flags = [word for word in typed.split() if word == "-m"]
    keys = [word for word in typed.split() if word != "-m"]
    answer = lowres_ssl("pretrain", *flags, *PRETRAIN[1:], *keys, code=2)
    assert said in answer.err
    assert "Decoding" not in answer.err


@pytest.mark.gpu
def test_each_process_needs_a_gpu_of_its_own(lowres_ssl: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    size = torch.cuda.device_count() + 1
    be_first_of(size, monkeypatch)
    assert "wanted one each" in lowres_ssl(*PRETRAIN, f"batch_size={4 * size}", "device=cuda", code=2).err


def test_run_begun_by_two_processes_is_not_begun_again_by_one(lowres_ssl: Command) -> None:
    """As if the two had been stopped: their checkpoint is there."""
    typed = (*PRETRAIN, "evaluate=false")
    lowres_ssl(*typed)
    (run,) = Path("outputs/pretrain").iterdir()
    stored = json.loads((run / "run.json").read_text())
    reseal(run / "run.json", stored | {"identity": stored["identity"] | {"processes": 2}})
    two = run.rename(run.with_name(f"{run.name[:-8]}00000000"))
    (two / "checkpoint.pt").write_bytes(b"")
    answer = lowres_ssl(*typed, code=4)
    assert "begun by 2 processes, got 1" in answer.err
    assert "torchrun --nproc-per-node=2" in answer.err
    assert not run.exists()
    lowres_ssl(*typed, "force=true")
    assert run.exists()
