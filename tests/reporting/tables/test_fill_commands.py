"""The command below a table fills its cell as its neighbours were typed; the report has the commands of each run."""

import shlex
from pathlib import Path

import pytest
from made_tables import config_of, table_of
from stored_runs import change_record, made_up_run

from lowres_ssl.reporting.html.sections import list_report_runs
from lowres_ssl.reporting.stored import list_run_commands
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.run import Run


def commands(output_dir: Path, name: str = "paper2", **filters: object) -> list[list[str]]:
    return [shlex.split(line) for line in table_of(name, output_dir, **filters).commands]


def test_command_is_as_the_neighbours_were_typed(tmp_path: Path) -> None:
    for seed in (0, 1):
        for batch_size in (16, 64):
            made_up_run(tmp_path, seed=seed, batch_size=batch_size, split="official", epochs=7)
    trained, random = commands(tmp_path, dataset="phantom")
    shared = ["dataset=phantom", "recipe=paper", "backbone=resnet18", "image_size=64", "epochs=7", "split=official"]
    assert trained == [
        *("lowres-ssl", "pretrain", "-m", "method=simclr,simsiam,vicreg", *shared),
        *("split_seed=0", "batch_size=16,64", "seed=0,1", f"output_dir={tmp_path}"),
    ]
    assert random[3] == "method=random,random_calibrated"
    assert not any(word.startswith(("epochs", "batch_size")) for word in random)
    # Nothing is trained, so more seeds than the neighbours have cost little.
    assert "seed=0,1,2,3,4,5,6,7,8,9" in random


def test_words_that_only_some_neighbours_have_are_left_out_but_for_those_on_images(tmp_path: Path) -> None:
    shared = ["dataset=csv", "dataset.name=cells", "dataset.root=/a b", "images=xray", "recipe=tuned"]
    own = (["method=dcl", "method.temperature=0.2", "momentum=0.8"], ["method=vicreg", "seed=1"])
    for method, words in zip(("dcl", "vicreg"), own, strict=True):
        folder = made_up_run(tmp_path, dataset="cells", method=method, recipe="tuned").parent
        change_record(folder, typed=("pretrain", *shared, *words, "tracker=mlflow"))
    trained, _ = commands(tmp_path, dataset="cells")
    assert trained[3:] == [
        "method=simclr,simsiam",
        *shared,
        *("split_seed=0", "batch_size=64", "seed=0", f"output_dir={tmp_path}"),
    ]


def test_what_was_typed_goes_before_what_is_there(tmp_path: Path) -> None:
    made_up_run(tmp_path)
    typed = {"recipe": "tuned", "split": "patient", "split_seed": 3, "epochs": 9, "precision": "bf16"}
    (trained, _) = commands(tmp_path, dataset="phantom", optimiser="lars", storage_size=96, **typed)
    for key, value in (typed | {"optimiser": "lars", "dataset.storage_size": 96}).items():
        assert f"{key}={value}" in trained


def test_empty_outputs_give_a_command_that_takes_the_defaults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOWRES_SSL_OUTPUTS", str(tmp_path))
    (line,) = commands(tmp_path, dataset="breast")
    assert line == [
        "lowres-ssl",
        "pretrain",
        "-m",
        "method=dcl,simclr,simsiam,vicreg,random,random_calibrated",
        "dataset=breast",
    ]


def test_settings_of_most_neighbours_that_the_command_would_not_compose_are_typed(tmp_path: Path) -> None:
    for method, k in (("dcl", 5), ("vicreg", 5), ("vicreg", 7), ("dcl", 7), ("vicreg", 200)):
        made_up_run(tmp_path, method=method, settings={"k": k})
    (trained, _) = commands(tmp_path, dataset="phantom")
    assert [word for word in trained if word.startswith("probe")] == ["probe.knn.k=5"]


def test_run_that_only_lacks_the_score_is_scored(tmp_path: Path) -> None:
    run = made_up_run(tmp_path).parent.name
    lines = commands(tmp_path, "paper3", dataset="phantom")
    assert lines[0] == ["lowres-ssl", "evaluate", f"run={run}", "probe=[linear]", f"output_dir={tmp_path}"]


def test_probe_that_pretrain_does_not_run_by_itself_is_named(tmp_path: Path) -> None:
    config = config_of("paper2", probe=["logistic"])
    line, *_ = table_of("x", tmp_path, config=config, dataset="phantom").commands
    assert "'probe=[knn,linear,logistic]'" in line


def test_setting_that_was_typed_goes_to_the_probes_that_have_it(tmp_path: Path) -> None:
    for probe in ("knn", "linear"):
        made_up_run(tmp_path, probe=probe, settings={"settings_from": "tuned"} if probe == "linear" else None)
    typed = {"dataset": "phantom", "settings": "settings_from=tuned"}
    assert "probe.knn" not in str(commands(tmp_path, "paper2", **typed))
    train, tune, *scored = commands(tmp_path, "paper3", **typed)
    assert train[:4] == ["lowres-ssl", "pretrain", "-m", "method=simclr,simsiam,vicreg"]
    assert "evaluate=false" in train
    assert "settings_from" not in str([train, tune])
    words = ["dataset=phantom", "recipe=paper", "method=[simclr,simsiam,vicreg]"]
    assert tune == ["lowres-ssl", "tune", *words, f"output_dir={tmp_path}"]
    assert scored[0][:4] == train[:4]
    for line in (scored[0], scored[-1]):
        assert line.count("probe.linear.settings_from=tuned") == 1


def test_released_codes_dcl_is_asked_for_by_its_own_name(tmp_path: Path) -> None:
    made_up_run(tmp_path, method="vicreg", recipe="released_code")
    for filters in ({}, {"recipe": "released_code"}):
        assert "method=dclw,simclr,simsiam" in commands(tmp_path, dataset="phantom", **filters)[0]
    every = "method=dcl,simclr,simsiam,vicreg"
    assert every in commands(tmp_path, dataset="phantom", recipe="paper")[0]


def test_rows_that_were_not_asked_for_are_no_holes(tmp_path: Path) -> None:
    made_up_run(tmp_path)
    table = table_of("paper2", tmp_path, dataset="phantom", entry=["dcl", "vicreg"])
    assert [line[0].text for line in table.blocks[0].lines] == ["DCL", "VICReg"]
    assert [line[3] for line in commands(tmp_path, dataset="phantom", entry=["dcl", "vicreg"])] == ["dataset=phantom"]


def test_run_has_its_own_command_and_one_for_each_later_scoring(tmp_path: Path) -> None:
    run = made_up_run(tmp_path).parent
    made_up_run(tmp_path, settings={"k": 20})
    made_up_run(tmp_path, probe="logistic")
    made_up_run(tmp_path, probe="logistic", label_fraction=0.1)
    change_record(run, typed=("pretrain", "dataset=phantom", "method=dcl", "force=true", "store_dir=x"))
    place = f"output_dir={tmp_path}"
    ((_, _, listed),) = list_report_runs(read_index(tmp_path)[0], tmp_path, paths=True)
    again = f"lowres-ssl evaluate run={run.name}"
    assert sorted(listed) == [
        f"{again} 'probe=[knn]' probe.knn.k=20 {place}",
        f"{again} 'probe=[logistic]' 'probe.logistic.strengths=[0.1,1.0]' probe.logistic.max_iterations=1000 "
        f"'label_fraction=[0.1,1]' {place}",
        f"lowres-ssl pretrain dataset=phantom method=dcl {place}",
    ]


def test_folders_are_shown_only_if_they_may_be(tmp_path: Path) -> None:
    folder = made_up_run(tmp_path).parent
    change_record(folder, typed=("pretrain", "dataset=folder", "dataset.root=/ward/smith", "data_dir=/ward"))
    shown, hidden = (list_run_commands(Run(folder), tmp_path, paths=paths) for paths in (True, False))
    assert shown == [
        f"lowres-ssl pretrain dataset=folder dataset.root=/ward/smith data_dir=/ward output_dir={tmp_path}"
    ]
    assert hidden == ["lowres-ssl pretrain dataset=folder dataset.root=FOLDER data_dir=FOLDER"]
