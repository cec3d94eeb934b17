"""A filter that nothing can have is refused; one that a file could still make is not."""

from pathlib import Path

import pytest
from stored_runs import made_up_run

from lowres_ssl.errors import ConfigError
from lowres_ssl.runs.filters import ResultFilters, explain_unknown_names, parse_settings
from lowres_ssl.runs.index import read_index

pytestmark = pytest.mark.usefixtures("composing")


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (ResultFilters(dataset="phantm"), r"dataset=phantm: no stored result .* did you mean dataset=phantom\?$"),
        (ResultFilters(recipe="papr"), r"did you mean recipe=paper\?$"),
        (ResultFilters(probe="kn"), r"did you mean probe=knn\?$"),
        (ResultFilters(split="xyz"), "see what there is with lowres-ssl runs$"),
        (ResultFilters(entry="dlc"), r"did you mean entry=dcl\?$"),
        (ResultFilters(settings="settings_from=papr"), r"there is paper; did you mean settings=settings_from=paper\?$"),
        (
            ResultFilters(settings="settings_from=own"),
            r"settings_from=own: no stored result has it; there is paper; see what there is with lowres-ssl runs$",
        ),
        (
            ResultFilters(settings="kk=5"),
            r"settings=kk=\.\.\.: no stored result has such a setting; there is batch_size",
        ),
    ],
)
def test_what_nothing_has_is_refused_with_the_nearest(tmp_path: Path, filters: ResultFilters, said: str) -> None:
    made_up_run(tmp_path, method="dcl")
    made_up_run(tmp_path, method="dcl", probe="linear", settings={"settings_from": "paper"})
    frame, _ = read_index(tmp_path)
    with pytest.raises(ConfigError, match=said):
        explain_unknown_names(filters, frame)


def test_what_is_there_or_could_be_made_is_not_refused(tmp_path: Path) -> None:
    for entry in ("dcl", "pretrained vit"):
        made_up_run(tmp_path, method=entry.split()[0], entry=entry)
    frame, _ = read_index(tmp_path)
    known = ResultFilters(dataset="phantom", recipe="paper", image_size=3, entry="pretrained *")
    assert explain_unknown_names(known, frame) == []
    assert explain_unknown_names(ResultFilters(dataset="breast", split="official", entry=["dlc", "d*"]), frame) == [
        "entry=dlc: no stored result has it; there is dcl, pretrained vit",
        "dataset=breast: no stored result has it; there is phantom",
        "split=official: no stored result has it; there is stratified",
    ]


@pytest.mark.parametrize(
    ("key", "value"), [("entry", 5), ("entry", ["dcl", 5]), ("seed", "x"), ("seed", []), ("untrained_seed", [0, 1.5])]
)
def test_filter_of_another_type_is_refused(key: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"^{key}="):
        ResultFilters(**{key: value})


def test_without_results_a_name_that_a_run_may_get_is_not_refused(tmp_path: Path) -> None:
    empty, _ = read_index(tmp_path)
    asked = ResultFilters(dataset="cells_of_mine", entry="dcl from vit", backbone="vit_tiny")
    assert explain_unknown_names(asked, empty) == [
        "entry=dcl from vit: no stored result has it; there is none at all",
        "dataset=cells_of_mine: no stored result has it; there is none at all",
        "backbone=vit_tiny: no stored result has it; there is none at all",
    ]


@pytest.mark.parametrize(
    ("filters", "said"),
    [
        (ResultFilters(dataset="phantm"), r"there is none at all; did you mean dataset=phantom\?$"),
        (ResultFilters(split="xyz"), r"there is none at all; wanted one of .*patient"),
        (ResultFilters(recipe="papr"), r"did you mean recipe=paper\?$"),
    ],
)
def test_without_results_a_name_that_no_run_can_get_is_refused(
    tmp_path: Path, filters: ResultFilters, said: str
) -> None:
    empty, _ = read_index(tmp_path)
    with pytest.raises(ConfigError, match=said):
        explain_unknown_names(filters, empty)


def test_setting_that_no_result_has_yet_is_told(tmp_path: Path) -> None:
    made_up_run(tmp_path, probe="linear", settings={"settings_from": "paper", "epochs": 100})
    frame, _ = read_index(tmp_path)
    assert explain_unknown_names(ResultFilters(settings="settings_from=tuned, epochs=100"), frame) == [
        "settings=settings_from=tuned: no stored result has it; there is paper"
    ]


def test_settings_are_read_with_their_lists() -> None:
    assert parse_settings("k=5, strengths=[1, 2], vote=uniform") == {"k": "5", "strengths": "[1, 2]", "vote": "uniform"}
    assert parse_settings("") == {}
