"""Table 1: what validation chose beside what the paper chose."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from made_tables import line_of, table_of
from stored_runs import made_up_run, made_up_tuned

from lowres_ssl.environment import Environment
from lowres_ssl.evaluate.tuned_settings import summarise_seeds, write_tuned_settings


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
