"""Methods that have learnt nothing or are collapsing, in tables: the mark, what it means, for how many seeds."""

import math
from pathlib import Path
from typing import Any

import pytest
from made_tables import bold_in, line_of, table_of
from stored_runs import made_up_run

from lowres_ssl.reporting.tables.formats import format_latex, format_markdown
from lowres_ssl.runs.collapse import RUN_MARKS

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
