"""What can go from `outputs/`: decoded images that neither a run nor a benchmark's run needs."""

import os
from pathlib import Path

import pytest
from stored_runs import made_up_record

from lowres_ssl.io.atomic import write_json
from lowres_ssl.runs.cleanup import find_leftovers
from lowres_ssl.runs.run import Run


@pytest.mark.parametrize("place", ["pretrain/a", "evaluate/a", "benchmark/cells-1a2b3c4d/pretrain/a"])
def test_decoded_images_of_a_run_stay_wherever_it_is(tmp_path: Path, place: str) -> None:
    for name in ("needed", "stale"):
        store = tmp_path / "stores" / name / "store.json"
        write_json(store, {})
        os.utime(store, (0, 0))
    Run(tmp_path / place).start(made_up_record(store="needed"))
    assert [each.path.name for each in find_leftovers(tmp_path, tmp_path / "stores")] == ["stale"]
