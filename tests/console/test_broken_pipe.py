"""Who reads may stop: the work goes on, and its words go nowhere."""

import os
import sys
from collections.abc import Iterator
from typing import TextIO

import pytest

from lowres_ssl.console import PipeSafeStream, ignore_broken_pipe


@pytest.fixture
def unread() -> Iterator[TextIO]:
    """A stream into a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        yield stream


def test_words_that_nobody_reads_go_nowhere(unread: TextIO) -> None:
    with pytest.raises(BrokenPipeError):
        os.write(unread.fileno(), b"so it is without")
    stream = PipeSafeStream(unread)
    for _ in range(3):
        assert stream.write("a" * 100_000) == 100_000
        print("and on", file=stream, flush=True)  # type: ignore[call-overload]
    assert stream.encoding == unread.encoding
    assert not stream.isatty()


def test_streams_are_wrapped_once(monkeypatch: pytest.MonkeyPatch, unread: TextIO) -> None:
    monkeypatch.setattr(sys, "stdout", unread)
    monkeypatch.setattr(sys, "stderr", unread)
    for _ in range(2):
        ignore_broken_pipe()
        assert isinstance(sys.stdout, PipeSafeStream)
        assert sys.stdout.stream is unread
    print("and on", flush=True)
