"""Build the simulated GPU, run commands on it, and read what they asked of it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

HERE = Path(__file__).resolve().parent
PACKAGES = Path(torch.__file__).resolve().parents[1]
HEADERS = (PACKAGES / "nvidia" / "cu13" / "include", PACKAGES / "triton" / "backends" / "nvidia" / "include")

PHANTOM = (
    *("dataset=phantom", "dataset.subset=160", "split=patient", "recipe=tuned", "backbone=resnet18", "image_size=32"),
    *("batch_size=8", "epochs=2", "probe.knn.k=5", "probe.linear.epochs=3", "picture=false", "device=cuda"),
)
STEPS = 28  # of a training: 112 images in batches of 8, twice

Counts = dict[str, int]


def why_not() -> str | None:
    """The reason why there can be no simulated GPU here, if there is one."""
    if shutil.which("g++") is None:
        return "no g++ here, which the simulated GPU is built with"
    if torch.version.cuda is None or not torch.version.cuda.startswith("13."):
        return f"the simulated GPU is one of CUDA 13; PyTorch here is built for {torch.version.cuda or 'CPUs'}"
    missing = [str(folder) for folder in HEADERS if not folder.is_dir()]
    return f"no CUDA headers at {missing[0]}" if missing else None


def build(folder: Path) -> None:
    """Make `libcuda.so.1`, the simulated driver and runtime, in the folder."""
    compiler = ["g++", "-O1", "-fPIC", "-w", *(f"-I{headers}" for headers in HEADERS)]
    subprocess.run([*compiler, "-x", "c", "-c", HERE / "succeed.c", "-o", folder / "succeed.o"], check=True)
    sources = [HERE / "runtime.cpp", folder / "succeed.o"]
    as_library = ["-std=c++17", "-shared", "-Wl,-soname,libcuda.so.1", "-o", folder / "libcuda.so.1"]
    subprocess.run([*compiler, *as_library, *sources, "-ldl"], check=True)
    (folder / "libcuda.so").symlink_to("libcuda.so.1")  # Triton links with it


@dataclass(frozen=True)
class Report:
    """What a process of lowres-ssl printed to stderr and what it asked of the GPU; see `site/sitecustomize.py`."""

    printed: str
    counted: dict[str, Any]

    @property
    def all(self) -> Counts:
        counts: Counts = self.counted["all"]
        return counts

    @property
    def step(self) -> Counts:
        """The counts of a training step in the middle of an epoch: the median of each."""
        return medians(self.counted["steps"])

    @property
    def probe_step(self) -> Counts:
        """As `step`, of a full step of the linear probe, once it is captured."""
        return medians(self.counted["probe_steps"])


def medians(steps: list[Counts]) -> Counts:
    assert steps, "no step was taken"
    return {name: int(median(step[name] for step in steps)) for name in steps[0]}


@dataclass(frozen=True)
class Simulation:
    """A folder for data, runs and counts, and the library that is the GPU."""

    library: Path
    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """For a process that is to find the simulated GPU, whatever it starts included."""
        counts = self.folder / "counts"
        counts.mkdir(exist_ok=True)
        return os.environ | {
            "LD_PRELOAD": str(self.library / "libcuda.so.1"),
            "TRITON_LIBCUDA_PATH": str(self.library),
            "TORCHINDUCTOR_CACHE_DIR": str(self.folder / "inductor"),
            "PYTHONPATH": str(HERE / "site"),
            "SIMULATED_GPU_COUNTS": str(counts),
            "SIMULATED_GPU_BACKEND": "cudagraphs",
            "LOWRES_SSL_DATA": str(self.folder / "data"),
            "LOWRES_SSL_OUTPUTS": str(self.folder / "outputs"),
            "OMP_NUM_THREADS": "1",
        }

    @property
    def simclr(self) -> str:
        """The word that names the one SimCLR run there."""
        (run,) = (self.folder / "outputs" / "pretrain").glob("phantom-simclr-*")
        return f"run={run}"

    def run(self, *arguments: str, **environment: str) -> Report:
        """Run `lowres-ssl ARGUMENTS` to its end, which must be a good one."""
        done = subprocess.run(
            [sys.executable, "-m", "lowres_ssl", *arguments],
            cwd=self.folder,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        (own,) = [each for each in self.counts() if tuple(each["arguments"][-len(arguments) :]) == arguments]
        return Report(done.stderr, own)

    def run_code(self, code: str) -> str:
        """Run Python code to its end, which must be a good one; what it printed."""
        done = subprocess.run(
            [sys.executable, "-c", code], env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def counts(self) -> list[dict[str, Any]]:
        """What each process of lowres-ssl wrote at its end, in any order."""
        return [json.loads(path.read_text()) for path in (self.folder / "counts").glob("*.json")]
