"""Figures inside the page: letters are text, ids are their own, and nothing of them reaches the rest of the page."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from stored_runs import made_up_run
from studies import HOSTILE, complete

from lowres_ssl.reporting.figures import Stored, build_picture
from lowres_ssl.reporting.html.build import build_drawings, convert_to_svg
from lowres_ssl.reporting.html.sections import build_sections
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.query import ResultFilters

BATCH_SIZE = {
    "probe": "knn",
    "metric": "accuracy",
    "lines": {"dcl": []},
    "baselines": ["random"],
    "batch_sizes": [16, 64],
}


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def drawn(prefix: str = "one") -> str:
    figure = Figure()
    axes = figure.add_subplot()
    axes.plot([1, 2], [3, 4], marker="o", label="line")
    axes.set_title(" ".join(HOSTILE))
    axes.legend()
    return convert_to_svg(figure, prefix)


def test_letters_are_text_and_names_are_no_markup() -> None:
    tags = Tags(drawn())
    assert "text" in tags.names
    assert not {"img", "script", "style", "metadata", "image"} & tags.names
    assert " ".join(HOSTILE) in tags.text


def test_ids_and_what_refers_to_them_are_of_this_figure() -> None:
    one, other = drawn("one"), drawn("two")
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (one, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    referred = set(re.findall(r'(?:url\(#|href="#)([^")]+)', one))
    assert referred
    assert referred <= ids[0]


@pytest.fixture
def drawings(tmp_path: Path) -> Callable[[], dict[str, str | None]]:
    """The batch-size figure of the one chapter there is."""

    def make() -> dict[str, str | None]:
        results, _ = read_index(tmp_path)
        (chapter,), _ = build_sections(results, ResultFilters())
        stored = Stored(results, ResultFilters(), tmp_path, tmp_path / "stores")
        found, problems = build_drawings(chapter, stored, {"batch_size": build_picture("batch_size", BATCH_SIZE)})
        assert problems == []
        return found

    return make


def test_batch_sizes_are_drawn_where_there_are_several(
    tmp_path: Path, drawings: Callable[[], dict[str, str | None]]
) -> None:
    names = [f"test{number:04}.png" for number in range(120)]
    complete(made_up_run(tmp_path, batch_size=16), names, "dcl")
    assert drawings() == {"batch_size": None}
    complete(made_up_run(tmp_path, batch_size=64), names, "dcl")
    svg = drawings()["batch_size"]
    assert svg is not None
    assert "batch size of pre-training" in Tags(svg).text
