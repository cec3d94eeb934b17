"""`lowres-ssl tables` as it is typed: what is printed and written, a new table, strict, and the commands it gives."""

import csv
import re
import shlex
import textwrap
from pathlib import Path

import pytest
from stored_runs import made_up_run
from typed import Command, take_first_job


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    """Runs of two of the four methods and of random initialisation."""
    for seed in (0, 1):
        for place, method in enumerate(("dcl", "vicreg", "random")):
            for probe in ("knn", "linear"):
                made_up_run(tmp_path / "outputs", method=method, seed=seed, probe=probe, accuracy=0.8 - 0.1 * place)
    return tmp_path / "outputs"


def test_tables_are_printed_and_written_in_three_formats(lowres_ssl: Command, outputs: Path) -> None:
    answer = lowres_ssl("tables", "table=[paper1,paper2,paper3,recipes]", "dataset=phantom")
    assert answer.code == 0, answer.err
    written = {path.name for path in (outputs / "tables").iterdir()}
    assert written == {
        f"{name}.{ending}" for name in ("paper1", "paper2", "paper3", "recipes") for ending in ("md", "csv", "tex")
    }
    assert (outputs / "tables" / "paper2.md").read_text() in answer.out
    records = list(csv.DictReader((outputs / "tables" / "paper2.csv").read_text().splitlines()))
    assert {record["dataset"] for record in records} == {"phantom"}
    assert r"\toprule" in (outputs / "tables" / "paper2.tex").read_text()


def test_new_table_is_one_yaml(lowres_ssl: Command, outputs: Path, tmp_path: Path) -> None:
    (tmp_path / "my_conf" / "table").mkdir(parents=True)
    (tmp_path / "my_conf" / "table" / "mine.yaml").write_text(
        textwrap.dedent("""\
            # @package table.mine
            title: My table
            kind: scores
            probe: [knn, linear]
            datasets: [phantom]
            metrics: [balanced_accuracy]
            batch_size: 64
            rows:
              dcl: {label: ours, entries: [dcl]}
              vicreg: {entries: [vicreg], paper: {phantom: {balanced_accuracy: 0.5}}}
            """)
    )
    answer = lowres_ssl("tables", "--config-dir", "my_conf", "table=mine", "strict=true")
    assert answer.code == 0, answer.err
    lines = [re.split(r" *\| *", line)[1:-1] for line in answer.out.splitlines() if line.startswith("| ")]
    assert lines[0] == ["", "batch size", "balanced accuracy", "95% interval", "paper", "difference"]
    assert lines[2][:3] == ["ours", "64", "**0.800 ± 0.000**"]
    assert lines[3][0] == "vicreg"
    assert lines[3][4:] == ["0.500", "+0.200"]
    assert (outputs / "tables" / "mine.md").exists()


def test_table_without_results_is_not_written_over_one_that_is_there(lowres_ssl: Command, tmp_path: Path) -> None:
    made_up_run(tmp_path / "outputs")
    assert lowres_ssl("tables", "table=[paper2]").code == 0
    there = (tmp_path / "outputs" / "tables" / "paper2.md").read_text()
    answer = lowres_ssl("tables", "table=[paper2]", "settings=k=77")
    assert answer.code == 0
    assert "settings=k=77: no stored result has it; there is 200" in answer.err
    assert "paper2: no result of ours, so outputs/tables/paper2.md is left as it is" in answer.err
    assert "Written" not in answer.out
    assert (tmp_path / "outputs" / "tables" / "paper2.md").read_text() == there


def test_strict_refuses_a_missing_cell_and_writes_nothing(lowres_ssl: Command, outputs: Path) -> None:
    answer = lowres_ssl("tables", "table=[paper2]", "dataset=phantom", "strict=true")
    assert answer.code == 2
    assert answer.err.count("\n") == 1
    assert (
        "no result for 3 cells, the first is paper2: simclr on phantom by knn; type lowres-ssl pretrain" in answer.err
    )
    assert not (outputs / "tables").exists()


def test_commands_below_a_table_can_be_typed(lowres_ssl: Command, outputs: Path) -> None:
    made_up_run(outputs, method="vicreg", recipe="released_code", split="official", settings={"k": 7})
    answer = lowres_ssl("tables", "table=[paper2,recipes]", "recipe=released_code")
    lines = [line for line in answer.out.splitlines() if line.startswith("lowres-ssl pretrain")]
    assert len(lines) > 3
    for line in set(lines):
        words = take_first_job(shlex.split(line)[1:])
        composed = lowres_ssl(*words, "--cfg", "job")
        assert composed.code == 0, f"{line}\n{composed.err}"
        for word in words[1:]:
            key, _, value = word.partition("=")
            if key in ("recipe", "split", "split_seed", "image_size", "epochs"):
                assert f"\n{key}: {value}\n" in composed.out
