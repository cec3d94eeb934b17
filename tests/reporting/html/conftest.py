"""The report of made-up runs, as the command makes it."""

from pathlib import Path

import pytest
from made_studies import Reported, type_report, without_tsne


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reported:
    """Type `lowres-ssl report` with these words in an empty folder; the page."""

    def type_it(*words: str) -> str:
        return type_report(tmp_path, monkeypatch, *words).read_text(encoding="utf-8")

    return type_it


@pytest.fixture
def quick_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    without_tsne(monkeypatch)
