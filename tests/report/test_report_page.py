"""The page as a file: nothing from elsewhere, text stays text, images as asked for, not too large."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from studies import HOSTILE, Reported, made_up_study

pytestmark = pytest.mark.usefixtures("quick_maps")
OUTPUTS = Path("outputs")
MEGABYTE = 2**20


class Page(HTMLParser):
    """The elements of a page with their attributes, its text, and each script."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.inside != "style":
            self.text += data

    @property
    def data(self) -> dict[str, Any]:
        """What the script reads."""
        return dict(json.loads(self.scripts[0]))


def test_nothing_is_fetched_from_elsewhere(report: Reported, tmp_path: Path) -> None:
    made_up_study(tmp_path / OUTPUTS)
    text = report()
    page = Page(text)
    fetching = {"src", "srcset", "poster", "action", "formaction", "background", "ping", "cite", "data"}
    linked = [
        value for _, each in page.elements for key, value in each.items() if key in fetching | {"href", "xlink:href"}
    ]
    assert linked
    assert not [value for value in linked if value and not value.startswith(("#", "data:"))]
    style = "".join(re.findall(r"<style>(.*?)</style>", text, re.DOTALL))
    assert "@import" not in style
    assert not re.findall(r"url\((?!#)", style)


def test_policy_forbids_connections_and_other_scripts(report: Reported, tmp_path: Path) -> None:
    made_up_study(tmp_path / OUTPUTS)
    page = Page(report())
    metas = [
        each for tag, each in page.elements if tag == "meta" and each.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.strip().split(" ", 1) for rule in str(metas[0]["content"]).split(";"))
    assert {rules["default-src"], rules["connect-src"], rules["form-action"], rules["base-uri"]} == {"'none'"}
    assert rules["img-src"] == "data:"
    run = [f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in page.scripts[1:]]
    assert len(run) == 2
    assert rules["script-src"].split() == run


def test_text_from_names_stays_text(report: Reported, tmp_path: Path) -> None:
    ids = [f"{HOSTILE[number % 2]}/{number} & \"'.png" for number in range(60)]
    made_up_study(tmp_path / OUTPUTS, classes=HOSTILE, title=HOSTILE[1], ids=ids)
    text = report()
    page = Page(text)
    assert len(page.scripts) == 3, "the data, Plotly, ours"
    assert not [each for tag, each in page.elements if tag == "img"]
    assert not [key for _, each in page.elements for key in each if key.startswith("on")]
    assert HOSTILE[0] in page.text, "a class in a confusion matrix"
    assert page.data["chapters"][0]["classes"] == list(HOSTILE)
    assert page.data["chapters"][0]["names"] == ids
    for hostile in HOSTILE:
        assert hostile not in text


def test_thousand_test_images_take_less_than_15_megabytes(report: Reported, tmp_path: Path) -> None:
    made_up_study(
        tmp_path / OUTPUTS,
        methods=("simclr",),
        probes=("knn",),
        seeds=1,
        images=1000,
        store_size=96,
        predictions=[0] * 1000,
    )
    text = report("gallery=1000")
    pictures = Page(text).data["pictures"]
    assert len(pictures) == 1000, "each once, though many are a dot and in a gallery"
    assert len(text.encode()) < 15 * MEGABYTE
    assert sum(map(len, pictures)) > 2 * MEGABYTE, "images as hard to compress as real ones"


def test_thumbnails_false_embeds_no_image_and_tells_no_name(report: Reported, tmp_path: Path) -> None:
    ids = [f"secret{number}.png" for number in range(60)]
    made_up_study(tmp_path / OUTPUTS, ids=ids, groups=[f"patient-{number}" for number in range(20)])
    with_images = Page(report()).data
    assert with_images["pictures"][0].startswith("UklGR"), "a WebP in base64"
    assert with_images["chapters"][0]["names"] == ids

    text = report("thumbnails=false")
    data = Page(text).data
    assert data["pictures"] == []
    assert set(data["chapters"][0]["thumbnails"]) == {-1}
    assert "UklGR" not in text
    assert "secret" not in text
    assert "patient-1" not in text
    assert "test image 1" in data["chapters"][0]["names"]
    assert "secret1.png" in report("thumbnails=false", "file_names=true")


def test_same_results_give_the_same_bytes(report: Reported, tmp_path: Path) -> None:
    made_up_study(tmp_path / OUTPUTS, methods=("simclr",), probes=("knn",))
    assert report() == report()


def test_decoded_images_that_are_gone_are_told(
    report: Reported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made_up_study(tmp_path / OUTPUTS, store_size=None)
    text = report()
    wanted = "type lowres-ssl data dataset=phantom image_size=64 prepare=true"
    assert wanted in capsys.readouterr().err
    assert wanted in Page(text).text
