"""Launchers and sweepers that cannot do what is asked say so in one line, before any work."""

import re
import sys
from pathlib import Path

import fake_slurm
import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from small_runs import SMALL
from typed import Command, refused

pytestmark = pytest.mark.usefixtures("cells")
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
    said = f"lowres-ssl: {choice}: its engine is not installed; type pip install 'lowres-ssl[{extra}]'\n"
    assert lowres_ssl(*SWEEP, choice, code=2).err == said


@pytest.mark.parametrize("launcher", ["ray_local", "ray_cluster"])
def test_sweep_on_ray_without_ray_comes_with_what_to_type(
    lowres_ssl: Command, monkeypatch: pytest.MonkeyPatch, launcher: str
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "hydra_plugins.lowres_ssl._ray", raising=False)
    answer = lowres_ssl(*SWEEP, f"hydra/launcher={launcher}", code=2)
    assert answer.err == "lowres-ssl: Ray is not installed; type pip install 'lowres-ssl[ray]'\n"


def test_slurm_without_a_cluster_is_refused_with_what_tries_it_here(
    lowres_ssl: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    refused(lowres_ssl(*SWEEP, "hydra/launcher=slurm", code=2), "no srun here", "hydra/launcher=slurm_local")


def test_what_slurm_does_not_take_is_told_in_its_words_and_the_documents_show_the_job_script(
    lowres_ssl: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    script = fake_slurm.set_up(tmp_path / "slurm", monkeypatch, refuses=True)
    answer = lowres_ssl(*SWEEP, "hydra/launcher=slurm", "hydra.launcher.partition=gpu", code=2)
    said = "Slurm did not take the jobs: sbatch: error: invalid partition specified: none; see what sbatch wants here"
    assert answer.last_line == f"lowres-ssl: {said}"
    written = re.sub(r"sweeps/[^/]*/", "sweeps/TIME/", script.read_text())
    written = written.replace(str(tmp_path), "/home/you/study").replace(sys.executable, "/home/you/venv/bin/python")
    page = Path(__file__).resolve().parents[2] / "docs" / "launchers.md"
    shown = re.search(r"```text\n(#!/bin/bash\n.*?)```", page.read_text(), re.DOTALL)
    assert shown is not None
    assert written.strip() == shown[1].strip()
