"""Colour where it is seen, silence where it is asked for, bars only where they can be written over."""

import io
from contextlib import redirect_stderr

import pytest

from lowres_ssl import console
from lowres_ssl.experiment.summary import format_score_table


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "CI", "LOWRES_SSL_QUIET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.mark.parametrize(
    ("stream", "variables", "wanted"),
    [
        (Terminal(), {}, True),
        (io.StringIO(), {}, False),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),  # as no-color.org has it: set, and not empty
        (Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (io.StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    ],
)
def test_colour_is_for_terminals_unless_variables_say_otherwise(
    stream: io.StringIO, variables: dict[str, str], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert console.supports_colour(stream) is wanted
    assert ("\x1b[" in console.apply_style("x", "best", stream)) is wanted


@pytest.mark.parametrize(
    ("variables", "wanted"), [({}, True), ({"CI": "true"}, False), ({"CI": "false"}, True), ({"TERM": "dumb"}, False)]
)
def test_log_of_a_build_is_no_terminal_to_write_over(
    variables: dict[str, str], wanted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert console.is_terminal(Terminal()) is wanted


def test_warnings_are_yellow_and_failures_red_on_a_terminal_only() -> None:
    with redirect_stderr(Terminal()) as shown:
        console.log_warning("few images")
        console.log_error("no images")
    assert shown.getvalue() == "\x1b[33mnote:\x1b[0m few images\n\x1b[31mlowres-ssl:\x1b[0m no images\n"
    with redirect_stderr(io.StringIO()) as plain:
        console.log_warning("few images")
        console.log_error("no images")
    assert plain.getvalue() == "note: few images\nlowres-ssl: no images\n"


def test_text_cannot_bring_colours_of_its_own() -> None:
    with redirect_stderr(Terminal()) as shown:
        console.log_info("a\x1b[31mb")
    assert "\x1b" not in shown.getvalue()


@pytest.mark.parametrize(("value", "quiet"), [("1", True), ("true", True), ("0", False), ("", False)])
def test_quiet_keeps_errors_only(value: str, quiet: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOWRES_SSL_QUIET", value)
    with redirect_stderr(io.StringIO()) as shown:
        console.log_info("working")
        console.log_warning("few images")
        console.log_error("no images")
    assert shown.getvalue().splitlines() == (
        ["lowres-ssl: no images"] if quiet else ["working", "note: few images", "lowres-ssl: no images"]
    )


def results(accuracy: float) -> list[dict[str, object]]:
    return [
        {
            "label": "KNN (k=5)",
            "test": {"accuracy": accuracy, "weighted_f1": 0.5, "confusion_matrix": [[6, 0], [2, 2]]},
            "images": {"train": 3, "validation": 1, "test": 10},
            "split": {"kind": "random", "seed": 0},
        }
    ]


def test_best_number_of_a_column_is_bold_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("dcl", results(0.9)), ("random", results(0.7))]
    plain = format_score_table(rows, "Cells")
    assert "\x1b" not in plain
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = format_score_table(rows, "Cells")
    marked = [part.partition("\x1b[0m")[0].strip() for part in coloured.split("\x1b[1m")[1:]]
    assert marked == ["0.900", "0.500", "0.500"]  # the best accuracy; of equal F1 all
    assert coloured.replace("\x1b[1m", "").replace("\x1b[0m", "") == plain
