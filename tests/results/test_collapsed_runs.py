"""Collapsed runs: which count as such, and where that is said."""

from pathlib import Path

import pytest
from stored_runs import made_up_run

from lowres_ssl.commands.runs import table
from lowres_ssl.errors import CheckpointError
from lowres_ssl.results.collapse import COLLAPSED_STD, has_collapsed
from lowres_ssl.results.ledger import ledger
from lowres_ssl.runs import Run

BELOW, ABOVE = COLLAPSED_STD - 0.01, COLLAPSED_STD + 0.01


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "pretrain" / "phantom-dcl-bs8-s0-12345678")
    run.folder.mkdir(parents=True)
    return run


@pytest.mark.parametrize(("spreads", "collapsed"), [([ABOVE, BELOW], True), ([BELOW, ABOVE], False)])
def test_the_last_epoch_tells(run: Run, spreads: list[float], collapsed: bool) -> None:
    run.write_history([{"epoch": place + 1, "embedding_std": each} for place, each in enumerate(spreads)])
    assert has_collapsed(run, {}) is collapsed


def test_where_an_epoch_was_selected_that_one_tells(run: Run) -> None:
    run.write_history([{"epoch": 1, "embedding_std": ABOVE}, {"epoch": 2, "embedding_std": BELOW}])
    assert not has_collapsed(run, {"selected_epoch": 1})
    assert has_collapsed(run, {"selected_epoch": 2})


def test_neither_untrained_nor_supervised_encoders_collapse(run: Run) -> None:
    assert not has_collapsed(run, {})
    run.write_history([{"epoch": 1, "embedding_std": BELOW}])
    run.classifier.write_bytes(b"weights")
    assert not has_collapsed(run, {})


@pytest.mark.parametrize("text", ["", "epoch\n1\n", "epoch,embedding_std\n", "epoch,embedding_std\n1,nothing\n", "1\n"])
def test_damaged_history_is_not_taken_for_health(run: Run, text: str) -> None:
    (run.folder / "history.csv").write_text(text)
    with pytest.raises(CheckpointError, match=r"history\.csv: cannot be read .*; type its pretrain command again"):
        has_collapsed(run, {})


@pytest.mark.parametrize("change", ["gone", "another"])
def test_history_that_run_json_names_is_there_as_it_was_written(run: Run, change: str) -> None:
    run.start({})
    run.write_history([{"epoch": 1, "embedding_std": BELOW}])
    run.finish()
    assert has_collapsed(run, run.description())
    run.history.unlink()
    if change == "another":
        run.write_history([{"epoch": 1, "embedding_std": ABOVE}])
    for read in (has_collapsed, Run.read_history):
        with pytest.raises(CheckpointError, match=r"history\.csv: .*; type its pretrain command again with force=true"):
            read(run, run.description())
    run.discard()
    assert not has_collapsed(run, run.description())


def test_a_run_with_a_damaged_history_keeps_its_scores_and_a_note(tmp_path: Path) -> None:
    (made_up_run(tmp_path).parent / "history.csv").write_text("epoch\n")
    frame, problems = ledger(tmp_path)
    assert (len(frame), frame["collapsed"].tolist()) == (1, [False])
    (problem,) = problems
    assert problem.endswith("; until then nobody knows whether it collapsed")


def test_runs_marks_it_with_a_footnote(tmp_path: Path) -> None:
    made_up_run(tmp_path, method="dcl", embedding_std=ABOVE)
    healthy, _ = ledger(tmp_path)
    assert "ollapsed" not in table(healthy)
    made_up_run(tmp_path, method="simsiam", embedding_std=BELOW)
    said = table(ledger(tmp_path)[0]).splitlines()
    assert ["finished, collapsed" in line for line in said[1:3]] == [False, True]
    assert said[-1].startswith(f"Collapsed: embedding_std below {COLLAPSED_STD} ")


def test_ledger_has_it_as_true_or_false(tmp_path: Path) -> None:
    assert ledger(tmp_path)[0]["collapsed"].dtype == bool
    for method, spread in (("dcl", ABOVE), ("random", None), ("simsiam", BELOW)):
        made_up_run(tmp_path, method=method, embedding_std=spread)
    frame, _ = ledger(tmp_path)
    assert dict(zip(frame["method"], frame["collapsed"].tolist(), strict=True)) == {
        "dcl": False,
        "random": False,
        "simsiam": True,
    }
