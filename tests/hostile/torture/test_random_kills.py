"""SIGKILL from outside at random moments: every method, both precisions, from the archive to the table.

`make torture` runs this; the seed of the moments is in the summary, and `LOWRES_SSL_TORTURE_SEED` sets it. `make test`
has one method, killed twice at moments that are the same each time.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from killed import processes, typed
from left_behind import Outcome, differences, leftovers, outcome
from small import PRETRAIN, paint
from summaries import told

from lowres_ssl.methods.base import Method
from lowres_ssl.registry import list_available

METHODS = list_available("lowres_ssl.methods", Method)
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
    process = processes().Process(target=typed, args=(folder, command, None))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -9), (folder / "said.txt").read_text()
    return process.exitcode == -9


@pytest.mark.torture
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", METHODS)
def test_run_killed_at_random_moments_ends_as_one_that_was_not(
    moments: tuple[Random, Counter[str]], tmp_path: Path, method: str, precision: str
) -> None:
    longer = ["probe=[knn,linear]", "probe.linear.epochs=2", "epochs=4"]
    end_as_one_that_was_not(*moments, tmp_path, [f"method={method}", f"precision={precision}", *longer], KILLS)


def test_run_killed_twice_at_moments_drawn_beforehand_ends_as_one_that_was_not(tmp_path: Path) -> None:
    early = Random(3)  # after a quarter of the time, then after half of it: seldom after its end
    end_as_one_that_was_not(early, Counter(), tmp_path, ["method=vicreg", "precision=fp32", "picture=false"], 2)


def end_as_one_that_was_not(random: Random, killed: Counter[str], folder: Path, words: list[str], times: int) -> None:
    """Kill the run of these words so often, at random moments; typed again to its end, it has left the same."""
    command = [*PRETRAIN, "dataset.archive=set.zip", *words]
    whole = images_in(folder / "through")
    started = time.monotonic()
    assert not killed_after(whole, command, 600)
    seconds, wanted = time.monotonic() - started, outcome(whole)
    folder = images_in(folder / "killed")
    kills = 0
    while kills < times:
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
    paint(folder / "set" / "set")
    shutil.make_archive(str(folder / "set"), "zip", folder / "set")
    shutil.rmtree(folder / "set")
    return folder


def compare(folder: Path, wanted: Outcome) -> None:
    assert [*differences(outcome(folder), wanted), *leftovers(folder)] == []
