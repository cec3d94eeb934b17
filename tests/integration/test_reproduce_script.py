"""The reproduction script: its commands, and what it lacks. In `make test-all` all of it on the phantom, and in
`make torture` on a few real X-rays too: killed once, then run to its end."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from in_process import check_commands
from typed import take_first_job

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "reproduce_tables.sh"
RANDOM = ["random initialisation", "random, BatchNorm calibrated"]
METHODS = ["DCL", "SimCLR", "SimSiam", "VICReg", *RANDOM, "mean colour and size"]
VERDICTS = ("supported", "contradicted", "cannot tell")
TABLES = [f"{name}.{ending}" for name in ("paper1", "paper2", "paper3") for ending in ("md", "csv", "tex")]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Data and runs in an empty folder."""
    (tmp_path / "data").mkdir()
    places = {"LOWRES_SSL_DATA": str(tmp_path / "data"), "LOWRES_SSL_OUTPUTS": str(tmp_path / "outputs")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | places | {"PATH": path, "OMP_NUM_THREADS": "1"}


def finished(outputs: Path) -> int:
    runs = (json.loads(path.read_text()) for path in outputs.glob("pretrain/*/run.json"))
    return sum(run["outcome"] is not None for run in runs)


def test_sets_that_are_not_there_are_told_of_once_each_with_what_to_type(environment: dict[str, str]) -> None:
    """The paper's own preset where none of its sets is there."""
    typed, preset = [SCRIPT, "--dry-run", "image_size=64"], {"PRESET": "paper-patient"}
    done = subprocess.run(typed, env=environment | preset, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    said = done.stderr.splitlines()
    assert said[1::2] == [f"Left out: dataset={name}" for name in ("breast", "colorectal", "pneumonia")]
    for line, name in zip(said[::2], ("breast", "colorectal", "pneumonia"), strict=True):
        assert "no such folder" in line
        assert f"lowres-ssl data dataset={name} fetch=true" in line
    assert done.stdout == ""


@pytest.mark.parametrize("preset", ["smoke", "paper"])
@pytest.mark.usefixtures("lowres_ssl")
def test_every_command_of_the_script_composes(environment: dict[str, str], tmp_path: Path, preset: str) -> None:
    """As a stand-in for `lowres-ssl` notes them, which finds every set there and fails at none."""
    program, noted = tmp_path / "bin" / "lowres-ssl", tmp_path / "noted"
    program.parent.mkdir()
    code = f"import json, sys\nprint(json.dumps(sys.argv[1:]), file=open({str(noted)!r}, 'a'))\n"
    program.write_text(f"#!{sys.executable} -S\n{code}")
    program.chmod(0o755)
    path = {"PATH": f"{program.parent}{os.pathsep}{environment['PATH']}", "PRESET": preset}
    subprocess.run([SCRIPT], env=environment | path, capture_output=True, check=True)
    commands = [json.loads(line) for line in noted.read_text().splitlines()]
    assert {"pretrain", "tune", "tables", "figures", "compare"} <= {words[0] for words in commands}
    check_commands(map(take_first_job, commands))


def numbers(outputs: Path, name: str, dataset: str) -> dict[str, float]:
    """Our accuracy of each row of a table, by label; a row without a number is not among them."""
    records = csv.DictReader((outputs / "tables" / "patient" / f"{name}.csv").read_text().splitlines())
    own = [each for each in records if each["dataset"] == dataset and each["metric"] == "accuracy"]
    return {each["label"]: float(each["value"]) for each in own if each["value"]}


@pytest.mark.parametrize(
    "with_xrays", [pytest.param(False, marks=pytest.mark.slow), pytest.param(True, marks=pytest.mark.torture)]
)
def test_script_goes_on_where_it_was_killed_and_makes_every_table_and_figure(
    environment: dict[str, str], tmp_path: Path, with_xrays: bool
) -> None:
    environment["PRESET"] = "smoke"
    if with_xrays:
        xrays = Path(os.environ.get("LOWRES_SSL_SHARED", ROOT.parent / "shared")) / "data" / "pneumonia"
        if not xrays.is_dir():
            pytest.skip(f"no X-rays at {xrays}")
        (tmp_path / "data" / "pneumonia").symlink_to(xrays)
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
    for name in ("paper2", "paper3"):
        found = numbers(outputs, name, "phantom")
        assert set(METHODS) <= found.keys()
        assert all(0 < value <= 1 for value in found.values())
    assert {"supervised (end to end)", "supervised from dcl (end to end)"} <= found.keys()
    recipes = (outputs / "tables" / "recipes.md").read_text()
    assert re.search(r"\| DCL +\| +– \| +– \| +\**0\.\d{3}", recipes)

    folder = outputs / "figures" / "patient"
    pictures = {path.stem for path in folder.glob("*.png")}
    assert {"batch_size", "tsne", "labels"} < pictures
    assert {path.stem for path in folder.glob("*.pdf")} == pictures

    compared = (outputs / "comparisons" / "patient.txt").read_text()
    assert compared in done.stdout
    assert any(re.search(rf"^{verdict} ", compared, re.MULTILINE) for verdict in VERDICTS)
