"""SIGKILL from outside at random moments: every method, both precisions, from the archive to the table.

`make torture` runs this; the seed of the moments is in the summary, and `LOWRES_SSL_TORTURE_SEED` sets it. `make test`
kills at named places, `test_kills.py`.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from left_behind import Outcome, differences, leftovers, outcome
from processes import PRETRAIN, start, type_until
from small_runs import paint_cells
from summaries import told

from lowres_ssl.methods.base import Method
from lowres_ssl.registry import list_available

METHODS = list_available("lowres_ssl.methods", Method)
pytestmark = pytest.mark.torture
KILLS = 4  # of each method in each precision


@pytest.fixture(scope="module")
def moments() -> Iterator[tuple[Random, Counter[str]]]:
    """When to kill, and a count of how far the run had come, which the summary has."""
    seed = int(os.environ.get("LOWRES_SSL_TORTURE_SEED", time.time_ns() % 2**32))
    killed: Counter[str] = Counter()
    with told("kills", f"processes killed at random moments (seed {seed})") as more:
        try:
            yield Random(seed), killed
        finally:
            more += [f"{number} {moment}" for moment, number in sorted(killed.items())]


def moment(folder: Path) -> str:
    """How far a run had come, by what it left."""
    runs = folder / "outputs" / "pretrain"
    if not (folder / "data" / "folder").exists():
        return "before the archive was unpacked"
    if not list((folder / "outputs" / "stores").glob("folder-*/store.json")):
        return "before the images were decoded"
    if not list(runs.glob("folder-*/run.json")):
        return "before training"
    if not list(runs.glob("folder-[!r]*/encoder.safetensors")):
        return "in training"
    return "while it was scored"


def killed_after(folder: Path, command: list[str], seconds: float) -> bool:
    """Start the command and kill it after this time; False if it had ended by itself, which must have gone well."""
    process = start(type_until, folder, command, None)
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -9), (folder / "said.txt").read_text()
    return process.exitcode == -9


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", METHODS)
def test_run_killed_at_random_moments_ends_as_one_that_was_not(
    moments: tuple[Random, Counter[str]], tmp_path: Path, method: str, precision: str
) -> None:
    longer = ["probe=[knn,linear]", "probe.linear.epochs=2", "epochs=4"]
    command = [*PRETRAIN, "dataset.archive=set.zip", f"method={method}", f"precision={precision}", *longer]
    random, killed = moments
    whole = images_in(tmp_path / "through")
    started = time.monotonic()
    assert not killed_after(whole, command, 600)
    seconds, wanted = time.monotonic() - started, outcome(whole)
    folder = images_in(tmp_path / "killed")
    kills = 0
    while kills < KILLS:
        if killed_after(folder, command, random.uniform(0, seconds)):
            kills += 1
            killed[moment(folder)] += 1
        else:
            compare(folder, wanted)
            shutil.rmtree(folder)
            images_in(folder)
    assert not killed_after(folder, command, 600)
    compare(folder, wanted)


def images_in(folder: Path) -> Path:
    """A folder with an archive to begin from."""
    paint_cells(folder / "set" / "set")
    shutil.make_archive(str(folder / "set"), "zip", folder / "set")
    shutil.rmtree(folder / "set")
    return folder


def compare(folder: Path, wanted: Outcome) -> None:
    assert [*differences(outcome(folder), wanted), *leftovers(folder)] == []
