"""The command of a run composes the config that the run has."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra import compose
from stored_runs import made_up_run

from lowres_ssl.config.check import read_config, register_schemas
from lowres_ssl.config.experiment_schema import EvaluateConfig, PretrainConfig
from lowres_ssl.config.overrides import quote_text
from lowres_ssl.reporting.html.provenance import list_report_runs, list_run_commands
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.run import Run
from lowres_ssl.runs.stored_command import UNTYPED_KEYS, format_value, rebuild_overrides

register_schemas()
SCHEMAS: dict[str, type] = {"pretrain": PretrainConfig, "evaluate": EvaluateConfig}


def stored(command: str, words: list[str]) -> Any:
    """The config that these words make."""
    return read_config(compose(command, overrides=[quote_text(word) for word in words]), SCHEMAS[command])


@pytest.mark.usefixtures("composing")
@pytest.mark.parametrize(
    "words",
    [
        ["method=vicreg", "backbone=resnet18", "image_size=32", "epochs=2", "probe.knn.k=20", "recipe=tuned", "seed=1"],
        ["dataset=pneumonia", "recipe=tuned", "views.crop_scale=[0.3,1.0]", "initial_weights=a b.safetensors"],
        ["dataset=pneumonia", "method=dcl", "probe.linear.learning_rate=0.5", "label_fraction=[0.1,1.0]"],
        ["dataset=folder", "dataset.name=my cells, ~1", "dataset.root=/some where/it's", "images=xray", "data_dir=x"],
        ["dataset=folder", r"dataset.options.group_pattern=(p\d+)_", "method.temperature=0.2", "weight_decay=1e-05"],
    ],
)
def test_words_compose_the_config_of_the_run(words: list[str]) -> None:
    wanted = stored("pretrain", words)
    again = rebuild_overrides(wanted, trained=True)
    assert again is not None
    assert again[0] == "pretrain"
    got = stored("pretrain", again[1:])
    for key in vars(got).keys() - UNTYPED_KEYS:
        assert getattr(got, key) == getattr(wanted, key)
    assert len(again) <= len(words) + 6, "nothing but what was typed, and the choices"


@pytest.mark.usefixtures("composing")
def test_weights_that_were_scored_are_scored_again() -> None:
    wanted = stored("evaluate", ["weights=a.safetensors", "dataset=breast", "backbone=resnet18", "image_size=64"])
    assert rebuild_overrides(wanted, trained=False) == [
        "evaluate",
        "dataset=breast",
        "backbone=resnet18",
        "probe=[knn,linear]",
        "image_size=64",
        "weights=a.safetensors",
    ]


@pytest.mark.usefixtures("composing")
def test_untrained_encoder_is_told_without_how_the_one_beside_it_was_trained() -> None:
    beside = stored("pretrain", ["method=vicreg", "recipe=tuned", "epochs=7", "seed=3", "batch_size=16"])
    words = rebuild_overrides(replace(beside, method={"name": "random"}), trained=False)
    assert words == [
        "pretrain",
        "dataset=phantom",
        "backbone=resnet50",
        "method=random",
        "recipe=tuned",
        "probe=[knn,linear]",
        "seed=3",
    ]


@pytest.mark.usefixtures("composing")
def test_folders_are_told_only_if_they_may_be() -> None:
    config = stored("pretrain", ["dataset=folder", "dataset.root=/ward/smith", "data_dir=/ward"])
    told, untold = (rebuild_overrides(config, trained=True, paths=paths) for paths in (True, False))
    assert told is not None
    assert untold is not None
    assert any("/ward/smith" in word for word in told)
    assert not any("ward" in word for word in untold)
    assert "dataset.root=FOLDER" in untold


@pytest.mark.usefixtures("composing")
def test_choice_without_a_file_has_no_command() -> None:
    config = stored("pretrain", [])
    assert rebuild_overrides(replace(config, method={"name": "weights"}), trained=False) is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (0.1, "0.1"),
        ("tuned", "tuned"),
        ("null", "'null'"),
        ("a, b", "'a, b'"),
        ([[1.0, 0.5], "x y"], "[[1.0,0.5],'x y']"),
        ({"k": 3}, "{k:3}"),
    ],
)
def test_value_is_written_as_hydra_reads_it(value: object, text: str) -> None:
    assert format_value(value) == text


@pytest.mark.usefixtures("composing")
def test_scores_made_later_have_commands_of_their_own(tmp_path: Path) -> None:
    folder = made_up_run(tmp_path, probe="knn", settings={"k": 20})
    made_up_run(tmp_path, probe="logistic")
    made_up_run(tmp_path, probe="logistic", label_fraction=0.1)
    run = Run(folder.parent)
    knn = {"name": "knn", "k": 200, "vote": "uniform", "temperature": 0.1, "metric": "euclidean", "encoder": "selected"}
    config = replace(stored("pretrain", ["probe=[knn]", "method=dcl"]), probe={"knn": knn})
    run.start(replace(run.read(), config=config))
    lines = list_run_commands(run, tmp_path, paths=True)
    place = f"output_dir={tmp_path}"
    assert lines[0].startswith("lowres-ssl pretrain dataset=phantom ")
    assert lines[0].endswith(place)
    assert lines[1:] == [
        f"lowres-ssl evaluate run={run.name} 'probe=[knn]' probe.knn.k=20 {place}",
        f"lowres-ssl evaluate run={run.name} 'probe=[logistic]' 'probe.logistic.strengths=[0.1,1.0]' "
        f"'label_fraction=[0.1,1]' {place}",
    ]
    (listed,) = list_report_runs(read_index(tmp_path)[0], tmp_path, paths=True)
    assert listed.commands == lines


@pytest.mark.usefixtures("composing")
def test_list_of_runs_says_which_have_learnt_nothing_or_are_collapsing(tmp_path: Path) -> None:
    made_up_run(tmp_path, method="dcl", embedding_std=0.9, loss=4.8, chance_loss=4.84)
    made_up_run(tmp_path, method="simsiam", embedding_std=0.05)
    made_up_run(tmp_path, method="vicreg", embedding_std=0.9)
    listed = list_report_runs(read_index(tmp_path)[0], tmp_path, paths=True)
    assert {each.entry: each.state for each in listed} == {
        "dcl": "finished, learnt nothing",
        "simsiam": "finished, collapsing",
        "vicreg": "finished",
    }
