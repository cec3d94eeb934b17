"""Commands that compute, each from its start to its end on the simulated GPU: they run, and no step waits for it.

What is simulated and what is not: README.md beside this file.
"""

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from simulation import PHANTOM, Counts, Report, Simulation

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "reproduce_tables.sh"
PRECISIONS = ("bf16", "fp16")
METHODS = ("simclr", "dcl", "dclw", "simsiam", "vicreg", "supervised")
COPIES = 2  # a step: the numbers of the views
PROBE_COPIES = 1  # a step: the images' places, on the GPU


def check_step(step: Counts, compiled: bool, copies: int = COPIES) -> None:
    """Check that a training step waits for nothing; compiled, it is two graphs, forward and backward."""
    assert step["waits"] == step["to_host"] == step["captures"] == 0, step
    assert step["to_gpu"] <= copies, step
    assert step["graph_launches"] == (2 if compiled else 0), step


def check_probe(report: Report) -> None:
    """Check that a step of the linear probe is one graph; no capture was refused."""
    step = report.probe_step
    assert step["graph_launches"] == 1, step
    assert step["launches"] <= PROBE_COPIES, step
    assert step["waits"] == step["to_host"] == step["to_gpu"] == 0, step
    assert report.all["refused"] == 0
    assert "cannot be captured" not in report.printed


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_pretrain(simulated: Simulation, precision: str, compiled: bool) -> None:
    compile_ = f"compile={'always' if compiled else 'never'}"
    report = simulated.run("pretrain", "method=simclr", *PHANTOM, f"precision={precision}", compile_)
    check_step(report.step, compiled)
    check_probe(report)


def test_pretrain_by_inductor(simulated: Simulation) -> None:
    report = simulated.run("pretrain", "method=simclr", *PHANTOM, "compile=always", SIMULATED_GPU_BACKEND="")
    check_step(report.step, compiled=True)
    check_probe(report)


@pytest.mark.parametrize("compiled", [False, True])
def test_sweep_of_methods(simulated: Simulation, compiled: bool) -> None:
    methods = f"method={','.join(METHODS)}"
    report = simulated.run("pretrain", "-m", methods, *PHANTOM, f"compile={'always' if compiled else 'never'}")
    check_probe(report)


@pytest.mark.parametrize("compiled", [False, True])
def test_dry_run(simulated: Simulation, compiled: bool) -> None:
    compile_ = f"compile={'always' if compiled else 'never'}"
    report = simulated.run("pretrain", "method=simclr", *PHANTOM, compile_, "dry_run=true")
    assert report.all["refused"] == 0


@pytest.mark.parametrize("precision", PRECISIONS)
def test_evaluate(trained: Simulation, precision: str) -> None:
    (run,) = (trained.folder / "outputs" / "pretrain").glob("phantom-simclr-*")
    typed = (f"run={run}", "probe=[knn,linear]", "probe.knn.k=5", f"precision={precision}", "device=cuda")
    check_probe(trained.run("evaluate", *typed, "probe.linear.epochs=3", "force=true"))


def test_tune(trained: Simulation) -> None:
    (run,) = (trained.folder / "outputs" / "pretrain").glob("phantom-simclr-*")
    grid = ("batch_size=[8,16]", "learning_rate=[0.1,0.01]", "seeds=2", "rule=quarter", "probe.linear.epochs=4")
    check_probe(trained.run("tune", f"run={run}", *grid, "device=cuda"))


def test_embed(trained: Simulation) -> None:
    (run,) = (trained.folder / "outputs" / "pretrain").glob("phantom-simclr-*")
    images = trained.folder / "images"
    images.mkdir()
    for number in range(5):
        Image.new("RGB", (40, 40), color=(50 * number, 0, 0)).save(images / f"{number}.png")
    report = trained.run("embed", f"run={run}", f"images={images}", "device=cuda")
    assert report.all["launches"] > 0


def test_benchmark(simulated: Simulation) -> None:
    chosen = ("methods=[random,dcl,vicreg]", "budget=10min", "epochs=1", "seeds=2", "fewer_labels=[0.5]")
    typed = ("dataset=phantom", "dataset.subset=160", "image_size=32", "backbone=resnet18", "probe=[knn,linear]")
    report = simulated.run("benchmark", *typed, *chosen, "device=cuda")
    assert "simulated GPU" in report.printed
    for each in simulated.counts():
        assert each["all"]["refused"] == 0, each["arguments"]


def test_smoke_reproduction(simulated: Simulation) -> None:
    """Every command of the script, by a table of each step of the way: what they asked of the GPU."""
    path = f"{Path(sys.executable).parent}:{simulated.environment['PATH']}"
    told = simulated.environment | {"PRESET": "smoke", "PATH": path}
    done = subprocess.run([SCRIPT, "device=cuda"], env=told, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    computing = [each for each in simulated.counts() if each["all"]["launches"]]
    assert {each["arguments"][1] for each in computing} >= {"pretrain", "evaluate", "tune"}
    for each in computing:
        assert each["all"]["refused"] == 0, each["arguments"]
