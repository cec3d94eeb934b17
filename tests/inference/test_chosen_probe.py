"""Which stored result a probe's name means, and what is said where there is none."""

from pathlib import Path

import pytest
from stored_runs import made_up_run

from lowres_ssl.errors import ConfigError
from lowres_ssl.inference.load import choose_stored_result
from lowres_ssl.runs.run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """With a KNN and a logistic result at fp32."""
    for probe in ("knn", "logistic"):
        folder = made_up_run(tmp_path, method="supervised", probe=probe)
    return Run(folder.parent)


@pytest.mark.parametrize("by_folder", [False, True])
def test_a_result_is_named_by_its_probe_or_its_folder(run: Run, by_folder: bool) -> None:
    for folder, result in run.results():
        assert choose_stored_result(run, folder.name if by_folder else result.probe, "fp32")[0] == folder


@pytest.mark.parametrize(
    ("asked", "precision"), [("nonsense", "fp32"), ("linear", "fp32"), ("logistic", "bf16"), (None, "bf16")]
)
def test_error_lists_what_there_is_and_how_to_make_another(run: Run, asked: str | None, precision: str) -> None:
    knn, logistic = (folder.name for folder, _ in run.results())
    there = rf"there is {knn} \(precision=fp32\), {logistic} \(precision=fp32\); type one of these"
    make = rf"lowres-ssl evaluate run={run.name} precision={precision} probe=\[PROBE\]$"
    with pytest.raises(ConfigError, match=f"no stored result of {asked or 'any probe'} at .*{there}.* or {make}"):
        choose_stored_result(run, asked, precision)


def test_several_results_are_told_apart_by_their_settings(run: Run, tmp_path: Path) -> None:
    made_up_run(tmp_path, method="supervised", probe="knn", settings={"k": 7})
    with pytest.raises(ConfigError, match=r"probe=knn-\w+ \(k=\d+\) or knn-\w+ \(k=\d+\)$"):
        choose_stored_result(run, "knn", "fp32")
