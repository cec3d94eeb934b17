"""Colour where it is seen, silence where it is asked for, bars only where they can be written over."""

import io
from contextlib import redirect_stderr

import pytest

from lowres_ssl import console


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


def test_warnings_are_yellow_and_failures_red_on_a_terminal_only() -> None:
    with redirect_stderr(Terminal()) as shown:
        console.log_warning("few images")
        console.log_error("no images")
    assert shown.getvalue() == "\x1b[33mnote:\x1b[0m few images\n\x1b[31mlowres-ssl:\x1b[0m no images\n"
    with redirect_stderr(io.StringIO()) as plain:
        console.log_warning("few images")
        console.log_error("no images")
    assert plain.getvalue() == "note: few images\nlowres-ssl: no images\n"


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
