"""Features that are written as they come take no memory: what `docs/export.md` says of it."""

import subprocess
import sys
from pathlib import Path

import pytest
from made_runs import Made
from peak_memory import STATUS

FEW, MANY = 200, 2000
MOST_MORE = 80  # MB


@pytest.mark.slow
@pytest.mark.skipif(not STATUS.exists(), reason="Linux says what the most was")
def test_memory_does_not_grow_with_the_number_of_images_whose_features_are_written(made: Made, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    picture = next(made.images.rglob("*.png")).read_bytes()
    for number in range(MANY):
        for count in {FEW, MANY} if number < FEW else {MANY}:
            (tmp_path / str(count)).mkdir(exist_ok=True)
            (tmp_path / str(count) / f"{number}.png").write_bytes(picture)

    def peak(images: int, *folder: str) -> int:
        program = str(Path(__file__).with_name("peak_memory.py"))
        command = [sys.executable, program, str(made.run), str(tmp_path / str(images)), *folder]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    few = peak(FEW, str(tmp_path / "few"))
    assert peak(MANY, str(tmp_path / "many")) - few < MOST_MORE
    assert (tmp_path / "many" / "features.parquet").exists()
    assert peak(MANY) - peak(FEW) > MOST_MORE  # returned, they are seen
