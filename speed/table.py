"""Figures as a reader can check them: medians with their spread, a Markdown table, and the machine they come from."""

import argparse
import os
import statistics
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

import torch

from lowres_ssl.device import get_device_name, resolve_device
from lowres_ssl.environment import get_commit, get_versions


def median_and_spread(values: Sequence[float], digits: int = 1) -> str:
    """ "21.3 (20.9-21.8)": the median, and the smallest and the largest."""
    middle = f"{statistics.median(values):,.{digits}f}"
    return middle if len(values) == 1 else f"{middle} ({min(values):,.{digits}f}-{max(values):,.{digits}f})"


def markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def machine(device: str) -> str:
    """What the figures are true of, in one paragraph."""
    compute = resolve_device(device, "auto").set_up_process()
    told = ", ".join(f"{name} {number}" for name, number in (get_versions() | peers()).items())
    threads = f"{torch.get_num_threads()} threads on {os.cpu_count()} cores, load before {os.getloadavg()[0]:.1f}"
    precision = f"precision=auto is {compute.precision}"
    tf32 = "no TF32" if compute.device.type == "cpu" else "TF32 off in ours, PyTorch's default in the peers"
    where = f"{get_device_name(compute.device)} ({compute.device.type})"
    return f"{where}, {threads}; {precision}; {tf32}; {told}; commit {get_commit()}."


def peers() -> dict[str, str]:
    """Versions of what the package is compared with, where it is installed."""
    try:
        return {"lightly": version("lightly")}
    except PackageNotFoundError:
        return {}


def arguments(description: str) -> argparse.ArgumentParser:
    """The options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    parser.add_argument("--data", metavar="DIR", help="a folder of class folders; without it the phantom is drawn")
    parser.add_argument("--images", default="any", help="what kind of pictures they are: any, xray, histology")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--work", default="outputs/speed", metavar="DIR", help="where stores and runs may go")
    return parser
