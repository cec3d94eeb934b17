"""Several processes, one folder of runs: each run, result, store and download is made once, and none is lost."""

import json
from pathlib import Path

import pytest
from processes import PRETRAIN, at_once
from summaries import told

SWEEP = ("pretrain", "-m", *PRETRAIN[1:], "epochs=2")


def finished_once(folder: Path, done: dict[str, int], runs: int) -> None:
    """`runs` runs were trained, all are whole, each with one result and one picture, and nothing was done twice."""
    assert set(done.values()) == {1}, {work: times for work, times in done.items() if times != 1}
    kinds = [work.split()[0] for work in done]
    assert {kind: kinds.count(kind) for kind in sorted(set(kinds))} == {
        "download": 1,
        "unpacking": 1,
        "index": 1,
        "store": 1,
        "training": runs,
        "features": runs + 2,  # those of the two random encoders as well
        "result": runs + 2,
        "picture": runs,
    }
    stored = sorted((folder / "outputs" / "pretrain").iterdir())
    assert len(stored) == runs + 2
    for run in stored:
        assert json.loads((run / "run.json").read_text())["outcome"]
        assert len(list(run.glob("knn-*/result.json"))) == 1
    left = [path.name for path in folder.rglob(".*") if path.suffix in (".lock", ".part")]
    assert left == []


def said(folder: Path, processes: int) -> str:
    return "\n".join((folder / f"said-{number}.txt").read_text() for number in range(processes))


def test_two_processes_that_type_the_same_compute_it_once(address: str, asked: list[str], tmp_path: Path) -> None:
    fetch = ["data", "dataset=folder", "fetch=true", f"dataset.url={address}"]
    codes, done = at_once(tmp_path, 2 * [[fetch, [*SWEEP, "method=simclr,dcl", "batch_size=8"]]])
    assert codes == [[0, 0], [0, 0]], said(tmp_path, 2)
    assert asked == ["/set.zip"]
    finished_once(tmp_path, done, runs=2)
    assert ", works on it; waiting for that" in said(tmp_path, 2)


@pytest.mark.torture
def test_eight_processes_with_sweeps_that_overlap_compute_each_run_once(
    address: str, asked: list[str], tmp_path: Path
) -> None:
    """Four type the whole grid, each in another order; four type a half of it each."""
    fetch = ["data", "dataset=folder", "fetch=true", f"dataset.url={address}"]
    methods, sizes = ("method=simclr,dcl,dclw", "method=dclw,dcl,simclr"), ("batch_size=8,4", "batch_size=4,8")
    whole = [[*SWEEP, method, size] for method in methods for size in sizes]
    halves = [[*SWEEP, methods[number % 2], f"batch_size={size}"] for number, size in enumerate((8, 4, 4, 8))]
    with told("eight-sweeps", "eight processes, overlapping sweeps of 6 runs"):
        codes, done = at_once(tmp_path, [[fetch, sweep] for sweep in (*whole, *halves)])
        assert codes == 8 * [[0, 0]], said(tmp_path, 8)
        assert asked == ["/set.zip"]
        finished_once(tmp_path, done, runs=6)


def test_two_processes_that_force_the_same_run_each_make_it_whole(address: str, tmp_path: Path) -> None:
    """Each makes it again, since each was told to; none takes it away while another works on it."""
    fetch = ["data", "dataset=folder", "fetch=true", f"dataset.url={address}"]
    force = [*PRETRAIN, "force=true"]
    codes, done = at_once(tmp_path, 2 * [[fetch, force]])
    assert codes == 2 * [[0, 0]], said(tmp_path, 2)
    assert {times for work, times in done.items() if work.startswith("training")} == {2}
    for run in (tmp_path / "outputs" / "pretrain").iterdir():
        assert json.loads((run / "run.json").read_text())["outcome"]
        assert len(list(run.glob("knn-*/result.json"))) == 1
