"""`lowres-ssl figures` as it is typed: what is written where, what is told, what else is still drawn."""

from pathlib import Path

import pytest
from PIL import Image
from stored_runs import made_up_run
from typed import Command

FIGURES = Path("outputs", "figures")
LABELS = [str(FIGURES / f"labels.{suffix}") for suffix in ("png", "pdf")]


@pytest.fixture
def partly_labelled(tmp_path: Path) -> list[Path]:
    """Two runs that disagree, each with results from a tenth and from all of the labels."""
    runs = []
    for image_size in (32, 64):
        for fraction in (0.1, 1.0):
            result = made_up_run(tmp_path / "outputs", probe="linear", image_size=image_size, label_fraction=fraction)
        runs.append(result.parent)
    return runs


def test_pictures_of_a_run_are_written_as_png_and_pdf(lowres_ssl: Command, trained: Path, cells: Path) -> None:
    answer = lowres_ssl("figures", "figure=[samples,batch_size,tsne]")
    assert answer.code == 0, answer.err
    names = ["samples-folder", "batch_size", "tsne"]
    paths = [FIGURES / f"{name}.{suffix}" for name in names for suffix in ("png", "pdf")]
    assert answer.out.splitlines() == [str(path) for path in paths]
    assert sorted(path.name for path in FIGURES.iterdir()) == sorted(path.name for path in paths)
    for path in paths[::2]:
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert image.width <= 1400, "7 inches: the width of a page"
        assert path.with_suffix(".pdf").read_bytes().startswith(b"%PDF")

    cells.rename("elsewhere")
    answer = lowres_ssl("figures", "figure=[samples]")
    assert answer.code == 3
    assert answer.last_line.endswith("if they have moved, type figure.samples.root=FOLDER")
    assert lowres_ssl("figures", "figure=[samples]", "figure.samples.root=elsewhere").code == 0


@pytest.mark.usefixtures("partly_labelled")
def test_figure_without_runs_is_told_and_the_others_are_drawn(lowres_ssl: Command) -> None:
    answer = lowres_ssl("figures", "figure=[batch_size,labels]", "image_size=64")
    assert answer.code == 3
    assert answer.last_line.startswith("lowres-ssl: figure=batch_size: no stored knn results of simclr, dcl")
    assert answer.last_line.endswith("recipe=paper backbone=resnet18 split=stratified image_size=64")
    assert answer.out.splitlines() == LABELS


def test_run_that_was_named_is_the_one_drawn(lowres_ssl: Command, partly_labelled: list[Path]) -> None:
    answer = lowres_ssl("figures", "figure=[labels]")
    assert answer.code == 2
    assert answer.last_line.endswith("type image_size=32 or image_size=64")
    for named in (partly_labelled[0], partly_labelled[0].name):
        assert lowres_ssl("figures", "figure=[labels]", f"run={named}").out.splitlines() == LABELS
    answer = lowres_ssl("figures", "figure=[labels]", "run=nothing")
    assert answer.code == 3
    assert answer.last_line == "lowres-ssl: run=nothing: no such run below outputs; see them with lowres-ssl runs"


def test_what_several_figures_leave_out_is_said_once_and_what_they_stumble_over_as_well(
    lowres_ssl: Command, tmp_path: Path
) -> None:
    made_up_run(tmp_path / "outputs", settings={"k": 3})
    for method in ("dcl", "vicreg"):
        made_up_run(tmp_path / "outputs", method=method)
    answer = lowres_ssl("figures", "figure=[batch_size]")
    assert answer.code == 0, answer.err
    assert answer.err.count("to choose such type settings=k=3") == 1
    made_up_run(tmp_path / "outputs", recipe="tuned")
    answer = lowres_ssl("figures", "figure=[batch_size,tsne]")
    assert answer.code == 2
    assert answer.err.count("type recipe=paper or recipe=tuned") == 1
