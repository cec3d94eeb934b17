"""A filter that nothing can have is refused; one that a file could still make is not."""

from pathlib import Path

import pytest
from stored_runs import made_up_run

from lowres_ssl.command_line.mistyped import heard_of
from lowres_ssl.errors import ConfigError
from lowres_ssl.results.ledger import ledger
from lowres_ssl.results.selection import Filters


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (Filters(dataset="phantm"), r"dataset=phantm: no stored result .* did you mean dataset=phantom\?$"),
        (Filters(recipe="papr"), r"did you mean recipe=paper\?$"),
        (Filters(probe="kn"), r"did you mean probe=knn\?$"),
        (Filters(split="xyz"), "see what there is with lowres-ssl runs$"),
        (Filters(entry="dlc"), r"did you mean entry=dcl\?$"),
        (Filters(settings="settings_from=papr"), r"there is paper; did you mean settings=settings_from=paper\?$"),
        (
            Filters(settings="settings_from=own"),
            r"settings_from=own: no stored result has it; there is paper; see what there is with lowres-ssl runs$",
        ),
    ],
)
def test_what_nothing_has_is_refused_with_the_nearest(tmp_path: Path, filters: Filters, said: str) -> None:
    made_up_run(tmp_path, method="dcl")
    made_up_run(tmp_path, method="dcl", probe="linear", settings={"settings_from": "paper"})
    frame, _ = ledger(tmp_path)
    with pytest.raises(ConfigError, match=said):
        heard_of(filters, frame)


def test_what_is_there_or_could_be_made_is_not_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOWRES_SSL_CONF", str(tmp_path / "conf"))
    (tmp_path / "conf" / "dataset").mkdir(parents=True)
    (tmp_path / "conf" / "dataset" / "my_cells.yaml").touch()
    for entry in ("dcl", "pretrained vit"):
        made_up_run(tmp_path / "outputs", method=entry.split()[0], entry=entry)
    frame, _ = ledger(tmp_path / "outputs")
    assert heard_of(Filters(dataset="phantom", recipe="paper", image_size=3, entry="pretrained *"), frame) == []
    for dataset in ("breast", "my_cells"):
        notes = heard_of(Filters(dataset=dataset, split="official", entry=["dlc", "d*"]), frame)
        assert notes == [
            "entry=dlc: no stored result has it; there is dcl, pretrained vit",
            f"dataset={dataset}: no stored result has it; there is phantom",
            "split=official: no stored result has it; there is stratified",
        ]


def test_without_results_nothing_is_refused(tmp_path: Path) -> None:
    empty, _ = ledger(tmp_path)
    assert heard_of(Filters(dataset="phantm"), empty) == [
        "dataset=phantm: no stored result has it; there is none at all"
    ]


def test_setting_that_no_result_has_yet_is_told(tmp_path: Path) -> None:
    made_up_run(tmp_path, probe="linear", settings={"settings_from": "paper", "epochs": 100})
    frame, _ = ledger(tmp_path)
    assert heard_of(Filters(settings="settings_from=tuned, epochs=100, vote=softmax"), frame) == [
        "settings=settings_from=tuned: no stored result has it; there is paper"
    ]
