"""Colour where it is seen, silence where it is asked for, and no end of the work where nobody reads any more."""

import io
import os
import sys
from contextlib import redirect_stderr

import pytest
from test_progress import Terminal

from lowres_ssl import console
from lowres_ssl.console import PipeSafeStream


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
    with redirect_stderr(stream):
        console.log_warning("few images")
        console.log_error("no images")
    coloured = "\x1b[33mnote:\x1b[0m few images\n\x1b[31mlowres-ssl:\x1b[0m no images\n"
    assert stream.getvalue() == (coloured if wanted else "note: few images\nlowres-ssl: no images\n")


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


def test_what_nobody_reads_any_more_goes_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as unread:
        with pytest.raises(BrokenPipeError):
            os.write(writing, b"so it is without")
        monkeypatch.setattr(sys, "stdout", unread)
        monkeypatch.setattr(sys, "stderr", unread)
        for _ in range(2):  # wrapped once
            console.ignore_broken_pipe()
            assert isinstance(sys.stdout, PipeSafeStream)
            assert sys.stdout.stream is unread
        for _ in range(3):
            assert sys.stdout.write("a" * 100_000) == 100_000
            print("and on", flush=True)
        assert sys.stdout.encoding == unread.encoding
        assert not sys.stdout.isatty()
