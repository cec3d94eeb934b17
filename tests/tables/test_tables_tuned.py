"""Table 1: what validation chose beside what the paper chose."""

from pathlib import Path

from made_tables import line_of, table_of
from stored_runs import made_up_run

from lowres_ssl.atomic import write_json
from lowres_ssl.runs import SCHEMA_VERSION


def tune(output_dir: Path, result: Path, batch_size: int, learning_rate: float) -> None:
    """What `lowres-ssl tune` writes, as far as the table reads it."""
    chosen = {"batch_size": batch_size, "learning_rate": learning_rate}
    run = result.parent.name
    write_json(output_dir / "tuned" / f"{run}.json", {"schema": SCHEMA_VERSION, "run": run, "chosen": chosen})


def test_ours_stands_beside_the_papers(tmp_path: Path) -> None:
    tune(tmp_path, made_up_run(tmp_path, dataset="pneumonia"), 32, 0.005)
    (block,) = table_of("paper1", tmp_path, dataset="pneumonia").blocks
    assert line_of(block, "DCL") == ["DCL", "32 (0.005)", "64 (0.5)"]
    assert line_of(block, "SimCLR") == ["SimCLR", "–", "64 (0.1)"]


def test_runs_that_chose_differently_are_counted(tmp_path: Path) -> None:
    for seed, rate in enumerate((0.1, 0.5, 0.1)):
        tune(tmp_path, made_up_run(tmp_path, seed=seed), 16, rate)
    table = table_of("paper1", tmp_path, dataset="phantom")
    assert line_of(table.blocks[0], "DCL") == ["DCL", "16 (0.1) ×2, 16 (0.5) ×1", "–"]
    assert [(each["learning_rate"], each["runs"]) for each in table.records[:2]] == [(0.1, 2), (0.5, 1)]


def test_run_that_was_not_tuned_is_to_be_tuned_and_one_that_is_not_there_trained(tmp_path: Path) -> None:
    result = made_up_run(tmp_path)
    table = table_of("paper1", tmp_path, dataset="phantom")
    tuning, training = table.commands
    assert tuning == f"lowres-ssl tune 'run=[{result.parent.name}]' output_dir={tmp_path}"
    assert "method=simclr,simsiam,vicreg" in training
