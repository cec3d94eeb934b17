"""What comes from elsewhere never ends in anything but an error that a user is told, nor in a write elsewhere.

LOWRES_SSL_FUZZ_SECONDS says how long each target is fuzzed where it is for long.
"""

import os
from pathlib import Path

import forged_targets
import given_targets
import own_targets
import pytest
import stored_targets
import typed_targets
from summaries import told

SECONDS = float(os.environ.get("LOWRES_SSL_FUZZ_SECONDS", "30"))
TARGETS = (
    stored_targets.TARGETS
    | forged_targets.TARGETS
    | typed_targets.TARGETS
    | given_targets.TARGETS
    | own_targets.TARGETS
)


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_is_read_or_refused(name: str, tmp_path: Path) -> None:
    TARGETS[name].few(tmp_path)


@pytest.mark.torture
@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_is_read_or_refused_for_long(name: str, tmp_path: Path) -> None:
    examples = 0
    with told(f"fuzz-{name}", f"fuzzed: {name}") as more:
        try:
            for number in TARGETS[name].many(tmp_path, SECONDS):
                examples += number
        finally:
            more.append(f"{examples} examples without a find")
    assert examples
