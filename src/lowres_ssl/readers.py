"""Work goes on when whoever reads its words has stopped: `lowres-ssl pretrain ... | head`."""

import os
import sys
from collections.abc import Callable
from typing import Any, TextIO, TypeVar, cast

Result = TypeVar("Result")


class Unread:
    """A text stream whose words go nowhere once nobody reads them. Else as the stream that it is made of."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        return self.even_so(lambda: self.stream.write(text), len(text))

    def flush(self) -> None:
        self.even_so(self.stream.flush, None)

    def even_so(self, act: Callable[[], Result], otherwise: Result) -> Result:
        try:
            return act()
        except BrokenPipeError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.stream.fileno())  # takes what waits in the stream as well
            os.close(nowhere)
            return otherwise


def outlive_readers() -> None:
    """Have it so in this process, for standard output and standard error. Once or often, it is the same."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, Unread):
            setattr(sys, name, cast(TextIO, Unread(stream)))
