"""A built wheel is whole: it carries `conf/`, and works from another folder without the source."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy with the build tools of this environment: nothing is fetched, no trace is left in the tree."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE", "conf", "src"):
        subprocess.run(["cp", "-r", ROOT / name, source / name], check=True)
    place = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "-w", place]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, source], check=True, capture_output=True)
    return next(place.glob("*.whl"))


def test_wheel_holds_every_config_and_every_module(wheel: Path) -> None:
    inside = set(zipfile.ZipFile(wheel).namelist())
    configs = {f"lowres_ssl/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")}
    modules = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py")}
    templates = {
        str(path.relative_to(ROOT / "src")) for path in (ROOT / "src/lowres_ssl/reporting/html/templates").iterdir()
    }
    assert len(templates) >= 5
    assert configs | modules | templates | {"lowres_ssl/py.typed"} <= inside


def test_installed_wheel_composes_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    """Installed with --no-deps into a folder of its own, in front of an environment that sees the dependencies."""
    site = tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--target", site, wheel]
    subprocess.run(command, check=True, capture_output=True)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    code = (
        "import sys; sys.argv = ['lowres-ssl', 'pretrain', 'method=vicreg', '--cfg', 'job']\n"
        "import lowres_ssl.conf, lowres_ssl.cli.main; assert 'site/lowres_ssl/conf' in lowres_ssl.conf.__file__\n"
        "lowres_ssl.cli.main.main()"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=elsewhere,
        env=os.environ | {"PYTHONPATH": str(site)},
    )
    assert answer.returncode == 0, answer.stderr
    assert "expander_output: 4096" in answer.stdout
    assert not list(elsewhere.iterdir())
