"""The reproduction script, all of it, on the phantom, and in `make torture` on a few real X-rays too: killed once, then
run to its end."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "reproduce_tables.sh"
TABLES = [f"{name}.{ending}" for name in ("paper1", "paper2", "paper3") for ending in ("md", "csv", "tex")]


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.torture)], ids=["phantom", "with X-rays"])
def environment(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, str]:
    """Data and runs in an empty folder, with the X-rays if they are asked for and this machine has them."""
    xrays = Path(os.environ.get("LOWRES_SSL_SHARED", ROOT.parent / "shared")) / "data" / "pneumonia"
    (tmp_path / "data").mkdir()
    if request.param:
        if not xrays.is_dir():
            pytest.skip(f"no X-rays at {xrays}")
        (tmp_path / "data" / "pneumonia").symlink_to(xrays)
    places = {"LOWRES_SSL_DATA": str(tmp_path / "data"), "LOWRES_SSL_OUTPUTS": str(tmp_path / "outputs")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | places | {"PRESET": "smoke", "PATH": path, "OMP_NUM_THREADS": "1"}


def finished(outputs: Path) -> int:
    runs = (json.loads(path.read_text()) for path in outputs.glob("pretrain/*/run.json"))
    return sum(run["finished"] for run in runs)


def test_script_goes_on_where_it_was_killed_and_makes_every_table_and_figure(
    environment: dict[str, str], tmp_path: Path
) -> None:
    outputs = tmp_path / "outputs"
    with (tmp_path / "log.txt").open("w") as log:
        killed = subprocess.Popen([SCRIPT], env=environment, stdout=log, stderr=log, start_new_session=True)
    while finished(outputs) < 3 and killed.poll() is None:
        time.sleep(0.2)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    before = {path: path.stat().st_mtime_ns for path in outputs.glob("pretrain/*/encoder.safetensors")}

    done = subprocess.run([SCRIPT], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(before) >= 3
    kept = [path for path, written in before.items() if path.stat().st_mtime_ns == written]
    assert len(kept) >= len(before) - 1  # the one at hand may have been written anew

    assert sorted(path.name for path in (outputs / "tables" / "patient").iterdir()) == sorted(TABLES)
    pictures = {path.stem for path in (outputs / "figures" / "patient").glob("*.png")}
    assert {"batch_size", "tsne", "labels"} < pictures
