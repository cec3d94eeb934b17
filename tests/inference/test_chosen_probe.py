"""Which stored result a probe's name means, and what is said where there is none."""

from pathlib import Path

import pytest
from stored_runs import made_up_run

from lowres_ssl.errors import ConfigError
from lowres_ssl.inference.predict import choose_stored_result
from lowres_ssl.runs.run import Run

EVALUATE = "; type lowres-ssl evaluate run={} precision={}"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """With a KNN and a logistic result at fp32, and a classifier of its own without a result."""
    for probe in ("knn", "logistic"):
        folder = made_up_run(tmp_path, method="supervised", probe=probe)
    run = Run(folder.parent)
    run.classifier.touch()
    return run


@pytest.mark.parametrize("by_folder", [False, True])
def test_a_result_is_named_by_its_probe_or_its_folder(run: Run, by_folder: bool) -> None:
    for folder, result in run.results():
        assert choose_stored_result(run, folder.name if by_folder else result.probe, "fp32")[0] == folder


@pytest.mark.parametrize(
    ("asked", "precision", "end"),
    [
        ("nonsense", "fp32", "; type probe=knn-{knn} or logistic-{logistic}"),
        ("linear", "fp32", f"{EVALUATE} probe=[linear]"),
        ("logistic", "bf16", "; type precision=fp32"),
        (None, "bf16", "; type precision=fp32"),
        ("nonsense", "bf16", f"{EVALUATE} probe=[logistic]"),
        ("classifier", "fp32", EVALUATE),  # which any evaluation of a supervised run makes
    ],
)
def test_what_to_type_instead(run: Run, asked: str | None, precision: str, end: str) -> None:
    with pytest.raises(ConfigError) as refused:
        choose_stored_result(run, asked, precision)
    numbers = dict(folder.name.split("-") for folder, _ in run.results())
    assert str(refused.value).endswith(end.format(run.name, precision, **numbers))


def test_a_folder_at_another_precision_is_found_at_its_own(run: Run) -> None:
    (folder, result), *_ = run.results()
    with pytest.raises(ConfigError, match=r"; type precision=fp32$"):
        choose_stored_result(run, folder.name, "bf16")
    assert result.precision == "fp32"
