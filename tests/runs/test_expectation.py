"""What is ahead, and how long it takes where it is known: nothing is guessed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored_runs import ENVIRONMENT, OUTCOME, made_up_config, made_up_identity, made_up_record
from tiny_training import TRAINING

from lowres_ssl.config.experiment_schema import BackboneConfig
from lowres_ssl.runs.expectation import TIME_SHOWN_LATER, describe_training
from lowres_ssl.runs.run import Run

LONG = replace(TRAINING, epochs=12, batch_size=10)


def run_at(
    folder: Path, name: str, seconds: float | None = None, device: str = "a CPU, fp32", batch_size: int = 32, **key: Any
) -> Run:
    """Write a run whose one epoch of 1,000 views took so many seconds; `key`: of its config."""
    run = Run(folder / name)
    outcome = replace(OUTCOME, environment=replace(ENVIRONMENT, device=device))
    identity, config = made_up_identity(batch_size=batch_size), replace(made_up_config(), **key)
    config.method = {"name": "dcl"}
    run.start(made_up_record(identity=identity, config=config, outcome=outcome if seconds else None))
    if seconds is not None:
        run.write_history([{"epoch": 1, "seconds": seconds, "views_per_second": 1000 / seconds}])
        run.finish(outcome)
    return run


def test_time_is_that_of_a_stored_run_on_the_same_device(tmp_path: Path) -> None:
    run_at(tmp_path, "cells-dcl-bs32-s0-aaaaaaaa", seconds=10)
    run = run_at(tmp_path, "cells-dcl-bs32-s1-bbbbbbbb")
    said = describe_training(run, LONG, 500, "a CPU, fp32")
    assert said == "epochs 1 to 12, 12,000 views, about 2 min (100 views/s in cells-dcl-bs32-s0-aaaaaaaa)"


@pytest.mark.parametrize(
    "other",
    [{"device": "a GPU, bf16"}, {"backbone": BackboneConfig("x", True, True)}, {"image_size": 24}, {"batch_size": 64}],
)
def test_run_of_another_kind_tells_no_time(tmp_path: Path, other: dict[str, Any]) -> None:
    run_at(tmp_path, "cells-dcl-bs32-s0-aaaaaaaa", seconds=10, **other)
    run = run_at(tmp_path, "cells-dcl-bs32-s1-bbbbbbbb")
    assert describe_training(run, LONG, 500, "a CPU, fp32") == f"epochs 1 to 12, 12,000 views; {TIME_SHOWN_LATER}"


def test_run_that_goes_on_is_timed_by_itself(tmp_path: Path) -> None:
    run_at(tmp_path, "cells-dcl-bs32-s0-aaaaaaaa", seconds=10)
    run = run_at(tmp_path, "cells-dcl-bs32-s1-bbbbbbbb", seconds=100)
    said = describe_training(run, LONG, 500, "another device")
    assert said == "epochs 2 to 12, 11,000 views, about 18 min (10 views/s so far)"


def test_damaged_history_tells_no_time(tmp_path: Path) -> None:
    run = run_at(tmp_path, "cells-dcl-bs32-s1-bbbbbbbb", seconds=100)
    run.history.write_text("epoch,seconds\n1,x\n")
    assert describe_training(run, LONG, 500, "a CPU, fp32").endswith(TIME_SHOWN_LATER)
