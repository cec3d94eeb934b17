"""The page as a file: nothing from elsewhere, text stays text, images as asked for, not too large."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from in_process import type_command
from made_studies import HOSTILE, complete, made_up_study, type_report
from matplotlib.figure import Figure
from matplotlib.text import Text
from stored_runs import made_up_run, made_up_tuned

from lowres_ssl.evaluate.tuned_settings import summarise_seeds, write_tuned_settings

SMALL: dict[str, Any] = {"methods": ("simclr", "random"), "probes": ("knn",), "seeds": 1}
HOSTILE_IDS = [f"{HOSTILE[number % 2]}/{number} & \"'.png" for number in range(60)]
MEGABYTE = 2**20


def report(outputs: Path, *words: str) -> str:
    """The page that the command writes."""
    return type_report(outputs, *words).read_text(encoding="utf-8")


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


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of runs whose classes, title and files have names that would do harm as markup."""
    folder = tmp_path_factory.mktemp("study")
    made_up_study(folder, **SMALL, classes=HOSTILE, title=HOSTILE[1], ids=HOSTILE_IDS)
    return report(folder)


def test_nothing_is_fetched_from_elsewhere(hostile: str) -> None:
    page = Page(hostile)
    fetching = {"src", "srcset", "poster", "action", "formaction", "background", "ping", "cite", "data"}
    named = [pair for _, each in page.elements for pair in each.items()]
    linked = [value for key, value in named if key in fetching | {"href", "xlink:href"}]
    assert linked
    assert not [value for value in linked if value and not value.startswith(("#", "data:"))]
    style = "".join(re.findall(r"<style>(.*?)</style>", hostile, re.DOTALL))
    assert "--paper" in style
    assert "@import" not in style
    assert not re.findall(r"url\((?!#)", style)


def test_policy_forbids_connections_and_other_scripts(hostile: str) -> None:
    page = Page(hostile)
    (policy,) = [each["content"] for _, each in page.elements if each.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))
    assert {rules["default-src"], rules["connect-src"], rules["form-action"], rules["base-uri"]} == {"'none'"}
    assert rules["img-src"] == "data:"
    run = [f"'sha256-{base64.b64encode(hashlib.sha256(each.encode()).digest()).decode()}'" for each in page.scripts[1:]]
    assert len(run) == 2
    assert rules["script-src"].split() == run


def test_text_from_names_stays_text(hostile: str) -> None:
    page = Page(hostile)
    assert len(page.scripts) == 3, "the data, Plotly, ours"
    assert not [each for tag, each in page.elements if tag == "img"]
    assert not [key for _, each in page.elements for key in each if key.startswith("on")]
    assert HOSTILE[0] in page.text, "a class in a confusion matrix"
    assert page.data["chapters"][0]["classes"] == list(HOSTILE)
    assert page.data["chapters"][0]["names"] == HOSTILE_IDS
    for name in HOSTILE:
        assert name not in hostile


def test_thousand_test_images_take_less_than_15_megabytes(tmp_path: Path) -> None:
    small = SMALL | {"methods": ("simclr",)}
    made_up_study(tmp_path, **small, images=1000, store_size=96, predictions=[0] * 1000)
    text = report(tmp_path, "gallery=1000")
    pictures = Page(text).data["pictures"]
    assert len(pictures) == 1000, "each once, though many are a dot and in a gallery"
    assert len(text.encode()) < 15 * MEGABYTE
    assert sum(map(len, pictures)) > 2 * MEGABYTE, "images as hard to compress as real ones"


def test_thumbnails_false_embeds_no_image_and_tells_no_name(tmp_path: Path) -> None:
    ids = [f"secret{number}.png" for number in range(60)]
    made_up_study(tmp_path, **SMALL, ids=ids, groups=[f"patient-{number}" for number in range(20)])
    with_images = Page(report(tmp_path)).data
    assert with_images["pictures"][0].startswith("UklGR"), "a WebP in base64"
    assert with_images["chapters"][0]["names"] == ids

    text = report(tmp_path, "thumbnails=false")
    data = Page(text).data
    assert data["pictures"] == []
    assert set(data["chapters"][0]["thumbnails"]) == {-1}
    assert "UklGR" not in text
    assert "secret" not in text
    assert "patient-1" not in text
    assert "test image 1" in data["chapters"][0]["names"]
    assert "secret1.png" in report(tmp_path, "thumbnails=false", "file_names=true")


def test_where_no_images_are_decoded_a_note_has_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made_up_study(tmp_path, **SMALL, store_size=None)
    assert set(Page(report(tmp_path)).data["chapters"][0]["thumbnails"]) == {-1}
    wanted = f"lowres-ssl data dataset=phantom image_size=64 prepare=true output_dir={tmp_path}"
    assert wanted in capsys.readouterr().err


def test_paper_stands_beside_and_what_disagrees_leaves_the_others_alone(tmp_path: Path) -> None:
    made_up_run(tmp_path, dataset="breast", title="Breast")
    for recipe in ("paper", "tuned"):
        made_up_run(tmp_path, recipe=recipe)
    page = Page(report(tmp_path))
    assert "0.837" in page.text, "DCL on Breast, by the paper"
    assert "SimCLR" in page.text, "which the paper has a number of, and we have no result"
    assert "type recipe=paper or recipe=tuned" in page.text
    assert [each["probes"][0]["label"] for each in page.data["chapters"]] == ["KNN (k=200)"]
    own = Page(report(tmp_path, "dataset=phantom", "recipe=paper"))
    assert "The paper's split" not in own.text
    assert "type recipe=" not in own.text
    assert "SimCLR" not in own.text


TABLES = sorted(path.stem for path in (Path(__file__).resolve().parents[3] / "conf" / "table").glob("*.yaml"))
METHOD, ENCODER, PROBE = "newmethod", "pretrained newencoder", "newprobe"
NAMES = [f"test{number:04}.png" for number in range(60)]


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of SimCLR and of the new names: all labels and a part, two batch sizes, a tuned choice."""
    monkeypatch.setitem(made_up_run.__globals__["SETTINGS"], PROBE, {})
    monkeypatch.setitem(made_up_run.__globals__["LABELS"], PROBE, "the new probe")
    made_up_study(tmp_path, methods=("simclr", "random"), probes=("knn", "linear", "logistic", PROBE), seeds=1)

    def add(method: str, probes: Sequence[str], **about: Any) -> Path:
        for probe in probes:
            result = made_up_run(tmp_path, method=method, probe=probe, images=60, accuracy=0.9, **about)
            complete(result, NAMES, method)
        return result

    every = ("knn", "linear", "logistic", PROBE)
    add("pretrained", every, entry=ENCODER, backbone="newencoder")
    add(METHOD, ["knn"], batch_size=16)
    add(METHOD, ["linear"], label_fraction=0.1)
    run = add(METHOD, every).parent.name
    chosen = summarise_seeds(16, 0.1, 100, [(0.9, 0.5)])
    write_tuned_settings(tmp_path, made_up_tuned(run=run, chosen=chosen, seeds=1))
    return tmp_path


def test_new_names_are_in_every_table(outputs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(TABLES) == 5
    for name in TABLES:
        capsys.readouterr()
        assert type_command("tables", f"output_dir={outputs}", f"table=[{name}]", "dataset=phantom") == 0
        printed = capsys.readouterr().out
        assert f"\n| {METHOD} " in printed, name
        if name in ("paper2", "paper3", "other_probes"):
            assert f"\n| {ENCODER} " in printed, name
        assert ("the new probe" in printed) == (name == "other_probes")


def test_new_method_is_in_every_figure_and_all_new_names_in_the_report(
    outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *_, **__: drawn.append(" ".join(each.get_text() for each in self.findobj(Text)))
    )
    for name in ("batch_size", "tsne", "labels"):
        drawn.clear()
        assert type_command("figures", f"output_dir={outputs}", f"figure=[{name}]") == 0
        assert drawn, name
        assert all(METHOD in text for text in drawn), name
    monkeypatch.undo()
    page = report(outputs)
    for name in (METHOD, ENCODER, "the new probe"):
        assert name in page
    assert page.count(METHOD) > 10
