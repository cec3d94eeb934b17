"""A command as it is typed, in this process: importing PyTorch for each would take longer than the tests."""

import signal
import sys

import pytest
from hydra.core.global_hydra import GlobalHydra

from lowres_ssl.cli import main

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGPIPE)  # whose handlers a command changes


def type_command(*arguments: str) -> int:
    """Run `lowres-ssl ARGUMENTS`, and put the handlers of signals back; its exit code."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    code: object = 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lowres-ssl", *map(str, arguments)])
        try:
            main.main()
        except SystemExit as stopped:
            code = stopped.code or 0
        finally:
            GlobalHydra.instance().clear()
            for number, handler in handlers.items():
                signal.signal(number, handler)
    return code if isinstance(code, int) else 1
