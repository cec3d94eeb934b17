"""Runs that have learnt nothing, or are collapsing: which count as such, and where that is said."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from stored_runs import OUTCOME, made_up_config, made_up_record, made_up_run

from lowres_ssl.errors import CheckpointError
from lowres_ssl.runs.history import (
    FALLING_STD,
    MIN_EFFECTIVE_RANK,
    MIN_EMBEDDING_STD,
    RUN_MARKS,
    find_run_marks,
    judge_history,
)
from lowres_ssl.runs.index import format_run_table, read_index
from lowres_ssl.runs.records import RunRecord
from lowres_ssl.runs.run import Run

BELOW, ABOVE = MIN_EMBEDDING_STD - 0.01, MIN_EMBEDDING_STD + 0.01
CHANCE = math.log(126)  # of 64 images, with two views each
NOT_CONTRASTIVE = made_up_record(outcome=OUTCOME)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "pretrain" / "phantom-dcl-bs8-s0-12345678")
    run.folder.mkdir(parents=True)
    return run


def lines(
    spreads: Sequence[float], ranks: float | Sequence[float] = 20.0, losses: float | Sequence[float] = 1.0
) -> list[dict[str, float]]:
    """A made-up history: `embedding_std` by epoch, and the other two likewise, or the same in all."""
    columns = [[own] * len(spreads) if isinstance(own, float) else own for own in (losses, spreads, ranks)]
    names = ("loss", "embedding_std", "effective_rank")
    epochs = enumerate(zip(*columns, strict=True), start=1)
    return [{"epoch": float(epoch), **dict(zip(names, numbers, strict=True))} for epoch, numbers in epochs]


def contrastive(temperature: float = 0.1, chance: float = CHANCE) -> RunRecord:
    config = replace(made_up_config(), method={"name": "dcl", "temperature": temperature})
    return made_up_record(config=config, outcome=replace(OUTCOME, chance_loss=chance))


@pytest.mark.parametrize(
    ("history", "record", "wanted"),
    [
        # The loss of the last epoch alone, at chance or above it: DCL on the phantom with the views of `any` and of
        # `histology`.
        (lines([0.63, 0.2, 0.2], losses=[5.0, 4.8, 4.779]), contrastive(), ["learnt_nothing"]),
        (lines([0.63, 0.2, 0.2], losses=[5.0, 4.8, 2.165]), contrastive(), []),
        (lines([0.5, 0.7], losses=[3.0, 5.015]), contrastive(), ["learnt_nothing"]),
        (lines([0.5, 0.7], losses=[3.0, 0.971 * CHANCE]), contrastive(), ["learnt_nothing"]),
        (lines([0.5, 0.7], losses=[4.8, 0.969 * CHANCE]), contrastive(), []),
        # At a high temperature a pair that is more alike than the negatives by 1 gains 0.1.
        (lines([0.9], losses=[CHANCE - 0.005]), contrastive(temperature=10.0), ["learnt_nothing"]),
        (lines([0.9], losses=[CHANCE - 0.015]), contrastive(temperature=10.0), []),
        # A contrastive spread that dips on its way: DCL on the phantom, which then rises to 0.8.
        (lines([0.56, 0.447], losses=[4.028, 3.454]), contrastive(chance=math.log(62)), []),
        # A spread that is low and falls, or is at the bottom.
        (lines([0.97, 0.9, 0.45, 0.4, 0.35, 0.28]), NOT_CONTRASTIVE, ["collapsed"]),
        (lines([0.45, 0.28]), NOT_CONTRASTIVE, ["collapsed"]),
        (lines([0.9, 0.2, 0.1, 0.05, 0.05, 0.05]), NOT_CONTRASTIVE, ["collapsed"]),
        (lines([0.05, 0.06, 0.07]), NOT_CONTRASTIVE, ["collapsed"]),
        (lines([0.97, 0.65, 0.6, 0.55]), NOT_CONTRASTIVE, []),  # falling, but not low
        (lines([0.3, 0.2, 0.25, 0.3, 0.35, 0.4]), NOT_CONTRASTIVE, []),  # low, but rising
        (lines([0.76, 0.47, 0.35, 0.325, 0.32, 0.32]), NOT_CONTRASTIVE, []),  # low, and level by now
        (lines([0.4]), NOT_CONTRASTIVE, []),  # one epoch does not fall
        # VICReg on chest X-rays, whose embeddings share a large mean: falling, in many directions.
        (lines([0.76, 0.47, 0.35], [234.6, 232.4, 224.9]), NOT_CONTRASTIVE, []),
        # Few directions, whatever their spread: SimSiam without predictor, whose spread comes back a little.
        (lines([0.48, 0.35, 0.3, 0.44], [4.5, 2.4, 3.6, 2.4]), NOT_CONTRASTIVE, ["collapsed"]),
        (lines([0.48, 0.35, 0.3, 0.44], [4.5, 2.4, 3.6, 2.4]), contrastive(), ["collapsed"]),
        (lines([0.9, 0.9], [1.0, 1.0]), NOT_CONTRASTIVE, ["collapsed"]),
        (lines([0.9, 0.9], MIN_EFFECTIVE_RANK + 0.1), NOT_CONTRASTIVE, []),
        (lines([0.9] * 4, [2.0, 2.0, 20.0, 20.0]), NOT_CONTRASTIVE, []),  # it was, and is no longer
    ],
)
def test_marks_are_those_of_the_history(
    history: Sequence[dict[str, float]], record: RunRecord, wanted: list[str]
) -> None:
    assert [key for key, is_marked in judge_history(history, record).items() if is_marked] == wanted


def test_where_an_epoch_was_selected_that_one_tells(run: Run) -> None:
    run.write_history(lines([ABOVE, BELOW]))
    for epoch, collapsed in ((1, False), (2, True)):
        run.start(made_up_record())
        run.finish(replace(OUTCOME, selected_epoch=epoch))
        assert find_run_marks(run, run.read())["collapsed"] == collapsed


def test_neither_untrained_nor_supervised_encoders_are_marked(run: Run) -> None:
    assert not any(find_run_marks(run, made_up_record()).values())
    run.write_history(lines([BELOW]))
    run.classifier.write_bytes(b"weights")
    assert not any(find_run_marks(run, made_up_record()).values())


@pytest.mark.parametrize("text", ["", "epoch\n1\n", "epoch,embedding_std\n", "epoch,embedding_std\n1,nothing\n", "1\n"])
def test_damaged_history_is_not_taken_for_health(run: Run, text: str) -> None:
    (run.folder / "history.csv").write_text(text)
    with pytest.raises(CheckpointError, match=r"history\.csv: cannot be read .*; type its pretrain command again"):
        find_run_marks(run, made_up_record())


@pytest.mark.parametrize("change", ["gone", "another"])
def test_history_that_run_json_names_is_there_as_it_was_written(run: Run, change: str) -> None:
    run.start(made_up_record())
    run.write_history(lines([BELOW]))
    run.finish(OUTCOME)
    assert find_run_marks(run, run.read())["collapsed"]
    run.history.unlink()
    if change == "another":
        run.write_history(lines([ABOVE]))
    for read in (find_run_marks, Run.read_history):
        with pytest.raises(CheckpointError, match=r"history\.csv: .*; type its pretrain command again with force=true"):
            read(run, run.read())
    run.discard()
    assert not any(find_run_marks(run, run.read()).values())


def test_a_run_with_a_damaged_history_keeps_its_scores_and_a_note(tmp_path: Path) -> None:
    (made_up_run(tmp_path).parent / "history.csv").write_text("epoch\n")
    frame, problems = read_index(tmp_path)
    assert (len(frame), frame["collapsed"].tolist(), frame["learnt_nothing"].tolist()) == (1, [False], [False])
    (problem,) = problems
    assert problem.endswith("; until then nobody knows whether it learnt anything or collapsed")


def test_index_has_them_as_true_or_false_and_runs_shows_both_with_a_footnote_each(tmp_path: Path) -> None:
    assert all(read_index(tmp_path)[0][key].dtype == bool for key in RUN_MARKS)
    made_up_run(tmp_path, method="vicreg", embedding_std=FALLING_STD + 0.1)
    healthy, _ = read_index(tmp_path)
    assert not any(mark.word in format_run_table(healthy) for mark in RUN_MARKS.values())
    made_up_run(tmp_path, method="dcl", embedding_std=0.9, loss=4.8, chance_loss=math.log(126))
    made_up_run(tmp_path, method="simsiam", embedding_std=BELOW)
    frame, _ = read_index(tmp_path)
    for key, wanted in (("collapsed", "simsiam"), ("learnt_nothing", "dcl")):
        assert frame.loc[frame[key], "method"].tolist() == [wanted]
    said = format_run_table(frame).splitlines()
    assert ["finished, learnt nothing" in line for line in said[1:4]] == [True, False, False]
    assert ["finished, collapsing" in line for line in said[1:4]] == [False, True, False]
    assert said[-2:] == [f"{mark.word.capitalize()}: {mark.meaning}." for mark in RUN_MARKS.values()]
