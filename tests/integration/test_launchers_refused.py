"""Launchers and sweepers that cannot do what is asked say so in one line, before any work."""

import re
import sys
from pathlib import Path

import fake_slurm
import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from typed import SMALL, Command

SWEEP = ("pretrain", "-m", "dataset=folder", *SMALL, "seed=0,1")


@pytest.mark.parametrize(
    ("choice", "plugin", "extra"),
    [
        ("hydra/launcher=processes", "joblib", "joblib"),
        ("hydra/launcher=slurm", "submitit_slurm", "slurm"),
        ("hydra/launcher=slurm_local", "submitit_local", "slurm"),
        ("hydra/sweeper=search", "optuna", "optuna"),
        ("hydra/sweeper=optuna", "optuna", "optuna"),
    ],
)
def test_engine_that_is_not_installed_comes_with_what_to_type(
    lowres_ssl: Command, monkeypatch: pytest.MonkeyPatch, choice: str, plugin: str, extra: str
) -> None:
    Plugins.instance()  # which has put its config there, if it is installed
    group = choice.partition("=")[0].removeprefix("hydra/")
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"][group], f"{plugin}.yaml", raising=False)
    answer = lowres_ssl(*SWEEP, choice)
    assert answer.code == 2
    assert answer.err == (
        f"lowres-ssl: {choice}: its engine is not installed; type pip install 'lowres-ssl[{extra}]'\n"
    )


@pytest.mark.parametrize("launcher", ["ray_local", "ray_cluster"])
def test_sweep_on_ray_without_ray_comes_with_what_to_type(
    lowres_ssl: Command, monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "hydra_plugins.lowres_ssl._ray", raising=False)
    answer = lowres_ssl(*SWEEP, f"hydra/launcher={launcher}")
    assert answer.code == 2
    assert answer.err == "lowres-ssl: Ray is not installed; type pip install 'lowres-ssl[ray]'\n"


def test_slurm_without_a_cluster_is_refused_with_what_tries_it_here(
    lowres_ssl: Command, cells: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    answer = lowres_ssl(*SWEEP, "hydra/launcher=slurm")
    assert answer.code == 2
    assert "no srun here" in answer.last_line
    assert "hydra/launcher=slurm_local" in answer.last_line


def test_what_slurm_does_not_take_is_told_in_its_words(
    lowres_ssl: Command, cells: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_slurm.set_up(tmp_path / "slurm", monkeypatch, refuses=True)
    answer = lowres_ssl(*SWEEP, "hydra/launcher=slurm", "hydra.launcher.partition=none")
    assert answer.code == 2
    assert answer.last_line == (
        "lowres-ssl: Slurm did not take the jobs: sbatch: error: invalid partition specified: none; "
        "see what sbatch wants here"
    )


def test_job_script_in_the_documents_is_what_submitit_writes(
    lowres_ssl: Command, cells: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = fake_slurm.set_up(tmp_path / "slurm", monkeypatch, refuses=True)
    lowres_ssl(*SWEEP, "hydra/launcher=slurm", "hydra.launcher.partition=gpu")
    written = re.sub(r"sweeps/[^/]*/", "sweeps/TIME/", script.read_text())
    written = written.replace(str(tmp_path), "/home/you/study").replace(sys.executable, "/home/you/venv/bin/python")
    page = Path(__file__).resolve().parents[2] / "docs" / "launchers.md"
    shown = re.search(r"```text\n(#!/bin/bash\n.*?)```", page.read_text(), re.DOTALL)
    assert shown is not None
    assert written.strip() == shown[1].strip()
