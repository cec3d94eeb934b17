"""`lowres-ssl report` as it is typed: of real runs, and what it says where it cannot."""

import html
import re
import shlex
import sys
from pathlib import Path

import pytest
from stored_runs import made_up_run
from typed import Command

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
    (typed,) = [line for line in re.findall(r"<code>(.*?)</code>", page) if "method=simclr" in line]
    words = shlex.split(html.unescape(typed))
    assert words[:2] == ["lowres-ssl", "pretrain"]
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


def test_results_that_all_disagree_are_refused_with_what_to_type(lowres_ssl: Command, tmp_path: Path) -> None:
    for recipe in ("paper", "tuned"):
        made_up_run(tmp_path / "outputs", recipe=recipe)
    answer = lowres_ssl("report")
    assert answer.code == 3
    assert answer.last_line.startswith(
        "lowres-ssl: nothing to report: phantom, KNN (k=200), split_seed 0: recipe differs"
    )
    assert answer.last_line.endswith("type recipe=paper or recipe=tuned")


@pytest.mark.parametrize(
    ("typed", "code", "said"),
    [
        ("thumbnail_size=8", 2, "thumbnail_size=8: wanted from 16 to 512 pixels"),
        ("gallery=0", 2, "gallery=0: wanted at least 1 image"),
        ("thumbnail=false", 2, "thumbnail"),
        ("file=", 2, "a file, got nothing"),
        (
            "file=/proc/none/report.html",
            3,
            "cannot be written (No such file or directory); name another with file=FILE",
        ),
    ],
)
def test_typing_errors_are_one_line(lowres_ssl: Command, tmp_path: Path, typed: str, code: int, said: str) -> None:
    made_up_run(tmp_path / "outputs")
    answer = lowres_ssl("report", typed)
    assert answer.code == code
    assert said in answer.last_line


def test_missing_library_is_told_with_what_to_type(lowres_ssl: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    answer = lowres_ssl("report")
    assert answer.code == 2
    assert answer.last_line == "lowres-ssl: report: needs plotly; type pip install 'lowres-ssl[report]'"
