"""Describe where a result comes from: versions, machine, commit. It is part of every stored result."""

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path


@dataclass(frozen=True)
class Environment:
    """Versions of packages, the device in words, the operating system, and the commit of this source, if known."""

    versions: Mapping[str, str]
    device: str
    system: str
    commit: str | None


PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "pillow")


def get_versions() -> dict[str, str]:
    """Get the versions of Python, of this package and of those packages that can change a digit."""
    from lowres_ssl import __version__

    return {"lowres-ssl": __version__, "python": platform.python_version()} | {name: version(name) for name in PACKAGES}


@cache
def get_commit() -> str | None:
    """Get the git commit of this package's source, with "+" if it was edited since; None outside a git checkout."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str, folder: Path = here) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        # An environment inside another repository has that repository's commit.
        top = Path(git("rev-parse", "--show-toplevel")).resolve()
        if top / "src" / "lowres_ssl" != here:
            return None
        edited = git("status", "--porcelain", "--", "src", "conf", folder=top)
        return git("rev-parse", "HEAD") + ("+" if edited else "")
    except (OSError, subprocess.SubprocessError):
        return None


def describe_environment(device: str) -> Environment:
    return Environment(get_versions(), device, platform.platform(), get_commit())
