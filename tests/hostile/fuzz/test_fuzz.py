"""Files from elsewhere end in a result or in a `UserError`, never in a write outside their folder.

LOWRES_SSL_FUZZ_SECONDS sets how long each target is fuzzed in `make torture`.
"""

import os
from pathlib import Path

import archives_and_images
import pytest
import tables_and_dicom
import weights_and_names
from summaries import told

SECONDS = float(os.environ.get("LOWRES_SSL_FUZZ_SECONDS", "30"))
TARGETS = archives_and_images.TARGETS | tables_and_dicom.TARGETS | weights_and_names.TARGETS


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
