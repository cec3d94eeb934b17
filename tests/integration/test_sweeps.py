"""Sweeps in which jobs fail: each failure stays its own, and the end tells of all of them."""

import gc
import os
import shlex
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_runs import SMALL, UNTRAINED
from torch import nn
from typed import Command, listed

from hydra_plugins.lowres_ssl import Processes
from lowres_ssl.commands import pretrain as command

pytestmark = pytest.mark.usefixtures("cells")
SWEEP = ("pretrain", "-m", "dataset=folder", *SMALL, "evaluate=false")
OUT_OF_MEMORY = "CUDA out of memory. Tried to allocate 20.00 GiB.\nGPU 0 has a total capacity of 79.10 GiB"


def failing(monkeypatch: pytest.MonkeyPatch, fail: Callable[[Any], None]) -> list[int]:
    """Jobs do `fail(cfg)` instead of their work; the batch sizes of those that came through it."""
    done: list[int] = []

    def main(cfg: Any) -> None:
        fail(cfg)
        done.append(cfg.batch_size)

    monkeypatch.setattr(command, "main", main)
    return done


def test_sweep_goes_on_after_failures_and_lists_each_with_its_command(lowres_ssl: Command) -> None:
    answer = lowres_ssl(*SWEEP, "batch_size=1,4,64", "output_dir=my runs", code=2)
    assert "Error executing job" not in answer.err
    assert "Traceback" not in answer.err
    (first, why), (second, also) = listed(answer.err)
    assert why.startswith("batch_size=1: wanted at least 2")
    assert also.startswith("batch_size=64: the training set has 28 images")
    assert answer.err.index(why) < answer.err.index("folder-simclr-bs4-s0") < answer.err.index("of this sweep failed")
    assert len(list(Path("my runs", "pretrain").glob("folder-simclr-bs4-*"))) == 1
    assert shlex.split(second)[:2] == ["lowres-ssl", "pretrain"]
    again = lowres_ssl(*shlex.split(second)[1:], code=2)
    assert again.last_line == f"lowres-ssl: {also}"
    assert "batch_size=1" in shlex.split(first)


def test_what_a_sweep_would_do_is_added_up_at_its_end(lowres_ssl: Command) -> None:
    answer = lowres_ssl(*SWEEP, "batch_size=1,4,8", "dry_run=true", code=2)
    assert len(listed(answer.err)) == 1
    assert answer.out.strip().splitlines()[-1].startswith("2 runs: 0 finished or with nothing to train, 2 to go; ")


def test_sweep_goes_on_when_nobody_reads_what_it_says(lowres_ssl: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # as after `| head`
    with os.fdopen(writing, "w") as unread, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", unread)
        patched.setattr(sys, "stderr", unread)
        words = ("method=random", "seed=0,1", "dataset=folder", *UNTRAINED, "picture=false", "baselines=false")
        lowres_ssl("pretrain", "-m", *words)
    assert len(list(Path("outputs").glob("pretrain/*-random-s*/knn-*/result.json"))) == 2
    lowres_ssl("runs")


def test_a_defect_ends_its_job_alone_with_its_traceback(lowres_ssl: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(cfg: Any) -> None:
        if cfg.batch_size == 4:
            raise KeyError("no such\nthing")

    done = failing(monkeypatch, fail)
    answer = lowres_ssl(*SWEEP, "batch_size=4,8", code=1)
    assert done == [8]
    assert answer.err.count("Traceback") == 1
    ((_, message),) = listed(answer.err)
    assert message == r"a defect of lowres-ssl: KeyError: 'no such\nthing'"


def test_a_job_out_of_memory_frees_what_it_took(lowres_ssl: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the frames of the failed job held, in a cycle even, is gone when the next one starts."""
    models: list[weakref.ref[nn.Module]] = []
    alive = []

    def fail(cfg: Any) -> None:
        alive.append([model() is not None for model in models])
        model = nn.Linear(1000, 1000)
        cycle = [model]
        cycle.append(cycle)
        models.append(weakref.ref(model))
        if cfg.batch_size == 16:
            raise torch.OutOfMemoryError(OUT_OF_MEMORY)

    failing(monkeypatch, fail)
    gc.disable()  # Python would find the cycle sooner or later
    try:
        answer = lowres_ssl(*SWEEP, "batch_size=16,8", code=1)
    finally:
        gc.enable()
    assert alive == [[], [False]]
    ((_, message),) = listed(answer.err)
    assert message.startswith("out of memory; try a smaller batch_size")


@pytest.mark.parametrize("launcher", ["basic", "processes"])
def test_word_that_is_wrong_for_a_later_job_is_refused_before_the_first(
    lowres_ssl: Command, monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    done = failing(monkeypatch, lambda cfg: None)
    monkeypatch.setattr(Processes, "launch", lambda *_, **__: pytest.fail("one was launched"))
    answer = lowres_ssl(*SWEEP, "method=simclr,nonsense", f"hydra/launcher={launcher}", code=2)
    assert "nonsense" in answer.last_line
    assert done == []
