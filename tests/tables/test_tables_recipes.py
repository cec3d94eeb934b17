"""Recipes and splits side by side: what a column is, what it costs, what is still refused."""

from pathlib import Path

import pytest
from made_tables import line_of, table_of
from stored_runs import made_up_run

from lowres_ssl.errors import ConfigError


def three_recipes(output_dir: Path) -> None:
    for recipe, accuracy in (("paper", 0.7), ("released_code", 0.6), ("tuned", 0.9)):
        for split in ("official", "patient"):
            method = "dclw" if recipe == "released_code" else "dcl"
            made_up_run(output_dir, method=method, recipe=recipe, split=split, images=100, accuracy=accuracy)


def test_columns_are_recipes_and_splits_with_what_they_cost(tmp_path: Path) -> None:
    three_recipes(tmp_path)
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
    assert [block.heading for block in table.blocks[1:]] == ["Phantom, KNN (k=200): weighted F1"]


def test_what_text_and_code_differ_in_stands_below(tmp_path: Path) -> None:
    three_recipes(tmp_path)
    said = " ".join(table_of("recipes", tmp_path).notes)
    for wanted in ("DCLW", "predictor", "official test folder", "200 epochs"):
        assert wanted in said


def test_random_start_stands_under_each_recipe_that_builds_it(tmp_path: Path) -> None:
    made_up_run(tmp_path, recipe="paper")
    made_up_run(tmp_path, recipe="tuned", zero_init_residual=False)
    made_up_run(tmp_path, method="random", accuracy=0.5)
    made_up_run(tmp_path, method="random", accuracy=0.6, recipe="tuned", zero_init_residual=False)
    cells = line_of(table_of("recipes", tmp_path).blocks[0], "random initialisation")
    assert [cell[:5] for cell in cells[1:]] == ["0.500", "0.600"]


def test_recipe_without_a_trained_run_has_no_column(tmp_path: Path) -> None:
    made_up_run(tmp_path, recipe="paper")
    made_up_run(tmp_path, method="random")
    assert table_of("recipes", tmp_path).heads == ["", "stratified, paper"]


def test_other_images_under_one_split_are_refused(tmp_path: Path) -> None:
    made_up_run(tmp_path, recipe="paper", split_digest="aaaaaaaaaa")
    made_up_run(tmp_path, recipe="tuned", split_digest="bbbbbbbbbb")
    with pytest.raises(ConfigError, match="split_digest differs"):
        table_of("recipes", tmp_path)


def test_missing_cell_is_a_dash_with_the_command_of_its_recipe_and_split(tmp_path: Path) -> None:
    three_recipes(tmp_path)
    made_up_run(tmp_path, method="vicreg", recipe="tuned", split="patient", images=100)
    table = table_of("recipes", tmp_path)
    assert line_of(table.blocks[0], "VICReg")[1:6] == ["–"] * 5
    wanted = ("recipe=released_code", "split=official", "simsiam,vicreg")
    assert any(all(word in line for word in wanted) for line in table.commands)


def test_records_have_the_columns_recipe_and_the_cost(tmp_path: Path) -> None:
    three_recipes(tmp_path)
    records = [each for each in table_of("recipes", tmp_path).records if each["metric"] == "accuracy"]
    said = [(each["split"], each["recipe"], each["value"], each["difference"]) for each in records]
    assert ("official", "paper", 0.7, None) in said
    assert ("patient", "tuned", 0.9, 0.2) in said


def test_cost_has_the_interval_of_a_paired_difference(tmp_path: Path) -> None:
    three_recipes(tmp_path)
    table = table_of("recipes", tmp_path)
    records = [each for each in table.records if each["metric"] == "accuracy" and each["split"] == "patient"]
    low, high = next((each["difference_low"], each["difference_high"]) for each in records if each["recipe"] == "tuned")
    assert low < 0.2 < high
    ends = line_of(table.blocks[0], "DCL")[6].rpartition(", ")[2]
    assert ends == f"+0.200 ({low:+.3f} to {high:+.3f})".replace("-", "−")
    # Narrower than if the two were of different images: both miss some of the same.
    values = {each["recipe"]: each["high"] - each["low"] for each in records}
    assert high - low < values["tuned"] + values["paper"]
