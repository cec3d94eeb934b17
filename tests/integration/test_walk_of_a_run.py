"""Hold the number of files that a run crosses; `scripts/walk_of_a_run.py` says how it counts."""

import re
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "walk_of_a_run.py"


def test_pretrain_crosses_few_files() -> None:
    answer = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=True)
    counts = re.search(r"the walk: (\d+) files, (\d+) changes of file", answer.stdout)
    assert counts is not None
    assert int(counts[1]) <= 35
    assert int(counts[2]) <= 85  # wanted: 80
