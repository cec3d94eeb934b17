"""What reads a stored file never ends in anything but an error that a user is told, whatever the file holds."""

import os
from pathlib import Path

import pytest
from stored_targets import TARGETS

SECONDS = float(os.environ.get("LOWRES_SSL_FUZZ_SECONDS", "600"))


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_refused_or_read(name: str, tmp_path: Path) -> None:
    TARGETS[name].few(tmp_path)


@pytest.mark.torture
@pytest.mark.parametrize("name", TARGETS)
def test_damaged_files_are_refused_or_read_for_long(name: str, tmp_path: Path) -> None:
    assert TARGETS[name].many(tmp_path, SECONDS)
