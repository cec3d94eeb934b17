"""What a search is given of a run's results."""

from typing import Any

import pytest

from lowres_ssl.objective import objective


def result(probe: str, validation: float | None, test: float = 1.0) -> dict[str, Any]:
    scores = None if validation is None else {"accuracy": validation}
    return {"probe": probe, "validation": scores, "test": {"accuracy": test}}


def test_the_objective_is_the_validation_accuracy_of_knn_whatever_the_test_scores() -> None:
    for test in (0.0, 1.0):
        assert objective([result("knn", 0.75, test), result("linear", 0.9, test)]) == 0.75


def test_of_several_draws_of_the_labels_it_is_the_mean() -> None:
    assert objective([result("knn", 0.5), result("knn", 0.75)]) == pytest.approx(0.625)


@pytest.mark.parametrize(
    "results", [[], [result("linear", 0.9)], [result("knn", None)], [result("knn", 0.5), result("knn", None)]]
)
def test_there_is_none_without_knn_or_without_validation_images(results: list[dict[str, Any]]) -> None:
    assert objective(results) is None
