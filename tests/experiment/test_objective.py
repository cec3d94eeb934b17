"""What a search is given of a run's results."""

from dataclasses import replace
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from stored_runs import made_up_result

from lowres_ssl.experiment.scores import compute_objective
from lowres_ssl.runs.records import ResultRecord
from lowres_ssl.sweeps.jobs import print_found


def result(probe: str, validation: float | None, test: float = 1.0) -> ResultRecord:
    made = made_up_result(probe=probe)
    scores = None if validation is None else replace(made.test, accuracy=validation)
    return replace(made, validation=scores, test=replace(made.test, accuracy=test))


def test_the_objective_is_the_validation_accuracy_of_knn_whatever_the_test_scores() -> None:
    for test in (0.0, 1.0):
        assert compute_objective([result("knn", 0.75, test), result("linear", 0.9, test)]) == 0.75


def test_of_several_draws_of_the_labels_it_is_the_mean() -> None:
    assert compute_objective([result("knn", 0.5), result("knn", 0.75)]) == pytest.approx(0.625)


@pytest.mark.parametrize(
    "results", [[], [result("linear", 0.9)], [result("knn", None)], [result("knn", 0.5), result("knn", None)]]
)
def test_there_is_none_without_knn_or_without_validation_images(results: list[ResultRecord]) -> None:
    assert compute_objective(results) is None


@pytest.mark.parametrize(
    ("fractions", "labels"), [([1.0], ""), ([0.1, 1.0], ""), ([0.1, 0.5], " with 50% of the labels")]
)
def test_what_was_found_is_a_result_also_where_it_is_to_be_quiet(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fractions: list[float],
    labels: str,
) -> None:
    monkeypatch.setenv("LOWRES_SSL_QUIET", "1")
    found = {"name": "optuna", "best_params": {"learning_rate": 0.01}, "best_value": 0.75}
    OmegaConf.save(OmegaConf.create(found), tmp_path / "optimization_results.yaml")
    task = ["dataset=breast", "learning_rate=tag(log,interval(0.001,0.1))"]
    hydra = {"sweep": {"dir": str(tmp_path)}, "job": {"config_name": "pretrain"}, "overrides": {"task": task}}
    print_found(OmegaConf.create({"hydra": hydra, "label_fraction": fractions}))
    said = (
        f"best validation accuracy of KNN{labels}: 0.7500, by\nlowres-ssl pretrain dataset=breast learning_rate=0.01\n"
    )
    assert capsys.readouterr().out == said
