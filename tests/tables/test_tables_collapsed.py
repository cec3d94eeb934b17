"""Methods that collapsed, in tables: the mark, what it means, for how many seeds."""

from pathlib import Path

from made_tables import line_of, table_of
from stored_runs import made_up_run

from lowres_ssl.results.collapse import COLLAPSED_STD
from lowres_ssl.tables.formats import latex, markdown


def test_a_method_that_collapsed_is_marked_with_a_footnote(tmp_path: Path) -> None:
    for seed in range(2):
        made_up_run(tmp_path, method="simsiam", seed=seed, embedding_std=0.05 if seed else 0.9)
        made_up_run(tmp_path, method="dcl", seed=seed, embedding_std=0.9)
    table = table_of("paper2", tmp_path)
    labels = [line[0].text for line in table.blocks[-1].lines]
    assert "SimSiam‡" in labels
    assert "DCL" in labels
    assert f"simsiam collapsed in 1 of 2 seeds, embedding_std below {COLLAPSED_STD} after" in " ".join(
        table.blocks[-1].footer
    )
    assert {each["label"]: each["collapsed"] for each in table.records if "value" in each} == {"SimSiam": 1, "DCL": 0}
    for text, mark in (
        (markdown(table), "‡ collapsed, for one seed"),
        (latex(table), r"$\ddagger$ collapsed, for one"),
    ):
        assert mark in text


def test_a_method_that_collapsed_under_a_recipe_is_marked_there_alone(tmp_path: Path) -> None:
    for recipe, spread in (("paper", 0.9), ("tuned", 0.05)):
        made_up_run(tmp_path, recipe=recipe, embedding_std=spread)
    cells = line_of(table_of("recipes", tmp_path).blocks[0], "DCL")
    assert ["‡" in cell for cell in cells] == [False, False, False, True]
