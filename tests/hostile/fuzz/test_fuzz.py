"""Files from elsewhere end in a result or in a `UserError`, never in a write outside their folder.

LOWRES_SSL_FUZZ_SECONDS sets how long each target is fuzzed in `make torture`.
"""

import os
import time
from pathlib import Path

import archives_and_images
import pytest
import tables_and_dicom
import weights_and_names
from summaries import told
from watching import fuzz

SECONDS = float(os.environ.get("LOWRES_SSL_FUZZ_SECONDS", "30"))
ROUND = 50  # examples between two looks at the clock
TARGETS = archives_and_images.TARGETS | tables_and_dicom.TARGETS | weights_and_names.TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_is_read_or_refused(name: str, tmp_path: Path) -> None:
    fuzz(TARGETS[name], tmp_path, TARGETS[name].enough, derandomize=True)


@pytest.mark.torture
@pytest.mark.parametrize("name", TARGETS)
def test_whatever_comes_is_read_or_refused_for_long(name: str, tmp_path: Path) -> None:
    examples, start = 0, time.monotonic()
    with told(f"fuzz-{name}", f"fuzzed: {name}") as more:
        try:
            while time.monotonic() - start < SECONDS:
                examples += fuzz(TARGETS[name], tmp_path, ROUND, derandomize=False)
        finally:
            more.append(f"{examples} examples without a find")
    assert examples
