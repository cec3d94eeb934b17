"""Commands that compute, each from its start to its end on the simulated GPU: they run, and no step waits for it.

What is simulated and what is not: README.md beside this file.
"""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from simulation import PHANTOM, STEPS, Counts, Report, Simulation, medians

from lowres_ssl.methods.base import Method, find_method
from lowres_ssl.registry import list_available

pytestmark = pytest.mark.slow

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
COMPILED = pytest.mark.parametrize("compiled", ["never", "always"])
METHODS = [name for name in list_available("lowres_ssl.methods", Method) if name != "dino"]  # its crops: larger images
COPIES = 2  # a step: the numbers of the views
PROBE_COPIES = 1  # a step: the images' places, on the GPU


def check_step(step: Counts, compiled: str, more: int = 0) -> None:
    """Check that a training step waits for nothing; compiled, it is two graphs, forward and backward. `more`: arrays
    that it copies beside `COPIES`, such as the places of its labels, or the numbers of another kind of view."""
    assert step["waits"] == step["to_host"] == step["captures"] == 0, step
    assert step["to_gpu"] <= COPIES + more, step
    assert step["graph_launches"] == (2 if compiled == "always" else 0), step


def check_probe(report: Report) -> None:
    """Check that a step of the linear probe is one graph; no capture was refused."""
    step = report.probe_step
    assert step["graph_launches"] == 1, step
    assert step["launches"] <= PROBE_COPIES, step
    assert step["waits"] == step["to_host"] == step["to_gpu"] == 0, step
    assert report.all["refused"] == 0
    assert "cannot be captured" not in report.printed


@COMPILED
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_pretrain(simulated: Simulation, precision: str, compiled: str) -> None:
    report = simulated.run("pretrain", "method=simclr", *PHANTOM, f"precision={precision}", f"compile={compiled}")
    check_step(report.step, compiled)
    check_probe(report)


def test_pretrain_by_inductor(simulated: Simulation) -> None:
    report = simulated.run("pretrain", "method=simclr", *PHANTOM, "compile=always", SIMULATED_GPU_BACKEND="")
    check_step(report.step, "always")
    check_probe(report)


@COMPILED
def test_sweep_of_methods(simulated: Simulation, compiled: str) -> None:
    report = simulated.run("pretrain", "-m", f"method={','.join(METHODS)}", *PHANTOM, f"compile={compiled}")
    check_probe(report)
    steps = report.counted["steps"]
    assert len(steps) == len(METHODS) * STEPS
    for place, name in enumerate(METHODS):
        takes_labels = find_method(name).sees_labels or find_method(name).separates_images
        check_step(medians(steps[place * STEPS : (place + 1) * STEPS]), compiled, more=takes_labels)


@COMPILED
def test_small_crops(simulated: Simulation, compiled: str) -> None:
    typed = ("method=dino", *PHANTOM, "image_size=48", "method.small_views=2", f"compile={compiled}")
    check_step(simulated.run("pretrain", *typed).step, compiled, more=1)


@COMPILED
def test_dry_run(simulated: Simulation, compiled: str) -> None:
    report = simulated.run("pretrain", "method=simclr", *PHANTOM, f"compile={compiled}", "dry_run=true")
    assert report.all["refused"] == 0


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_evaluate(trained: Simulation, precision: str) -> None:
    typed = (trained.simclr, "probe=[knn,linear]", "probe.knn.k=5", f"precision={precision}", "device=cuda")
    check_probe(trained.run("evaluate", *typed, "probe.linear.epochs=3", "force=true"))


def test_tune(trained: Simulation) -> None:
    grid = ("batch_size=[8,16]", "learning_rate=[0.1,0.01]", "seeds=2", "rule=quarter", "probe.linear.epochs=4")
    check_probe(trained.run("tune", trained.simclr, *grid, "device=cuda"))


def test_embed(trained: Simulation) -> None:
    images = trained.folder / "images"
    images.mkdir()
    for number in range(5):
        Image.new("RGB", (40, 40), color=(50 * number, 0, 0)).save(images / f"{number}.png")
    report = trained.run("embed", trained.simclr, f"images={images}", "device=cuda")
    assert report.all["launches"] > 0


def test_benchmark(simulated: Simulation) -> None:
    chosen = ("methods=[dcl,vicreg]", "budget=10min", "epochs=2", "seeds=2", "pretrained=[]")
    typed = ("dataset=phantom", "dataset.subset=160", "image_size=32", "backbone=resnet18", "probe=[knn,linear]")
    simulated.run("benchmark", *typed, *chosen, "chosen_by=knn", "device=cuda")
    check_computing(simulated, {"pretrain"})


def test_smoke_reproduction(simulated: Simulation) -> None:
    path = f"{Path(sys.executable).parent}:{simulated.environment['PATH']}"
    told = simulated.environment | {"PRESET": "smoke", "PATH": path}
    done = subprocess.run(
        [SCRIPTS / "reproduce_tables.sh", "device=cuda"], env=told, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    check_computing(simulated, {"pretrain", "tune"})


def check_computing(simulated: Simulation, commands: set[str]) -> None:
    """Check that each of `commands` used the GPU, and that none of its processes was refused anything."""
    computing = [each for each in simulated.counts() if each["all"]["launches"]]
    assert commands <= {word for each in computing for word in each["arguments"]}
    for each in computing:
        assert each["all"]["refused"] == 0, each["arguments"]


def test_gpu_check(simulated: Simulation) -> None:
    """The script for the day there is a GPU: its stages at small sizes, compiled and not, in one go."""
    work, results = simulated.folder / "work", simulated.folder / "results"
    options = ("--small", "--seconds", "900", "--work", work, "--results", results)
    told = simulated.environment | {"PYTHON": sys.executable}
    stages = ("batch", "compiled", "tune", "evaluate", "train")
    done = subprocess.run(
        [SCRIPTS / "gpu_check.sh", *options, *stages], env=told, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    summary = (results / "summary.md").read_text()
    assert "UNFINISHED" not in summary
    assert re.findall("^## (.*)", summary, re.MULTILINE) == ["batch-16", "compiled-16", "tune", "evaluate", "train"]
    assert sum(file.stat().st_size for file in results.iterdir()) < 2**20
