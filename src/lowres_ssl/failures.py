"""What went wrong, in one line: our own errors, Hydra's, the operating system's.

Hydra ends every failure with exit code 1 and several lines; here each gets its exit code and the next thing to type.
"""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.resources import files

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf.errors import OmegaConfBaseException

from lowres_ssl.errors import UserError

CRASH, USAGE, DATA = 1, 2, 3
REPORTED = "lowres-ssl has said so where it happened"


@contextmanager
def report_and_reraise() -> Iterator[None]:
    """Say at once what failed in a job of a sweep: Hydra's sweeper goes on, and shows the first failure only.

    In a single run the dispatcher reports, so nothing is said here and the error leaves as a `SystemExit`, since
    Hydra would print a traceback header for any `Exception`.
    """
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    try:
        yield
    except Exception as error:
        message, code = describe(error, HydraConfig.get().job.config_name or "")
        if message is None:
            raise
        print(f"lowres-ssl: {message}", file=sys.stderr, flush=True)
        if HydraConfig.get().mode is RunMode.MULTIRUN:
            error.add_note(REPORTED)
            raise
        raise SystemExit(code) from error


def describe(error: BaseException, command: str) -> tuple[str | None, int]:
    """The line to show and the exit code; no line for a defect of ours, which shows its traceback."""
    if isinstance(error, UserError):
        return str(error), error.exit_code
    if isinstance(error, MissingConfigException):
        return missing_choice(str(error), command), USAGE
    if isinstance(error, ConfigCompositionException | HydraException | OmegaConfBaseException):
        return composition(error, command), USAGE
    if isinstance(error, PermissionError | FileExistsError | NotADirectoryError | IsADirectoryError):
        return (
            f"cannot write or read {error.filename}: {error.strerror}; choose another place with output_dir=FOLDER",
            DATA,
        )
    if isinstance(error, OSError) and error.strerror and error.errno in (28, 30, 122):  # full, read-only, over quota
        where = f" {error.filename}" if error.filename else ""
        return f"cannot write{where}: {error.strerror}; choose another place with output_dir=FOLDER", DATA
    return None, CRASH


def missing_choice(text: str, command: str) -> str:
    r"""From "Could not find 'method/x'\n\nAvailable options in 'method':\n\ta\n\tb" to one line."""
    found = re.search(r"'([\w@./-]+)/([^/']*)'", text)
    available = re.findall(r"^\t(\S+)$", text, re.MULTILINE)
    if found is None:
        return " ".join(text.split())
    group, choice = found.groups()
    if not available:  # Hydra lists them for a single choice only
        choices = files("lowres_ssl.conf").joinpath(group).iterdir()
        available = sorted(choice.name.removesuffix(".yaml") for choice in choices)
    close = get_close_matches(choice, available, n=1)
    hint = f"; did you mean {group}={close[0]}?" if close else ""
    return f"{group}={choice}: there is no such choice; wanted one of {', '.join(available)}{hint}"


def composition(error: BaseException, command: str) -> str:
    """The first sentence of the chain of causes that says something, and where to read on."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = error.__cause__
    reason = [line.strip() for line in str(cause).splitlines() if line.strip()] if cause else []
    first = lines[0] if lines else type(error).__name__
    if unknown := re.match(r"Could not override '([^']*)'", first):
        return f"unknown key {unknown[1]!r}: `lowres-ssl {command} --help` lists the keys"
    if several := re.match(r"Ambiguous value for argument '(([^=]*)=(.*))'", first):
        typed, key, values = several.groups()
        return f"{typed}: got several values; type -m before it for a sweep, or {key}=[{values}] for a list"
    if wrong := re.match(r"Error merging override (.*)", first):
        why = reason[0] if reason else "it has the wrong type"
        return f"{wrong[1]}: {why}"
    said = "; ".join(dict.fromkeys([first, *reason[:1]]))
    return f"{said}; `lowres-ssl {command} --help` lists the keys"
