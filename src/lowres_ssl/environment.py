"""Where a result comes from: versions, machine, commit. Every stored result carries it."""

import platform
import subprocess
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn", "pillow")


def get_versions() -> dict[str, str]:
    """Of Python, of this package and of the packages whose version can change a digit."""
    from lowres_ssl import __version__

    return {"lowres-ssl": __version__, "python": platform.python_version()} | {name: version(name) for name in PACKAGES}


@cache
def get_commit() -> str | None:
    """The git commit of this package's source, with "+" if it was edited since; None where it is no git checkout."""
    here = Path(__file__).resolve().parent

    def git(*arguments: str, folder: Path = here) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        # Installed into an environment that lies inside somebody else's repository, that commit says nothing of us.
        top = Path(git("rev-parse", "--show-toplevel")).resolve()
        if top / "src" / "lowres_ssl" != here:
            return None
        edited = git("status", "--porcelain", "--", "src", "conf", folder=top)
        return git("rev-parse", "HEAD") + ("+" if edited else "")
    except (OSError, subprocess.SubprocessError):
        return None


def describe_environment(device: str) -> dict[str, Any]:
    return {"versions": get_versions(), "device": device, "system": platform.platform(), "commit": get_commit()}
