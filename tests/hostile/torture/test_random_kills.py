"""SIGKILL from outside at random moments: every method, both precisions, from the archive to the table.

`make torture` runs this; the seed of the moments is in the summary, and `LOWRES_SSL_TORTURE_SEED` sets it. `make test`
has one method, killed twice at moments that are the same each time.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from killed import processes, typed
from left_behind import Outcome, differences, leftovers, outcome
from small import PRETRAIN, paint
from summaries import leave

from lowres_ssl.methods.base import Method
from lowres_ssl.registry import list_available

ROOT = Path(__file__).resolve().parents[3]
METHODS = list_available("lowres_ssl.methods", Method)
PRECISIONS = ("fp32", "bf16")
KILLS = 4  # of each method in each precision


@dataclass
class Tally:
    """Count kills and compared runs, for the summary."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)  # by how far the run had come
    writing: int = 0  # kills while a file or a folder was being written
    runs: int = 0  # compared with one that was not killed
    differed: int = 0  # of those
    failed: int = 0  # processes that ended with an error

    def __post_init__(self) -> None:
        self.random = Random(self.seed)

    def text(self) -> str:
        rows = "".join(f"| {moment} | {number} |\n" for moment, number in sorted(self.kills.items()))
        return (
            f"{sum(self.kills.values())} processes killed at random moments (seed {self.seed}), {self.writing} of them "
            f"while a file or folder was being written; {self.runs} runs compared with one that was not killed, "
            f"{self.differed or 'none'} differed; {self.failed or 'no'} process ended with an error.\n\n"
            f"| killed | times |\n|---|---|\n{rows}"
        )


@pytest.fixture(scope="module")
def tally() -> Iterator[Tally]:
    counted = Tally(int(os.environ.get("LOWRES_SSL_TORTURE_SEED", time.time_ns() % 2**32)))
    yield counted
    leave("kills", counted.text())
    print(f"\n{counted.text()}")


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


def killed_after(tally: Tally, folder: Path, command: list[str], seconds: float) -> bool:
    """Start the command and kill it after this time; False if it had ended by itself, which must have gone well."""
    process = processes().Process(target=typed, args=(folder, command, None))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    tally.failed += process.exitcode not in (0, -9)
    assert process.exitcode in (0, -9), (folder / "said.txt").read_text()
    return process.exitcode == -9


@pytest.mark.torture
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("method", METHODS)
def test_run_killed_at_random_moments_ends_as_one_that_was_not(
    tally: Tally, tmp_path: Path, method: str, precision: str
) -> None:
    longer = ["probe=[knn,linear]", "probe.linear.epochs=2", "epochs=4"]
    end_as_one_that_was_not(tally, tmp_path, [f"method={method}", f"precision={precision}", *longer], KILLS)


def test_run_killed_twice_at_moments_drawn_beforehand_ends_as_one_that_was_not(tmp_path: Path) -> None:
    counted = Tally(seed=3)  # after a quarter of the time, then after half of it: seldom after its end
    end_as_one_that_was_not(counted, tmp_path, ["method=vicreg", "precision=fp32", "picture=false"], 2)
    assert sum(counted.kills.values()) == 2
    assert counted.differed == counted.failed == 0 < counted.runs


def end_as_one_that_was_not(tally: Tally, folder: Path, words: list[str], times: int) -> None:
    """Kill the run of these words so often, at moments of the tally's; typed again to its end, it has left the same."""
    command = [*PRETRAIN, "dataset.archive=set.zip", *words]
    wanted, seconds = run_through(tally, folder / "through", command)
    folder = images_in(folder / "killed")
    kills = 0
    while kills < times:
        if killed_after(tally, folder, command, tally.random.uniform(0, seconds)):
            kills += 1
            tally.kills[moment(folder)] += 1
            tally.writing += any(path.name.endswith(".part") for path in folder.rglob("*"))
        else:
            compare(tally, folder, wanted)
            shutil.rmtree(folder)
            images_in(folder)
    assert not killed_after(tally, folder, command, 600)
    compare(tally, folder, wanted)


def run_through(tally: Tally, folder: Path, command: list[str]) -> tuple[Outcome, float]:
    """What the command leaves, and how long it takes."""
    images_in(folder)
    started = time.monotonic()
    assert not killed_after(tally, folder, command, 600)
    return outcome(folder), time.monotonic() - started


def images_in(folder: Path) -> Path:
    """A folder with an archive to begin from."""
    paint(folder / "set" / "set")
    shutil.make_archive(str(folder / "set"), "zip", folder / "set")
    shutil.rmtree(folder / "set")
    return folder


def compare(tally: Tally, folder: Path, wanted: Outcome) -> None:
    found = [*differences(outcome(folder), wanted), *leftovers(folder)]
    tally.runs += 1
    tally.differed += bool(found)
    assert found == []
