"""Runs of a sweep that begin at once, as launchers start them, and tell the same store."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import sys
from pathlib import Path
import mlflow.entities
from lowres_ssl.tracking.backends import TrackedRun
from lowres_ssl.tracking.backends.mlflow import MLflowTracker

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
