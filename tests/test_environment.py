"""Versions are those installed; the commit is ours or none."""

import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy
import pytest
import sklearn
import torch
import torchvision

import lowres_ssl
from lowres_ssl import environment


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    environment.get_commit.cache_clear()
    yield
    environment.get_commit.cache_clear()


def git(folder: Path, *arguments: str) -> str:
    settings = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", *settings, "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def package_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package as if it lay in `folder`; returns its one file."""
    folder.mkdir(parents=True)
    file = folder / "provenance.py"
    file.write_text("'''The package.'''\n")
    monkeypatch.setattr(environment, "__file__", str(file))
    return file


def committed(folder: Path) -> str:
    git(folder, "init", "--quiet")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    return git(folder, "rev-parse", "HEAD")


def test_versions_are_those_of_the_installed_packages() -> None:
    got = environment.get_versions()
    assert got.pop("lowres-ssl") == lowres_ssl.__version__ == version("lowres-ssl")
    assert got.pop("python") == platform.python_version()
    assert got == {name: version(name) for name in got}
    loaded = {"torch": torch, "torchvision": torchvision, "numpy": numpy, "scikit-learn": sklearn}
    for name, module in loaded.items():
        assert module.__version__.partition("+")[0] == got[name].partition("+")[0]


def test_commit_of_a_checkout_is_marked_once_its_source_is_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = package_in(tmp_path / "src" / "lowres_ssl", monkeypatch)
    sha = committed(tmp_path)
    (tmp_path / "outputs.txt").write_text("no source")
    assert environment.get_commit() == sha
    file.write_text("'''Edited.'''\n")
    environment.get_commit.cache_clear()
    assert environment.get_commit() == sha + "+"
