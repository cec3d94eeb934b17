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
from typed import Command, refused, take_first_job

OUTPUTS = Path("outputs")
TABLES, FIGURES, REPORT = OUTPUTS / "tables", OUTPUTS / "figures", OUTPUTS / "report.html"
LABELS = [str(FIGURES / f"labels.{suffix}") for suffix in ("png", "pdf")]


@pytest.fixture
def stored(tmp_path: Path) -> None:
    """Runs of two of the four methods and of random initialisation."""
    for seed in (0, 1):
        for place, method in enumerate(("dcl", "vicreg", "random")):
            for probe in ("knn", "linear"):
                made_up_run(tmp_path / "outputs", method=method, seed=seed, probe=probe, accuracy=0.8 - 0.1 * place)


@pytest.mark.usefixtures("stored")
def test_tables_are_printed_and_written_in_three_formats(lowres_ssl: Command) -> None:
    names = ("paper1", "paper2", "paper3", "recipes")
    answer = lowres_ssl("tables", f"table=[{','.join(names)}]", "dataset=phantom")
    written = {path.name for path in TABLES.iterdir()}
    assert written == {f"{name}.{ending}" for name in names for ending in ("md", "csv", "tex")}
    assert (TABLES / "paper2.md").read_text() in answer.out
    records = list(csv.DictReader((TABLES / "paper2.csv").read_text().splitlines()))
    assert {record["dataset"] for record in records} == {"phantom"}
    assert r"\toprule" in (TABLES / "paper2.tex").read_text()


@pytest.mark.usefixtures("stored")
def test_new_table_is_one_yaml(lowres_ssl: Command) -> None:
    Path("my_conf/table").mkdir(parents=True)
    Path("my_conf/table/mine.yaml").write_text(
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
    lines = [re.split(r" *\| *", line)[1:-1] for line in answer.out.splitlines() if line.startswith("| ")]
    assert lines[0] == ["", "batch size", "balanced accuracy", "95% interval", "paper", "difference"]
    assert lines[2][:3] == ["ours", "64", "**0.800 ± 0.000**"]
    assert lines[3][0] == "vicreg"
    assert lines[3][4:] == ["0.500", "+0.200"]
    assert (TABLES / "mine.md").exists()


def test_table_without_results_is_not_written_over_one_that_is_there(lowres_ssl: Command) -> None:
    made_up_run(OUTPUTS)
    lowres_ssl("tables", "table=[paper2]")
    there = (TABLES / "paper2.md").read_text()
    answer = lowres_ssl("tables", "table=[paper2]", "settings=k=77")
    assert "settings=k=77: no stored result has it; there is 200" in answer.err
    assert "paper2: no result of ours, so outputs/tables/paper2.md is left as it is" in answer.err
    assert "Written" not in answer.out
    assert (TABLES / "paper2.md").read_text() == there


@pytest.mark.usefixtures("stored")
def test_strict_refuses_a_missing_cell_and_writes_nothing(lowres_ssl: Command) -> None:
    answer = lowres_ssl("tables", "table=[paper2]", "dataset=phantom", "strict=true", code=2)
    refused(answer, "no result for 3 cells, the first is paper2: simclr on phantom by knn; type lowres-ssl pretrain")
    assert answer.err.count("\n") == 1
    assert not TABLES.exists()


@pytest.mark.usefixtures("stored")
def test_commands_below_a_table_can_be_typed(lowres_ssl: Command) -> None:
    made_up_run(OUTPUTS, method="vicreg", recipe="released_code", split="official", settings={"k": 7})
    answer = lowres_ssl("tables", "table=[paper2,recipes]", "recipe=released_code")
    lines = {line for line in answer.out.splitlines() if line.startswith("lowres-ssl pretrain")}
    assert len(lines) == 3
    for line in lines:
        words = take_first_job(shlex.split(line)[1:])
        composed = lowres_ssl(*words, "--cfg", "job")
        for word in words[1:]:
            key, _, value = word.partition("=")
            if key in ("recipe", "split", "split_seed", "image_size", "epochs"):
                assert f"\n{key}: {value}\n" in composed.out


def test_report_of_a_run_tells_its_leakage_and_the_command_that_finds_it_finished(
    lowres_ssl: Command, trained: Path, cells: Path
) -> None:
    answer = lowres_ssl("report")
    assert answer.out.startswith(f"{REPORT} (")
    page = REPORT.read_text(encoding="utf-8")
    assert "patients are not known; 0 have an exact duplicate there" in page
    assert page.count("UklGR") >= 8, "a WebP for each test image"
    (typed,) = set(re.findall(r"<code>(lowres-ssl pretrain .*?)</code>", page))  # of the random encoders as well
    assert f"{trained.name}: finished already" in lowres_ssl(*shlex.split(html.unescape(typed))[1:]).err

    Path("answer.txt").write_text("Which <b>one</b>?\n\nNone & all.\n")
    lowres_ssl("report", "preface=answer.txt")
    page = REPORT.read_text(encoding="utf-8")
    assert "<h2>Which &lt;b&gt;one&lt;/b&gt;?</h2>" in page
    assert "<p>None &amp; all.</p>" in page

    cells.rename("elsewhere")
    lowres_ssl("report", "file=second.html")
    page = Path("second.html").read_text(encoding="utf-8")
    assert "not known here: the images are not where they were" in page
    assert page.count("UklGR") >= 8, "they are kept decoded"


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
    answer = lowres_ssl("figures", "figure=[samples]", code=3)
    assert answer.last_line.endswith("if they have moved, type figure.samples.root=FOLDER")
    lowres_ssl("figures", "figure=[samples]", "figure.samples.root=elsewhere")


@pytest.mark.usefixtures("partly_labelled")
def test_figure_without_runs_is_told_and_the_others_are_drawn(lowres_ssl: Command) -> None:
    answer = lowres_ssl("figures", "figure=[batch_size,labels]", "image_size=64", code=3)
    assert answer.last_line.startswith("lowres-ssl: figure=batch_size: no stored knn results of simclr, dcl")
    assert answer.last_line.endswith("recipe=paper backbone=resnet18 split=stratified image_size=64")
    assert answer.out.splitlines() == LABELS


def test_run_that_was_named_is_the_one_drawn(lowres_ssl: Command, partly_labelled: list[Path]) -> None:
    answer = lowres_ssl("figures", "figure=[labels]", code=2)
    assert answer.last_line.endswith("type image_size=32 or image_size=64")
    assert lowres_ssl("figures", "figure=[labels]", f"run={partly_labelled[0]}").out.splitlines() == LABELS
    answer = lowres_ssl("figures", "figure=[labels]", "run=nothing", code=3)
    assert answer.last_line == "lowres-ssl: run=nothing: no such run below outputs; see them with lowres-ssl runs"


def test_what_several_figures_leave_out_is_said_once_and_what_they_stumble_over_as_well(
    lowres_ssl: Command,
) -> None:
    made_up_run(OUTPUTS, settings={"k": 3})
    for method in ("dcl", "vicreg"):
        made_up_run(OUTPUTS, method=method)
    answer = lowres_ssl("figures", "figure=[batch_size]")
    assert answer.err.count("to choose such type settings=k=3") == 1
    made_up_run(OUTPUTS, recipe="tuned")
    answer = lowres_ssl("figures", "figure=[batch_size,tsne]", code=2)
    assert answer.err.count("type recipe=paper or recipe=tuned") == 1
