"""A method, an encoder and a probe that no table and no figure names are in every one of them, and in the report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from made_studies import complete, made_up_study, type_in, type_report, without_tsne
from matplotlib.figure import Figure
from matplotlib.text import Text
from stored_runs import made_up_run, made_up_tuned

from lowres_ssl.evaluate.tuned_settings import summarise_seeds, write_tuned_settings

TABLES = sorted(path.stem for path in (Path(__file__).resolve().parents[3] / "conf" / "table").glob("*.yaml"))
METHOD, ENCODER, PROBE = "newmethod", "pretrained newencoder", "newprobe"
NAMES = [f"test{number:04}.png" for number in range(60)]


@pytest.fixture
def outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Results of SimCLR and of the new names: all labels and a part, two batch sizes, a tuned choice."""
    without_tsne(monkeypatch)
    monkeypatch.setitem(made_up_run.__globals__["SETTINGS"], PROBE, {})
    monkeypatch.setitem(made_up_run.__globals__["LABELS"], PROBE, "the new probe")
    folder = tmp_path / "outputs"
    made_up_study(folder, methods=("simclr", "random"), probes=("knn", "linear", "logistic", PROBE), seeds=1)

    def add(method: str, probes: Sequence[str], **about: Any) -> Path:
        for probe in probes:
            result = made_up_run(folder, method=method, probe=probe, images=60, accuracy=0.9, **about)
            complete(result, NAMES, method)
        return result

    every = ("knn", "linear", "logistic", PROBE)
    add("pretrained", every, entry=ENCODER, backbone="newencoder")
    add(METHOD, ["knn"], batch_size=16)
    add(METHOD, ["linear"], label_fraction=0.1)
    run = add(METHOD, every).parent.name
    chosen = summarise_seeds(16, 0.1, 100, [(0.9, 0.5)])
    write_tuned_settings(folder, made_up_tuned(run=run, chosen=chosen, seeds=1))
    return folder


def test_new_names_are_in_every_table(
    tmp_path: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(TABLES) == 5
    for name in TABLES:
        capsys.readouterr()
        type_in(tmp_path, monkeypatch, "tables", f"table=[{name}]", "dataset=phantom")
        printed = capsys.readouterr().out
        assert f"\n| {METHOD} " in printed, name
        if name in ("paper2", "paper3", "other_probes"):
            assert f"\n| {ENCODER} " in printed, name
        assert ("the new probe" in printed) == (name == "other_probes")


def test_new_method_is_in_every_figure_and_all_new_names_in_the_report(
    tmp_path: Path, outputs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *_, **__: drawn.append(" ".join(each.get_text() for each in self.findobj(Text)))
    )
    for name in ("batch_size", "tsne", "labels"):
        drawn.clear()
        type_in(tmp_path, monkeypatch, "figures", f"figure=[{name}]")
        assert drawn, name
        assert all(METHOD in text for text in drawn), name
    monkeypatch.undo()
    without_tsne(monkeypatch)
    page = type_report(tmp_path, monkeypatch).read_text(encoding="utf-8")
    for name in (METHOD, ENCODER, "the new probe"):
        assert name in page
    assert page.count(METHOD) > 10
