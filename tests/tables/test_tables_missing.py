"""The command below a table fills its cell: it has what was typed, and what the neighbours were made with."""

import json
import shlex
from pathlib import Path

import pytest
from made_tables import config_of, table_of
from stored_runs import made_up_run

from lowres_ssl.sealed import write_sealed


def commands(output_dir: Path, name: str = "paper2", **filters: object) -> list[list[str]]:
    return [shlex.split(line) for line in table_of(name, output_dir, **filters).commands]


def test_command_is_as_the_neighbours_were_made(tmp_path: Path) -> None:
    for seed in (0, 1):
        for batch_size in (16, 64):
            made_up_run(tmp_path, seed=seed, batch_size=batch_size, split="official", epochs=7)
    trained, random = commands(tmp_path, dataset="phantom")
    assert trained == [
        *("lowres-ssl", "pretrain", "-m", "method=simclr,simsiam,vicreg", "dataset=phantom", "recipe=paper"),
        *("backbone=resnet18", "image_size=64", "epochs=7", "split=official", "split_seed=0", "batch_size=16,64"),
        *("seed=0,1", f"output_dir={tmp_path}"),
    ]
    assert random[3] == "method=random"
    assert not any(word.startswith(("epochs", "batch_size")) for word in random)


def test_what_was_typed_goes_before_what_is_there(tmp_path: Path) -> None:
    made_up_run(tmp_path)
    typed = {"recipe": "tuned", "split": "patient", "split_seed": 3, "epochs": 9, "precision": "bf16"}
    (trained, _) = commands(tmp_path, dataset="phantom", **typed)
    for key, value in typed.items():
        assert f"{key}={value}" in trained


def test_empty_outputs_give_a_command_that_takes_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOWRES_SSL_OUTPUTS", str(tmp_path))
    (line,) = commands(tmp_path, dataset="breast")
    assert line == ["lowres-ssl", "pretrain", "-m", "method=dcl,simclr,simsiam,vicreg,random", "dataset=breast"]


def test_settings_that_are_not_the_usual_are_typed(tmp_path: Path) -> None:
    made_up_run(tmp_path, settings={"k": 5})
    (trained, _) = commands(tmp_path, dataset="phantom")
    assert [word for word in trained if word.startswith("probe")] == ["probe.knn.k=5"]


def test_recipes_own_settings_are_the_usual_of_that_recipe(tmp_path: Path) -> None:
    made_up_run(tmp_path, recipe="tuned", settings={"vote": "softmax", "metric": "cosine"})
    (trained, _) = commands(tmp_path, dataset="phantom")
    assert [word for word in trained if word.startswith("probe")] == []


def test_run_that_only_lacks_the_score_is_scored(tmp_path: Path) -> None:
    run = made_up_run(tmp_path).parent.name
    lines = commands(tmp_path, "paper3", dataset="phantom")
    assert lines[0] == ["lowres-ssl", "evaluate", f"run={run}", "probe=[linear]", f"output_dir={tmp_path}"]


def test_probe_that_pretrain_does_not_run_by_itself_is_named(tmp_path: Path) -> None:
    config = config_of("paper2", probe=["logistic"])
    line, *_ = table_of("x", tmp_path, config=config, dataset="phantom").commands
    assert "'probe=[knn,linear,logistic]'" in line


def test_set_of_ones_own_is_named_by_its_folder(tmp_path: Path) -> None:
    path = made_up_run(tmp_path, dataset="cells").parent / "run.json"
    description = json.loads(path.read_text())
    description["config"]["dataset"] |= {"root": "/my images", "subset": 300}
    write_sealed(path, description)
    (trained, _) = commands(tmp_path, dataset="cells")
    wanted = {"dataset=folder", "dataset.name=cells", "dataset.root=/my images", "dataset.subset=300"}
    assert wanted < set(trained)
