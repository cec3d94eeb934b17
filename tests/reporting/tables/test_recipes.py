"""Recipes and splits side by side, and Table 1: what a column is, what it costs, what is still refused."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from made_tables import line_of, table_of
from stored_runs import made_up_run, made_up_tuned

from lowres_ssl.environment import Environment
from lowres_ssl.evaluate.tuned_settings import summarise_seeds, write_tuned_settings


def test_columns_are_recipes_and_splits_with_what_they_cost(tmp_path: Path) -> None:
    for recipe, accuracy in (("paper", 0.7), ("released_code", 0.6), ("tuned", 0.9)):
        for split in ("official", "patient"):
            method = "dclw" if recipe == "released_code" else "dcl"
            made_up_run(tmp_path, method=method, recipe=recipe, split=split, images=100, accuracy=accuracy)
    table = table_of("recipes", tmp_path)
    assert table.heads == [
        "",
        *(f"{split}, {recipe}" for split in ("official", "patient") for recipe in ("paper", "released_code", "tuned")),
    ]
    block = table.blocks[0]
    assert block.heading == "Phantom, KNN (k=200): accuracy"
    cells = line_of(block, "DCL")
    assert [cell.split(" ")[0] for cell in cells[1:]] == ["0.700", "0.600", "0.900"] * 2
    costs = [cell.rpartition("), ")[2] for cell in cells[2:4]]
    assert [cost.partition(" ")[0] for cost in costs] == ["−0.100", "+0.200"]
    assert ", " not in cells[1]
    assert table.blocks[1].heading == "Phantom, KNN (k=200): weighted F1"


def test_columns_of_different_networks_are_said_to_be(tmp_path: Path) -> None:
    for recipe, zero in (("paper", True), ("released_code", True), ("tuned", False)):
        method = "dclw" if recipe == "released_code" else "dcl"
        made_up_run(tmp_path, method=method, recipe=recipe, zero_init_residual=zero)
    footers = [line for block in table_of("recipes", tmp_path).blocks for line in block.footer]
    (said,) = [line for line in footers if line.startswith("Different networks")]
    assert "backbone.zero_init_residual is true under paper, true under released_code, false under tuned." in said


def test_random_start_is_not_shown_where_nothing_but_what_is_no_row_was_trained(tmp_path: Path) -> None:
    for method in ("dcl", "random"):
        made_up_run(tmp_path, method=method, recipe="paper")
    made_up_run(tmp_path, method="supervised", recipe="tuned", zero_init_residual=False)
    cells = line_of(table_of("recipes", tmp_path).blocks[0], "random initialisation")
    assert [cell[:3] for cell in cells[1:]] == ["0.8", "–", "–"]


def test_recipe_without_a_trained_run_is_a_column_of_dashes_without_a_cost(tmp_path: Path) -> None:
    made_up_run(tmp_path, recipe="tuned")
    made_up_run(tmp_path, method="random", recipe="tuned")
    table = table_of("recipes", tmp_path)
    assert table.heads == ["", "stratified, paper", "stratified, released_code", "stratified, tuned"]
    for label in ("DCL", "random initialisation"):
        paper, released_code, tuned = line_of(table.blocks[0], label)[1:]
        assert (paper, released_code) == ("–", "–")
        assert tuned.startswith("0.8")
        assert "), " not in tuned
    assert "difference" not in " ".join(table.notes)
    made_up_run(tmp_path, recipe="paper")
    assert "difference" in " ".join(table_of("recipes", tmp_path).notes)


def test_recipe_that_is_missing_is_trained_as_the_one_that_is_there(tmp_path: Path) -> None:
    for method in ("dcl", "simclr", "simsiam", "vicreg", "random", "random_calibrated"):
        for probe in ("knn", "linear"):
            settings = {"k": 5} if probe == "knn" else {}
            made_up_run(tmp_path, method=method, recipe="tuned", seed=3, probe=probe, settings=settings)
    table = table_of("recipes", tmp_path)
    assert len(table.missing) == 6 * 2 * 2
    wanted = {"backbone=resnet18", "image_size=64", "split=stratified", "batch_size=64", "seed=3", "probe.knn.k=5"}
    trainings = [line.split(" ") for line in table.commands if "vicreg" in line]
    assert {word for words in trainings for word in words if word.startswith("recipe")} == {
        "recipe=paper",
        "recipe=released_code",
    }
    for words in trainings:
        assert wanted < set(words)


def seeds_of(output_dir: Path, recipe: str, seeds: dict[int, float], method: str = "dcl") -> None:
    for seed, accuracy in seeds.items():
        made_up_run(output_dir, method=method, recipe=recipe, seed=seed, images=100, accuracy=accuracy)


def difference_in(output_dir: Path) -> str:
    return line_of(table_of("recipes", output_dir).blocks[0], "DCL")[3].rpartition("), ")[2]


def test_difference_is_of_all_seeds_where_not_all_are_shared(tmp_path: Path) -> None:
    """0.70 of two seeds, 0.80 of three; of the two that both have it would be 0.15."""
    seeds_of(tmp_path, "paper", {0: 0.70, 1: 0.70})
    seeds_of(tmp_path, "tuned", {0: 0.84, 1: 0.86, 2: 0.70})
    assert difference_in(tmp_path).startswith("+0.100 (−")
    (record,) = [
        each
        for each in table_of("recipes", tmp_path).records
        if (each["metric"], each["recipe"]) == ("accuracy", "tuned")
    ]
    assert (record["seeds"], record["difference"]) == ("0 1 2", 0.1)


def test_seeds_are_paired_where_all_are_shared(tmp_path: Path) -> None:
    """They differ much, and each by the same under both recipes: that is no error of the difference."""
    widths = []
    for folder, last in (("alike", 2), ("unlike", 3)):
        seeds_of(tmp_path / folder, "paper", {0: 0.50, 1: 0.60, 2: 0.70})
        seeds_of(tmp_path / folder, "tuned", {0: 0.75, 1: 0.85, last: 0.95})
        records = table_of("recipes", tmp_path / folder).records
        (tuned,) = [each for each in records if (each["recipe"], each["metric"]) == ("tuned", "accuracy")]
        assert tuned["difference"] == 0.25
        widths.append(tuned["difference_high"] - tuned["difference_low"])
    assert widths[0] < 0.7 * widths[1]


@pytest.mark.parametrize("first", [[5], [0]])
def test_difference_to_one_seed_has_no_interval(tmp_path: Path, first: list[int]) -> None:
    seeds_of(tmp_path, "paper", dict.fromkeys(first, 0.7))
    seeds_of(tmp_path, "tuned", dict.fromkeys((0, 1, 2), 0.9))
    assert difference_in(tmp_path) == "+0.200 (one seed)"
    table = table_of("recipes", tmp_path)
    tuned = [each for each in table.records if (each["recipe"], each["metric"]) == ("tuned", "accuracy")]
    assert [(each["difference"], each["difference_low"], each["difference_high"]) for each in tuned] == [
        (0.2, None, None)
    ]
    assert "of one seed there is none" in " ".join(table.notes)


def tune(
    output_dir: Path,
    result: Path,
    batch_size: int,
    learning_rate: float,
    accuracy: float = 0.9,
    accuracies: Sequence[float] = (),
) -> None:
    """What `lowres-ssl tune` writes, as far as the table reads it. `accuracies`: of each seed, instead of three equal
    ones."""
    fits = [(each, 0.5) for each in accuracies or [accuracy] * 3]
    chosen = summarise_seeds(batch_size, learning_rate, 100, fits)
    run = result.parent.name
    environment = Environment({"torch": "2.9"}, "Some CPU, fp32", "Linux", None)
    write_tuned_settings(output_dir, made_up_tuned(run=run, chosen=chosen, seeds=len(fits), environment=environment))


def test_ours_stands_beside_the_papers(tmp_path: Path) -> None:
    tune(tmp_path, made_up_run(tmp_path, dataset="pneumonia"), 32, 0.005)
    (block,) = table_of("paper1", tmp_path, dataset="pneumonia").blocks
    assert line_of(block, "DCL") == ["DCL", "32 (0.005)", "0.900 ± 0.000", "1 of 1 run", "64 (0.5)"]
    assert line_of(block, "SimCLR") == ["SimCLR", "–", "–", "–", "64 (0.1)"]
    assert "1 run tuned" in block.footer[0]
    assert "rule full, 3 seeds of the probe" in block.footer[0]
    assert block.footer[0].endswith("Device: Some CPU, fp32. Versions: torch 2.9. Commits: unknown.")


@pytest.mark.parametrize(
    ("accuracies", "said", "spread"),
    [([0.8, 0.9, 1.0], "0.900 ± 0.100", 0.1), ([0.9], "0.900", None)],
    ids=["three seeds", "one seed"],
)
def test_validation_accuracy_has_its_standard_deviation_over_the_seeds_of_the_probe(
    tmp_path: Path, accuracies: list[float], said: str, spread: float | None
) -> None:
    tune(tmp_path, made_up_run(tmp_path), 16, 0.1, accuracies=accuracies)
    table = table_of("paper1", tmp_path, dataset="phantom")
    assert line_of(table.blocks[0], "DCL")[2] == said
    assert table.records[0]["validation_standard_deviation"] == (spread and pytest.approx(spread))
    assert "standard deviation over the seeds of the probe" in table.notes[0]


def test_papers_settings_are_those_of_the_paper(tmp_path: Path) -> None:
    published = {
        "DCL": ("16 (0.01)", "16 (0.01)", "64 (0.5)"),
        "SimCLR": ("16 (0.01)", "16 (0.005)", "64 (0.1)"),
        "SimSiam": ("16 (0.01)", "16 (0.01)", "16 (0.01)"),
        "VICReg": ("16 (0.005)", "16 (0.005)", "16 (0.01)"),
    }
    blocks = table_of("paper1", tmp_path).blocks
    assert [block.heading for block in blocks] == ["breast", "colorectal", "pneumonia"]
    for label, settings in published.items():
        assert tuple(line_of(block, label)[-1] for block in blocks) == settings


def test_run_that_was_tuned_before_it_was_scored_counts(tmp_path: Path) -> None:
    result = made_up_run(tmp_path)
    tune(tmp_path, result, 16, 0.1)
    shutil.rmtree(result)
    assert line_of(table_of("paper1", tmp_path, dataset="phantom").blocks[0], "DCL")[1] == "16 (0.1)"


def test_run_that_was_not_tuned_is_to_be_tuned_and_one_that_is_not_there_trained(tmp_path: Path) -> None:
    result = made_up_run(tmp_path)
    table = table_of("paper1", tmp_path, dataset="phantom")
    tuning, training = table.commands
    assert tuning == f"lowres-ssl tune 'run=[{result.parent.name}]' output_dir={tmp_path}"
    assert "method=simclr,simsiam,vicreg" in training
