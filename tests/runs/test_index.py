"""Every stored run and result in one table: what is damaged is named, and costs nothing but itself."""

from pathlib import Path

import pytest
from stored_runs import made_up_run

from lowres_ssl.runs.index import read_index


@pytest.mark.parametrize(
    ("name", "said"), [("result.json", "cannot be read"), ("predictions.npz", "not what its result was made from")]
)
def test_damaged_result_costs_no_other_of_its_run(tmp_path: Path, name: str, said: str) -> None:
    whole, damaged = made_up_run(tmp_path), made_up_run(tmp_path, probe="logistic")
    (damaged / name).write_text("{")
    frame, problems = read_index(tmp_path)
    assert list(frame["result"]) == [str(whole)]
    (problem,) = problems
    assert problem.startswith(f"{damaged / name}: {said}")


def test_run_whose_only_result_is_damaged_is_still_there(tmp_path: Path) -> None:
    damaged = made_up_run(tmp_path)
    (damaged / "result.json").write_text("{")
    frame, problems = read_index(tmp_path)
    assert list(frame["run"]) == [damaged.parent.name]
    assert frame["result"].isna().all()
    assert len(problems) == 1
