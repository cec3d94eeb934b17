"""Versions are those installed; the commit is ours or none."""

import platform
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest

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


def test_versions_are_those_of_the_installed_packages() -> None:
    got = environment.get_versions()
    assert got.pop("lowres-ssl") == lowres_ssl.__version__ == version("lowres-ssl")
    assert got.pop("python") == platform.python_version()
    assert got == {name: version(name) for name in environment.PACKAGES}


def test_commit_of_a_checkout_is_marked_once_its_source_is_edited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "src" / "lowres_ssl" / "environment.py"
    file.parent.mkdir(parents=True)
    file.write_text("'''The package.'''\n")
    monkeypatch.setattr(environment, "__file__", str(file))
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "first")
    (tmp_path / "outputs.txt").write_text("no source")
    sha = git(tmp_path, "rev-parse", "HEAD")
    assert environment.get_commit() == sha
    file.write_text("'''Edited.'''\n")
    environment.get_commit.cache_clear()
    assert environment.get_commit() == sha + "+"
