"""Scores with fewer labels never stand where the score with all of them belongs, whichever reader shows it."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from omegaconf import OmegaConf
from stored_runs import made_up_run

from lowres_ssl.benchmark.decision import Decision, decide, read_results
from lowres_ssl.config.command_schemas import TableConfig
from lowres_ssl.inference.load import choose_stored_result
from lowres_ssl.inference.model_card import read_stored_scores
from lowres_ssl.reporting.comparison import format_findings
from lowres_ssl.reporting.figures.batch_size import BatchSizeFigure
from lowres_ssl.reporting.html.sections import build_sections
from lowres_ssl.reporting.stored import Stored
from lowres_ssl.reporting.tables.formats import Table, format_csv, format_markdown
from lowres_ssl.reporting.tables.score_table import build_scores_table
from lowres_ssl.runs.filters import ResultFilters
from lowres_ssl.runs.index import format_run_table, read_index
from lowres_ssl.runs.pairwise import ComparisonFindings, compare_methods
from lowres_ssl.runs.query import ResultColumn, select_columns
from lowres_ssl.runs.run import Run, find_runs

PAPER_2 = Path(__file__).resolve().parents[2] / "conf" / "table" / "paper2.yaml"
ENTRIES = {"dcl": 0.9, "simclr": 0.8, "random": 0.7}
SEEDS = (0, 1)
SETTINGS = {"k": 5}  # a result's folder is named by a hash of them; these sort that of all labels between the others
NOTE = "\nNot shown: "


def with_all_labels(folder: Path, entries: Sequence[str] = tuple(ENTRIES)) -> None:
    for entry in entries:
        for seed in SEEDS:
            made_up_run(folder, method=entry, seed=seed, accuracy=ENTRIES[entry], settings=SETTINGS)


def with_fewer_labels(folder: Path, entries: Sequence[str] = tuple(ENTRIES)) -> None:
    """Write several draws of two fractions, with settings that sort the results with all labels between them."""
    for entry in entries:
        for seed in SEEDS:
            for fraction in (0.1, 0.5):
                for number in range(4):
                    part: dict[str, Any] = {"label_fraction": fraction, "label_draw": number, "settings": SETTINGS}
                    made_up_run(folder, method=entry, seed=seed, accuracy=0.2 + number / 50, **part)


def compared(folder: Path) -> ComparisonFindings:
    (column,) = select_columns(read_index(folder)[0], filters := ResultFilters())
    return compare_methods(
        column, "accuracy", "best", imagenet="imagenet", draws=200, reference=["bar"], filters=filters
    )


def runs(folder: Path) -> str:
    return format_run_table(read_index(folder)[0]).split(NOTE)[0]


def table_2(folder: Path) -> Table:
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TableConfig), OmegaConf.load(PAPER_2)))
    stored = Stored(read_index(folder)[0], ResultFilters(dataset="phantom"), folder, folder / "stores")
    return build_scores_table("paper2", cast(TableConfig, config), stored)


def tables(folder: Path) -> list[str]:
    return [format_markdown(table_2(folder)), format_csv(table_2(folder))]


def comparison(folder: Path) -> str:
    return format_findings(compared(folder))


def benchmark(folder: Path) -> Decision | None:
    return decide(ResultColumn("phantom", "knn", 0, read_results(folder)), ["dcl", "simclr"], finalist=None)


def report(folder: Path) -> list[Any]:
    chapters, problems = build_sections(read_index(folder)[0], ResultFilters())
    assert problems == []
    return [
        (chapter.title, probed.label, each.entry, each.seeds, each.rows["accuracy"].tolist())
        for chapter in chapters
        for probed in chapter.probes
        for each in probed.cells
    ]


def figure(folder: Path) -> list[Any]:
    lines: dict[str, list[str]] = {"dcl": [], "simclr": []}
    picture = BatchSizeFigure(probe="knn", metric="accuracy", lines=lines, baselines=["random"], batch_sizes=[64])
    drawn = picture.draw(Stored(read_index(folder)[0], ResultFilters(), folder, folder / "stores"))["batch_size"]
    return [(line.get_label(), list(line.get_ydata())) for axes in drawn.axes for line in axes.get_lines()]  # type: ignore[arg-type]


def run_of(folder: Path, method: str) -> Run:
    (run,) = (run for run in find_runs(folder) if f"-{method}-" in run.name and "-s0-" in run.name)
    return run


def model_card(folder: Path) -> list[Any]:
    scores = read_stored_scores(run_of(folder, "dcl"), "encoder.safetensors")
    return [(score.result.label, score.intervals, score.starts["random"]) for score in scores]


def predict(folder: Path) -> Any:
    return choose_stored_result(run_of(folder, "dcl"), "knn", "fp32")[1].test


READERS: list[Callable[[Path], Any]] = [
    *(runs, tables, comparison, benchmark, report, figure, model_card, predict),
]


@pytest.mark.parametrize("reader", READERS)
def test_scores_with_fewer_labels_change_nothing_that_is_shown(reader: Callable[[Path], Any], tmp_path: Path) -> None:
    with_all_labels(tmp_path)
    before = reader(tmp_path)
    assert before, "there is something to show"
    with_fewer_labels(tmp_path)
    places = [result.labels.is_full for _, result in run_of(tmp_path, "dcl").results()]
    assert 0 < places.index(True) < len(places) - 1, "neither the first nor the last result is that of all labels"
    assert reader(tmp_path) == before


def test_runs_notes_which_fractions_it_leaves_out(tmp_path: Path) -> None:
    with_all_labels(tmp_path)
    assert NOTE not in format_run_table(read_index(tmp_path)[0])
    with_fewer_labels(tmp_path)
    note = format_run_table(read_index(tmp_path)[0]).split(NOTE)[1]
    assert note.startswith("scores with 10%, 50% of the labels. Each draw: format=csv.")


def test_run_that_has_scores_with_fewer_labels_only_is_listed_as_such(tmp_path: Path) -> None:
    with_all_labels(tmp_path, ["random"])
    made_up_run(tmp_path, method="supervised", accuracy=0.123, label_fraction=0.1)
    lines = format_run_table(read_index(tmp_path)[0]).splitlines()
    (line,) = (line for line in lines if "supervised" in line)
    assert "finished, scored with 10% of the labels only" in line
    assert line.endswith(" -")
    assert not any("0.1" in line.split()[-1] for line in lines if "random" in line)


def test_results_of_two_precisions_are_both_shown(tmp_path: Path) -> None:
    """They share a column: neither may hide the other."""
    one, other = (made_up_run(tmp_path, precision=precision) for precision in ("fp32", "bf16"))
    target = one.parent / other.name
    other.rename(target)
    line = next(line for line in format_run_table(read_index(tmp_path)[0]).splitlines() if one.parent.name in line)
    assert "(fp32)" in line
    assert "(bf16)" in line


def test_run_scored_with_fewer_labels_only_lacks_its_score_in_a_table(tmp_path: Path) -> None:
    """It is to be scored, not trained again."""
    with_all_labels(tmp_path, ["random", "simclr"])
    with_fewer_labels(tmp_path, ["dcl"])
    lines = table_2(tmp_path).commands
    runs = [run.name for run in find_runs(tmp_path) if "-dcl-" in run.name]
    assert [line.split()[2] for line in lines if line.startswith("lowres-ssl evaluate")] == [
        f"run={run}" for run in runs
    ]


def test_random_initialisation_in_a_model_card_was_scored_at_the_same_precision(tmp_path: Path) -> None:
    made_up_run(tmp_path, method="dcl")
    start = made_up_run(tmp_path, method="random", accuracy=0.7)
    other = made_up_run(tmp_path, method="random", accuracy=0.2, precision="bf16")
    for name in (f"knn-{'f' * 8}", f"knn-{'0' * 8}"):
        shutil.copytree(other, start.parent / name)
    (score,) = read_stored_scores(run_of(tmp_path, "dcl"), "encoder.safetensors")
    assert score.starts["random"]["accuracy"].value == pytest.approx(0.7)


@pytest.mark.parametrize("size", [128, 360])
def test_random_initialisation_in_a_model_card_saw_images_stored_as_large(tmp_path: Path, size: int) -> None:
    made_up_run(tmp_path, method="dcl", storage_size=size)
    for other in (128, 360):
        made_up_run(tmp_path, method="random", accuracy=other / 1000, storage_size=other)
    (score,) = read_stored_scores(run_of(tmp_path, "dcl"), "encoder.safetensors")
    assert score.starts["random"]["accuracy"].value == pytest.approx(size / 1000, abs=0.01)
