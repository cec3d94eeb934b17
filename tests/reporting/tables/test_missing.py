"""The command below a table fills its cell: it has what was typed, and what the neighbours were made with."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from made_tables import config_of, table_of
from stored_runs import change_dataset, change_record, made_up_run

from lowres_ssl.runs.run import Run


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
    assert random[3] == "method=random,random_calibrated"
    assert not any(word.startswith(("epochs", "batch_size")) for word in random)
    assert (
        "seed=0,1,2,3,4,5,6,7,8,9" in random
    )  # nothing is trained, so more seeds than the neighbours have cost little


def test_what_was_typed_goes_before_what_is_there(tmp_path: Path) -> None:
    made_up_run(tmp_path)
    typed = {"recipe": "tuned", "split": "patient", "split_seed": 3, "epochs": 9, "precision": "bf16"}
    (trained, _) = commands(tmp_path, dataset="phantom", **typed)
    for key, value in typed.items():
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


def test_settings_that_are_not_the_usual_are_typed(tmp_path: Path) -> None:
    made_up_run(tmp_path, settings={"k": 5})
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
    every = "method=dcl,simclr,simsiam,vicreg,random,random_calibrated"
    assert every in commands(tmp_path, dataset="phantom", recipe="paper")[0]


def test_rows_that_were_not_asked_for_are_no_holes(tmp_path: Path) -> None:
    made_up_run(tmp_path)
    table = table_of("paper2", tmp_path, dataset="phantom", entry=["dcl", "vicreg"])
    assert [line[0].text for line in table.blocks[0].lines] == ["DCL", "VICReg"]
    assert [line[3] for line in commands(tmp_path, dataset="phantom", entry=["dcl", "vicreg"])] == ["dataset=phantom"]


def test_set_of_ones_own_is_read_as_its_neighbours_were(tmp_path: Path) -> None:
    folder = made_up_run(tmp_path, dataset="cells").parent
    options = {"table": "labels of 2024.csv", "path": "file", "label": "label", "skip_missing": True}
    reading = {
        "source": "csv",
        "root": "x",
        "skip_unreadable": True,
        "grey_range": [-1000.0, 400.0],
        "options": options,
    }
    change_dataset(folder, **reading)
    (trained, _) = commands(tmp_path, dataset="cells")
    about = [word for word in trained if word.startswith("dataset")]
    assert about == [
        *("dataset=csv", "dataset.name=cells", "dataset.root=x", "dataset.skip_unreadable=true"),
        *("dataset.grey_range=[-1000.0,400.0]", "dataset.options.table=labels of 2024.csv"),
        *("dataset.options.path=file", "dataset.options.skip_missing=true"),
    ]


def with_images(output_dir: Path, dataset: str, images: str) -> None:
    """A run of a set of one's own, trained as that kind of picture."""
    folder = made_up_run(output_dir, dataset=dataset).parent
    change_dataset(folder, root="pictures")
    config = Run(folder).read().config
    change_record(folder, config=replace(config, images=replace(config.images, name=images)))


@pytest.mark.parametrize(("trained_as", "typed"), [("histology", False), ("xray", True)])
@pytest.mark.parametrize("base", ["folder", "phantom"])
def test_set_that_init_wrote_a_config_for_is_chosen_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained_as: str, typed: bool, base: str
) -> None:
    monkeypatch.setenv("LOWRES_SSL_CONF", str(tmp_path / "conf"))
    file = tmp_path / "conf" / "dataset" / "my_cells.yaml"
    file.parent.mkdir(parents=True)
    override = "  - override /images@_global_.images: histology\n" if base == "folder" else ""
    file.write_text(f"defaults:\n  - {base}\n{override}  - _self_\nname: my_cells\n")
    with_images(tmp_path / "outputs", "my_cells", trained_as)
    (words, _) = commands(tmp_path / "outputs", dataset="my_cells")
    assert "dataset=my_cells" in words
    assert not any(word.startswith("dataset.root") for word in words)
    assert (f"images={trained_as}" in words) is typed
    assert any(word.startswith("images=") for word in words) is typed
