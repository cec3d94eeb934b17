"""`lowres-ssl report` as it is typed: of real runs, and what it says where it cannot."""

import html
import re
import shlex
from pathlib import Path

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
