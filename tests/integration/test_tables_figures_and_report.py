"""`lowres-ssl tables`, `figures` and `report` as they are typed: what is printed, written, told and still drawn."""

import csv
import html
import re
import shlex
import textwrap
from pathlib import Path

import pytest
from PIL import Image
from stored_runs import made_up_run
from typed import Command, take_first_job


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Runs of two of the four methods and of random initialisation."""
    for seed in (0, 1):
        for place, method in enumerate(("dcl", "vicreg", "random")):
            for probe in ("knn", "linear"):
                made_up_run(tmp_path / "outputs", method=method, seed=seed, probe=probe, accuracy=0.8 - 0.1 * place)
    return tmp_path / "outputs"


def test_tables_are_printed_and_written_in_three_formats(lowres_ssl: Command, outputs: Path) -> None:
    answer = lowres_ssl("tables", "table=[paper1,paper2,paper3,recipes]", "dataset=phantom")
    assert answer.code == 0, answer.err
    written = {path.name for path in (outputs / "tables").iterdir()}
    assert written == {
        f"{name}.{ending}" for name in ("paper1", "paper2", "paper3", "recipes") for ending in ("md", "csv", "tex")
    }
    assert (outputs / "tables" / "paper2.md").read_text() in answer.out
    records = list(csv.DictReader((outputs / "tables" / "paper2.csv").read_text().splitlines()))
    assert {record["dataset"] for record in records} == {"phantom"}
    assert r"\toprule" in (outputs / "tables" / "paper2.tex").read_text()


def test_new_table_is_one_yaml(lowres_ssl: Command, outputs: Path, tmp_path: Path) -> None:
    (tmp_path / "my_conf" / "table").mkdir(parents=True)
    (tmp_path / "my_conf" / "table" / "mine.yaml").write_text(
        textwrap.dedent("""\
            # @package table.mine
            title: My table
            kind: scores
            probe: [knn, linear]
            datasets: [phantom]
            metrics: [balanced_accuracy]
            batch_size: 64
            rows:
              dcl: {label: ours, entries: [dcl]}
              vicreg: {entries: [vicreg], paper: {phantom: {balanced_accuracy: 0.5}}}
            """)
    )
    answer = lowres_ssl("tables", "--config-dir", "my_conf", "table=mine", "strict=true")
    assert answer.code == 0, answer.err
    lines = [re.split(r" *\| *", line)[1:-1] for line in answer.out.splitlines() if line.startswith("| ")]
    assert lines[0] == ["", "batch size", "balanced accuracy", "95% interval", "paper", "difference"]
    assert lines[2][:3] == ["ours", "64", "**0.800 ± 0.000**"]
    assert lines[3][0] == "vicreg"
    assert lines[3][4:] == ["0.500", "+0.200"]
    assert (outputs / "tables" / "mine.md").exists()


def test_table_without_results_is_not_written_over_one_that_is_there(lowres_ssl: Command, tmp_path: Path) -> None:
    made_up_run(tmp_path / "outputs")
    assert lowres_ssl("tables", "table=[paper2]").code == 0
    there = (tmp_path / "outputs" / "tables" / "paper2.md").read_text()
    answer = lowres_ssl("tables", "table=[paper2]", "settings=k=77")
    assert answer.code == 0
    assert "settings=k=77: no stored result has it; there is 200" in answer.err
    assert "paper2: no result of ours, so outputs/tables/paper2.md is left as it is" in answer.err
    assert "Written" not in answer.out
    assert (tmp_path / "outputs" / "tables" / "paper2.md").read_text() == there


def test_strict_refuses_a_missing_cell_and_writes_nothing(lowres_ssl: Command, outputs: Path) -> None:
    answer = lowres_ssl("tables", "table=[paper2]", "dataset=phantom", "strict=true")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert (
        "no result for 3 cells, the first is paper2: simclr on phantom by knn; type lowres-ssl pretrain" in answer.err
    )
    assert not (outputs / "tables").exists()


def test_commands_below_a_table_can_be_typed(lowres_ssl: Command, outputs: Path) -> None:
    made_up_run(outputs, method="vicreg", recipe="released_code", split="official", settings={"k": 7})
    answer = lowres_ssl("tables", "table=[paper2,recipes]", "recipe=released_code")
    lines = [line for line in answer.out.splitlines() if line.startswith("lowres-ssl pretrain")]
    assert len(lines) > 3
    for line in set(lines):
        words = take_first_job(shlex.split(line)[1:])
        composed = lowres_ssl(*words, "--cfg", "job")
        assert composed.code == 0, f"{line}\n{composed.err}"
        for word in words[1:]:
            key, _, value = word.partition("=")
            if key in ("recipe", "split", "split_seed", "image_size", "epochs"):
                assert f"\n{key}: {value}\n" in composed.out


REPORT = Path("outputs", "report.html")


def test_report_of_a_run_tells_its_leakage_and_the_command_that_finds_it_finished(
    lowres_ssl: Command, trained: Path, cells: Path
) -> None:
    answer = lowres_ssl("report")
    assert answer.code == 0, answer.err
    assert answer.out.startswith(f"{REPORT} (")
    page = REPORT.read_text(encoding="utf-8")
    assert "patients are not known; 0 have an exact duplicate there" in page
    assert page.count("UklGR") >= 8, "a WebP for each test image"
    (typed,) = set(re.findall(r"<code>(lowres-ssl pretrain .*?)</code>", page))  # of the random encoders as well
    words = shlex.split(html.unescape(typed))
    answer = lowres_ssl(*words[1:])
    assert answer.code == 0, answer.err
    assert f"{trained.name}: finished already" in answer.err

    Path("answer.txt").write_text("Which <b>one</b>?\n\nNone & all.\n")
    assert lowres_ssl("report", "preface=answer.txt").code == 0
    page = REPORT.read_text(encoding="utf-8")
    assert "<h2>Which &lt;b&gt;one&lt;/b&gt;?</h2>" in page
    assert "<p>None &amp; all.</p>" in page
    answer = lowres_ssl("report", "preface=none.txt")
    assert answer.code == 3
    assert "preface=none.txt: cannot be read (No such file or directory); wanted a file of text" in answer.last_line

    cells.rename("elsewhere")
    assert lowres_ssl("report", "file=second.html").code == 0
    page = Path("second.html").read_text(encoding="utf-8")
    assert "not known here: the images are not where they were" in page
    assert page.count("UklGR") >= 8, "they are kept decoded"


def test_without_results_one_line_says_how_to_make_some(lowres_ssl: Command) -> None:
    answer = lowres_ssl("report", "dataset=breast", "recipe=paper")
    assert answer.code == 3
    assert answer.last_line == (
        "lowres-ssl: nothing to report: no finished results; make some: "
        "lowres-ssl pretrain method=simclr dataset=breast recipe=paper"
    )
    assert not REPORT.exists()


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
