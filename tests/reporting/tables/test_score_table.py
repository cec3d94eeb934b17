"""Numbers of a table against scikit-learn; planted mistakes; what is bold, what a dash, what is said below."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_tables import bold_in, config_of, line_of, table_of
from sklearn.metrics import accuracy_score, f1_score
from stored_runs import made_up_run

from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.reporting.tables.formats import format_latex, format_markdown
from lowres_ssl.runs.history import RUN_MARKS
from lowres_ssl.runs.result_io import read_predictions

METHODS = ("dcl", "simclr", "simsiam", "vicreg")
RANDOM = ("random initialisation", "random, BatchNorm calibrated")
ENTRIES = {"DCL": "dcl", "SimCLR": "simclr", "SimSiam": "simsiam", "VICReg": "vicreg"}


def full(output_dir: Path, dataset: str = "pneumonia", probe: str = "knn", seeds: int = 2) -> None:
    """Every cell of a table of the paper: four methods, the two random encoders and ImageNet."""
    for place, method in enumerate((*METHODS, "random", "random_calibrated", "imagenet")):
        for seed in range(seeds):
            accuracy = 0.6 + 0.05 * place + 0.01 * seed if method in METHODS else 0.99
            made_up_run(output_dir, method=method, dataset=dataset, probe=probe, seed=seed, accuracy=accuracy)


@pytest.mark.parametrize(("name", "probe"), [("paper2", "knn"), ("paper3", "linear")])
def test_numbers_equal_those_of_scikit_learn(tmp_path: Path, name: str, probe: str) -> None:
    """Independently of all that selects and counts: from the folders' names and the stored arrays."""
    scored = {label: (method, probe) for label, method in ENTRIES.items()}
    if name == "paper3":
        scored["supervised (end to end)"] = ("supervised", "classifier")
    for place, (method, scored_by) in enumerate(scored.values()):
        for seed in range(3):
            for size, validation in ((16, 0.6), (64, 0.7)):
                made_up_run(
                    tmp_path,
                    method=method,
                    dataset="breast",
                    probe=scored_by,
                    seed=seed,
                    batch_size=size,
                    classes=("a", "b", "c"),
                    accuracy=0.5 + 0.1 * place - 0.03 * seed,
                    validation_accuracy=validation,
                )
    table = table_of(name, tmp_path, dataset="breast")
    for label, (method, scored_by) in scored.items():
        found = {"accuracy": [], "weighted_f1": []}
        for path in sorted((tmp_path / "pretrain").glob(f"breast-{method}-bs64-s*/{scored_by}-*")):
            arrays = read_predictions(path)
            truth, guess = arrays["test_labels"], arrays["test_predictions"]
            found["accuracy"].append(accuracy_score(truth, guess))
            found["weighted_f1"].append(f1_score(truth, guess, average="weighted"))
        assert len(found["accuracy"]) == 3
        accuracy, f1 = (f"{np.mean(each):.3f} ± {np.std(each, ddof=1):.3f}" for each in found.values())
        line = line_of(table.blocks[0], label)
        assert (line[1], line[2], line[6]) == ("64", accuracy, f1)
        for metric, values in found.items():
            (record,) = [each for each in table.records if each["label"] == label and each["metric"] == metric]
            assert record["value"] == pytest.approx(np.mean(values), abs=1e-6)
            assert record["low"] < record["value"] < record["high"]
            shown = line[3 if metric == "accuracy" else 7]
            assert shown == f"{record['low']:.3f} to {record['high']:.3f}"


def test_papers_numbers_are_those_of_the_paper() -> None:
    published = {
        "paper2": {
            "dcl": "0.837 / 0.829 | 0.796 / 0.795 | 0.771 / 0.759",
            "simclr": "0.835 / 0.828 | 0.792 / 0.790 | 0.766 / 0.748",
            "simsiam": "0.842 / 0.836 | 0.746 / 0.739 | 0.715 / 0.676",
            "vicreg": "0.838 / 0.831 | 0.784 / 0.780 | 0.787 / 0.773",
        },
        "paper3": {
            "dcl": "0.939 / 0.939 | 0.921 / 0.921 | 0.790 / 0.773",
            "simclr": "0.925 / 0.924 | 0.874 / 0.874 | 0.761 / 0.734",
            "simsiam": "0.908 / 0.907 | 0.898 / 0.898 | 0.776 / 0.754",
            "vicreg": "0.939 / 0.939 | 0.915 / 0.915 | 0.817 / 0.806",
            "imagenet": "0.916 / 0.915 | 0.911 / 0.910 | 0.798 / 0.775",
        },
    }
    for name, rows in published.items():
        config = config_of(name)
        for key, text in rows.items():
            numbers = config.rows[key].paper
            said = [f"{own['accuracy']:.3f} / {own['weighted_f1']:.3f}" for own in numbers.values()]
            assert list(numbers) == ["breast", "colorectal", "pneumonia"]
            assert " | ".join(said) == text
        assert {key for key, row in config.rows.items() if row.paper} == set(rows)


def test_best_of_all_rows_is_bold_baselines_as_well(tmp_path: Path) -> None:
    full(tmp_path)
    (block,) = table_of("paper2", tmp_path, dataset="pneumonia").blocks
    best = max(float(line[2].text[:5]) for line in block.lines)
    assert bold_in(block, 2) == [line[0].text for line in block.lines if float(line[2].text[:5]) == best]
    assert "random initialisation" in bold_in(block, 2)
    assert not {"DCL", "VICReg"} & set(bold_in(block, 2))


def test_equals_are_both_bold_and_a_single_row_is_not(tmp_path: Path) -> None:
    made_up_run(tmp_path, method="dcl")
    assert bold_in(table_of("paper2", tmp_path, dataset="phantom").blocks[0], 2) == []
    made_up_run(tmp_path, method="vicreg")
    assert bold_in(table_of("paper2", tmp_path, dataset="phantom").blocks[0], 2) == ["DCL", "VICReg"]


def test_missing_cell_is_a_dash_and_optional_rows_are_left_out(tmp_path: Path) -> None:
    made_up_run(tmp_path)
    table = table_of("paper2", tmp_path, dataset="phantom")
    assert line_of(table.blocks[0], "SimSiam") == ["SimSiam", *"–––––"]
    assert [line[0].text for line in table.blocks[0].lines] == [*ENTRIES, *RANDOM]
    missing = ("simclr", "simsiam", "vicreg", "random", "random_calibrated")
    assert table.missing == [f"{method} on phantom by knn" for method in missing]


def test_dclw_stands_for_dcl_where_only_it_was_run(tmp_path: Path) -> None:
    made_up_run(tmp_path, method="dclw", accuracy=0.7)
    assert line_of(table_of("paper2", tmp_path, dataset="phantom").blocks[0], "DCL")[2] == "0.700"
    made_up_run(tmp_path, method="dcl", accuracy=0.6)
    assert line_of(table_of("paper2", tmp_path, dataset="phantom").blocks[0], "DCL")[2] == "0.600"


def test_end_to_end_score_stands_in_table_3_if_it_is_of_the_same_split(tmp_path: Path) -> None:
    made_up_run(tmp_path, probe="linear")
    made_up_run(tmp_path, method="supervised", probe="classifier", accuracy=0.9)
    block = table_of("paper3", tmp_path, dataset="phantom").blocks[0]
    assert line_of(block, "supervised (end to end)")[2] == "0.900"
    made_up_run(tmp_path, method="supervised", entry="supervised from x", probe="classifier", split_digest="other")
    with pytest.raises(ConfigError, match="split_digest differs"):
        table_of("paper3", tmp_path, dataset="phantom")


def test_several_split_seeds_are_blocks_of_their_own(tmp_path: Path) -> None:
    for split_seed, accuracy in ((0, 0.6), (1, 0.9)):
        made_up_run(tmp_path, split_seed=split_seed, accuracy=accuracy)
    blocks = table_of("paper2", tmp_path, dataset="phantom").blocks
    assert [block.heading.rpartition(", ")[2] for block in blocks] == ["split_seed 0", "split_seed 1"]
    assert [line_of(block, "DCL")[2] for block in blocks] == ["0.600", "0.900"]
    (block,) = table_of("paper2", tmp_path, dataset="phantom", split_seed=1).blocks
    assert line_of(block, "DCL")[2] == "0.900"


def test_footer_says_where_the_numbers_come_from(tmp_path: Path) -> None:
    full(tmp_path, seeds=2)
    made_up_run(tmp_path, method="vicreg", dataset="pneumonia", seed=2)
    (block,) = table_of("paper2", tmp_path, dataset="pneumonia").blocks
    (digest,) = {json.loads(path.read_text())["split"]["digest"] for path in tmp_path.rglob("result.json")}
    said = " ".join(block.footer)
    for wanted in (
        "recipe paper, 250 epochs, resnet18 at 64 px",
        f"split stratified (split_seed 0, digest {digest[:8]})",
        "seeds 0, 1 (vicreg: seeds 0, 1, 2)",
        "480 images train, 60 validate, 120 test in 40 groups",
        "k=200, vote=uniform",
        "cpu, fp32",
        "torch 2.14.1",
        "0123456789ab.",
    ):
        assert wanted in said


@pytest.mark.parametrize(("groups", "marked"), [(24, True), (25, False)])
def test_interval_of_few_groups_is_marked(tmp_path: Path, groups: int, marked: bool) -> None:
    made_up_run(tmp_path, groups=[f"patient{place}" for place in range(groups)], images=24 * 25)
    table = table_of("paper2", tmp_path, dataset="phantom")
    assert line_of(table.blocks[0], "DCL")[3].endswith("†") is marked
    assert table.records[0]["reliable"] is not marked
    assert table.records[0]["groups"] == groups


def test_data_sets_are_the_tables_and_the_others_that_have_results(tmp_path: Path) -> None:
    made_up_run(tmp_path, dataset="pneumonia")
    made_up_run(tmp_path, dataset="cells")
    headings = [block.heading.split(",")[0] for block in table_of("paper2", tmp_path).blocks]
    assert headings == ["breast", "colorectal", "Pneumonia", "Cells"]
    narrow = config_of("paper2", datasets=["pneumonia"])
    assert [block.heading.split(",")[0] for block in table_of("x", tmp_path, config=narrow).blocks] == ["Pneumonia"]


def test_published_sets_are_no_rows_where_only_others_have_results(tmp_path: Path) -> None:
    made_up_run(tmp_path, dataset="cells")
    table = table_of("paper2", tmp_path)
    assert [block.heading.split(",")[0] for block in table.blocks] == ["Cells"]
    assert "pneumonia" not in " ".join(table.commands)


def test_methods_tested_on_other_images_under_one_digest_are_refused(tmp_path: Path) -> None:
    made_up_run(tmp_path, split_digest="same", images=60)
    made_up_run(tmp_path, method="vicreg", split_digest="same", images=90)
    with pytest.raises(CheckpointError, match="its ids are not those of"):
        table_of("paper2", tmp_path, dataset="phantom")


AT_CHANCE: dict[str, Any] = {"loss": 4.8, "chance_loss": math.log(126), "embedding_std": 0.9}
AT_A_POINT: dict[str, Any] = {"embedding_std": 0.05}
HEALTHY: dict[str, Any] = {"embedding_std": 0.9}


@pytest.mark.parametrize(
    ("key", "made", "sign", "tex"),
    [("learnt_nothing", AT_CHANCE, "§", r"\S{}"), ("collapsed", AT_A_POINT, "‡", r"$\ddagger$")],
)
def test_a_method_is_marked_with_a_footnote(
    tmp_path: Path, key: str, made: dict[str, Any], sign: str, tex: str
) -> None:
    for seed in range(2):
        made_up_run(tmp_path, method="simclr", seed=seed, accuracy=0.9, **(made if seed else HEALTHY))
        made_up_run(tmp_path, method="dcl", seed=seed, **HEALTHY)
        made_up_run(tmp_path, method="vicreg", seed=seed, accuracy=0.5, **HEALTHY)
    table = table_of("paper2", tmp_path)
    labels = [line[0].text for line in table.blocks[-1].lines]
    assert f"SimCLR{sign}" in labels
    assert "DCL" in labels
    word, meaning = RUN_MARKS[key].word, RUN_MARKS[key].meaning
    assert f"simclr {word} in 1 of 2 seeds, that is, {meaning}" in " ".join(table.blocks[-1].footer)
    assert {each["label"]: each[key] for each in table.records if "value" in each} == {
        "SimCLR": 1,
        "DCL": 0,
        "VICReg": 0,
    }
    # What has learnt nothing is never the best, whatever its score.
    assert bold_in(table.blocks[-1], 2) == (["DCL"] if key == "learnt_nothing" else [f"SimCLR{sign}"])
    assert f"{sign} {word}, for one seed at least: {meaning[:20]}" in format_markdown(table)
    assert f"{tex} {word}, for one seed" in format_latex(table)


def test_a_method_that_collapsed_under_a_recipe_is_marked_there_alone(tmp_path: Path) -> None:
    for recipe, made in (("paper", HEALTHY), ("tuned", AT_A_POINT)):
        made_up_run(tmp_path, recipe=recipe, **made)
    cells = line_of(table_of("recipes", tmp_path).blocks[0], "DCL")
    assert ["‡" in cell for cell in cells] == [False, False, False, True]
