"""`lowres-ssl compare` on made-up stored results."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score
from stored_runs import made_up_run
from typed import Command

from lowres_ssl.config.command_schemas import MetricChoice
from lowres_ssl.runs.result_io import read_predictions
from lowres_ssl.stats.intervals import CONFUSION_METRICS

QUICK = "draws=400"


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """dcl far above random, vicreg as good as dcl; three seeds, 240 images in 80 groups."""
    outputs = tmp_path / "outputs"
    for seed in range(3):
        for method, accuracy in (("dcl", 0.9), ("vicreg", 0.9), ("random", 0.6)):
            made_up_run(outputs, method=method, seed=seed, accuracy=accuracy, images=240)
    return outputs


def records(lowres_ssl: Command, *typed: str) -> list[dict[str, Any]]:
    return list(json.loads(lowres_ssl("compare", "format=json", QUICK, *typed).out))


def pairs(found: list[dict[str, Any]]) -> dict[frozenset[str], dict[str, Any]]:
    return {frozenset([each["first"].split()[0], each["second"].split()[0]]): each for each in found if each["second"]}


@pytest.mark.usefixtures("stored")
def test_matrix_sentence_and_claims_are_printed(lowres_ssl: Command) -> None:
    answer = lowres_ssl("compare", QUICK)
    matrix, sentences, claims = (answer.out.index(text) for text in ("Row minus column", "is above random", "claims:"))
    assert matrix < sentences < claims
    line = next(line for line in answer.out.splitlines() if line.startswith("random "))
    assert line.count("-30.0*") == 2
    assert "after Holm's correction of 2 comparisons with random; 3 seeds, 240 test images in 80 groups." in answer.out
    assert "Tested against random alone" in answer.out
    assert f"lowres-ssl compare {QUICK} reference=all" in answer.out
    assert "may leave out 0" not in answer.out
    assert "no runs for it  self-supervised methods beat frozen ImageNet features: wanted imagenet" in answer.out
    assert '"imagenet=pretrained NAME"' in answer.out


def test_difference_is_that_of_the_stored_predictions(lowres_ssl: Command, stored: Path) -> None:
    def mean(method: str) -> float:
        runs = [read_predictions(path) for path in sorted(stored.glob(f"pretrain/phantom-{method}-*/knn-*"))]
        assert len(runs) == 3
        scores = [f1_score(each["test_labels"], each["test_predictions"], average="weighted") for each in runs]
        return float(np.mean(scores))

    found = pairs(records(lowres_ssl, "metric=weighted_f1"))[frozenset(["dcl", "random"])]
    assert found["metric"] == "weighted_f1"
    assert found["difference"] == pytest.approx(mean("dcl") - mean("random"))
    assert found["low"] < found["difference"] < found["high"]


@pytest.mark.parametrize(
    ("reference", "tested"),
    [
        ("random", ["dcl random", "random trivial", "random vicreg"]),
        ("[random,trivial]", ["dcl random", "dcl trivial", "random trivial", "random vicreg", "trivial vicreg"]),
        ("all", ["dcl random", "dcl trivial", "dcl vicreg", "random trivial", "random vicreg", "trivial vicreg"]),
    ],
)
def test_pairs_that_have_a_p_are_those_with_the_reference(
    lowres_ssl: Command, stored: Path, reference: str, tested: list[str]
) -> None:
    """All have a difference. Mean colour depends on no seed: one result of it will do."""
    made_up_run(stored, method="trivial", accuracy=0.5, images=240)
    found = pairs(records(lowres_ssl, f"reference={reference}"))
    assert len(found) == 6
    assert sorted(" ".join(sorted(pair)) for pair, each in found.items() if each["p"] is not None) == tested
    assert all((each["p"] is None) == (each["p_corrected"] is None) for each in found.values())
    assert all(each["low"] < each["difference"] < each["high"] for each in found.values())


@pytest.mark.parametrize(("validation", "bar"), [(0.7, "random_calibrated"), (0.5, "random")])
def test_the_bar_is_the_random_encoder_that_is_better_on_the_validation_images(
    lowres_ssl: Command, stored: Path, validation: float, bar: str
) -> None:
    """On the test images the calibrated one is the worse."""
    for seed in range(3):
        made_up_run(
            stored, method="random_calibrated", seed=seed, accuracy=0.4, validation_accuracy=validation, images=240
        )
    found = pairs(records(lowres_ssl))
    assert {frozenset(pair) for pair, each in found.items() if each["p"] is not None} == {
        frozenset([bar, other]) for other in {"dcl", "vicreg", "random", "random_calibrated"} - {bar}
    }
    assert "random encoders" not in lowres_ssl("compare", QUICK).err


def test_reference_that_is_not_there_is_told(lowres_ssl: Command, stored: Path) -> None:
    answer = lowres_ssl("compare", QUICK, "reference=randon")
    assert "no randon, so each is tested against each; there is dcl, random, vicreg" in answer.err
    assert "after Holm's correction of all 3 comparisons" in answer.out


def test_one_seed_has_no_star_and_no_interval(lowres_ssl: Command, tmp_path: Path) -> None:
    """Far apart, but who knows what another seed would have given; three seeds against one are no better."""
    for method, seeds in (("dcl", 3), ("vicreg", 1), ("random", 1)):
        for seed in range(seeds):
            accuracy = 0.5 if method == "random" else 0.95
            made_up_run(tmp_path / "outputs", method=method, seed=seed, accuracy=accuracy, images=240)
    answer = lowres_ssl("compare", QUICK)
    assert "*" not in answer.out.partition("claims")[0]
    assert "Not tested, for want of a second seed: vicreg at batch size 64, random." in answer.out
    found = pairs(records(lowres_ssl))
    assert all(each[key] is None for each in found.values() for key in ("p", "p_corrected", "low", "high"))
    one = found[frozenset(["dcl", "random"])]
    assert (one["first_seeds"], one["second_seeds"]) == (3, 1)


def test_csv_has_a_line_a_pair_and_a_claim(lowres_ssl: Command, stored: Path) -> None:
    answer = lowres_ssl("compare", "format=csv", QUICK)
    frame = pd.read_csv(io.StringIO(answer.out))
    assert frame["second"].notna().sum() == 3
    assert ",3,True," in answer.out  # seeds as a whole number
    assert frame["claim"].nunique() == 5
    assert set(frame.loc[frame["claim"].notna(), "verdict"]) <= {"supported", "cannot tell", "no runs for it"}


def test_method_without_the_batch_size_is_named(lowres_ssl: Command, stored: Path) -> None:
    made_up_run(stored, method="simclr", batch_size=16, images=240)
    answer = lowres_ssl("compare", QUICK, "batch_size=64")
    assert "simclr has no run at batch size 64; there is batch_size=16" in answer.err
    assert "simclr" not in answer.out.split("\n\n")[1]


def test_batch_size_that_no_method_has_is_refused(lowres_ssl: Command, tmp_path: Path) -> None:
    made_up_run(tmp_path / "outputs", batch_size=16)
    answer = lowres_ssl("compare", QUICK, "batch_size=64", code=2)
    assert answer.last_line.endswith("dcl has no run at batch size 64; there is batch_size=16")


@pytest.mark.parametrize(
    ("methods", "typed", "missing"),
    [
        (("dcl", "vicreg"), (), "no random initialisation to compare with; type lowres-ssl pretrain -m"),
        (("dcl", "random"), (), "only random is among these results; for the other type lowres-ssl pretrain method="),
        (("dcl", "vicreg", "random"), ("entry=[dcl,vicreg]",), None),  # the filter hides them
        (("dcl", "random"), ("entry=[dcl,random]",), None),
    ],
)
def test_random_encoders_that_are_missing_are_named(
    lowres_ssl: Command, tmp_path: Path, methods: tuple[str, ...], typed: tuple[str, ...], missing: str | None
) -> None:
    for method in methods:
        made_up_run(tmp_path / "outputs", method=method)
    answer = lowres_ssl("compare", QUICK, *typed)
    assert missing in answer.err if missing else "random" not in answer.err


@pytest.mark.parametrize(("seeds", "stars"), [(2, 0), (3, 2)])
def test_two_seeds_have_no_star(lowres_ssl: Command, tmp_path: Path, seeds: int, stars: int) -> None:
    for method, accuracy in (("dcl", 0.95), ("random", 0.3)):
        for seed in range(seeds):
            made_up_run(tmp_path / "outputs", method=method, seed=seed, accuracy=accuracy, images=2400)
    (found,) = pairs(records(lowres_ssl)).values()
    assert found["p_corrected"] < 0.05
    answer = lowres_ssl("compare", QUICK).out
    assert answer.partition("; * where")[0].count("*") == stars
    assert ("Not marked" in answer) == (stars == 0)
    assert "cannot be told from chance" not in answer


def test_entries_that_are_named_are_the_comparisons_that_p_is_corrected_for(lowres_ssl: Command, stored: Path) -> None:
    for method in ("trivial", "supervised"):
        made_up_run(stored, method=method, images=240)
    everything = lowres_ssl("compare", QUICK)
    chosen = lowres_ssl("compare", QUICK, "entry=[dcl,random]")
    assert "after Holm's correction of 1 comparison with random." in chosen.out
    assert "after Holm's correction of 3 comparisons with random." in everything.out  # supervised has one seed
    assert "trivial" not in chosen.out


def test_metrics_that_can_be_typed_are_those_with_intervals() -> None:
    assert tuple(MetricChoice.__members__) == CONFUSION_METRICS
