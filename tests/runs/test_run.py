"""Runs on disk: their names and hashes, what is written, found and read, what is refused as damaged, what can go."""

import contextlib
import json
import math
import os
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from in_process import compose_config
from stored_runs import OUTCOME, made_up_config, made_up_identity, made_up_record, made_up_result, made_up_run, reseal

from lowres_ssl.config.experiment_schema import PretrainConfig
from lowres_ssl.errors import CheckpointError
from lowres_ssl.io.atomic import make_temp_folder, write_json
from lowres_ssl.io.checksummed_json import hash_content, hash_file
from lowres_ssl.runs.index import find_leftovers, read_index
from lowres_ssl.runs.result_io import find_result, read_predictions, read_result, write_result
from lowres_ssl.runs.run import Run, find_runs, find_runs_by_labels, get_identified_run, relocate_path
from lowres_ssl.runs.run_hash import build_training_identity, list_numeric_settings

IDENTITY, RECORD, RESULT = made_up_identity(epochs=250), made_up_record(), made_up_result()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = Run(tmp_path / "pretrain" / "breast-vicreg-bs64-s0-12345678")
    run.start(RECORD)
    return run


@pytest.mark.parametrize(
    ("label", "part"),
    [("my set", "my_set"), ("../../etc", ".._.._etc"), ("a/b\\c", "a_b_c"), ("Größe", "Gr_e"), ("v1.5_x", "v1.5_x")],
)
def test_name_is_one_plain_folder_that_ends_in_eight_letters_of_the_digest(
    tmp_path: Path, label: str, part: str
) -> None:
    run = get_identified_run(tmp_path, "pretrain", [label, "vicreg", "s0"], IDENTITY)
    assert run.folder == tmp_path / "pretrain" / f"{part}-vicreg-s0-{IDENTITY.digest[:8]}"


def test_digest_of_an_identity_leaves_out_what_is_none() -> None:
    known = {"images": "ab", "decoder": IDENTITY.decoder, "store": [40, 3, 16, 16], "split": IDENTITY.split}
    known |= {"precision": "fp32", "settings": {"seed": 0, "epochs": 250}}
    assert IDENTITY.digest == hash_content(known)
    assert replace(IDENTITY, processes=2).digest == hash_content(known | {"processes": 2})


def test_run_is_unfinished_from_its_start_to_its_finish(run: Run) -> None:
    assert run.read() == RECORD
    with pytest.raises(CheckpointError, match="not finished"):
        run.read_finished()
    run.encoder().write_bytes(b"weights")
    run.finish(OUTCOME)
    hashes = {"encoder.safetensors": hash_file(run.encoder())}
    assert run.read_finished() == replace(RECORD, outcome=replace(OUTCOME, encoders=hashes))
    with pytest.raises(CheckpointError, match=r"no run\.json there.*lowres-ssl runs$"):
        Run(run.folder / "none").read()


def test_file_that_is_gone_is_noticed(run: Run) -> None:
    run.classifier.write_bytes(b"as written")
    run.finish(OUTCOME)
    assert run.check_file(run.classifier, run.read()) == run.classifier
    run.classifier.unlink()
    with pytest.raises(CheckpointError, match=r"cannot be read.*force=true$"):
        run.check_file(run.classifier, run.read())


def test_finish_removes_the_checkpoint_and_what_a_killed_process_left_of_one(run: Run) -> None:
    with make_temp_folder(run.checkpoint) as in_hand:
        (run.folder / ".checkpoint.pt.abcdefgh.part").mkdir()
        for path in (run.checkpoint, run.encoder()):
            path.write_bytes(b"state")
        run.finish(OUTCOME)
        assert {path.name for path in run.folder.iterdir()} == {"encoder.safetensors", "run.json", in_hand.name}


def test_checkpoint_stays_where_the_outcome_cannot_be_written(run: Run) -> None:
    run.checkpoint.write_bytes(b"state")
    with pytest.raises(ValueError, match="JSON compliant"):
        run.finish(replace(OUTCOME, training_seconds=math.nan))
    assert run.checkpoint.exists()
    assert run.read().outcome is None


def test_discard_leaves_what_the_run_is_and_that_it_is_unfinished(run: Run) -> None:
    run.encoder().write_bytes(b"weights")
    write_result(run.folder / "knn-1", RESULT, {})
    run.finish(OUTCOME)
    run.checkpoint.write_bytes(b"state")
    run.discard()
    assert [path.name for path in run.folder.iterdir()] == ["run.json"]
    assert run.read() == RECORD
    (run.folder / "run.json").write_text("{")
    run.discard()
    assert list(run.folder.iterdir()) == []


def test_discard_that_dies_leaves_no_result_in_a_run_to_be_made_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was removed when it died: a result that is still there is of the encoder that is still there."""
    for removed in range(6):
        run.start(RECORD)
        run.encoder().write_bytes(b"weights")
        for name in ("knn-1", "linear-2"):
            write_result(run.folder / name, RESULT, {})
        run.finish(OUTCOME)
        left = [removed]

        def counted(path: Path, *, real: Any = shutil.rmtree, left: list[int] = left, **how: bool) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise KeyboardInterrupt
            real(path, **how)

        with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
            patched.setattr("shutil.rmtree", counted)
            run.discard()
        if list(run.results()):
            assert run.get_checked_encoder()


def test_last_encoder_is_the_chosen_one_unless_it_was_kept_apart(run: Run) -> None:
    assert run.encoder("last") == run.encoder("selected") == run.folder / "encoder.safetensors"
    assert run.features("last", "fp32") == run.features("selected", "fp32")
    (run.folder / "encoder-last.safetensors").touch()
    assert run.encoder("last") == run.folder / "encoder-last.safetensors"
    assert run.encoder("selected") == run.folder / "encoder.safetensors"
    assert run.features("last", "fp32") == run.folder / "features-encoder-last-fp32.safetensors"
    assert run.features("selected", "bf16") == run.folder / "features-encoder-bf16.safetensors"


def test_history_is_read_back_to_the_last_digit(run: Run) -> None:
    assert run.count_epochs() == 0
    lines = [
        {"epoch": 1.0, "loss": 0.1 + 0.2, "learning_rate": 1 / 3, "seconds": 1e-300},
        {"epoch": 2.0, "loss": math.pi * 1e17, "learning_rate": 5e-324, "seconds": -0.0},
    ]
    run.write_history(lines)
    assert run.history.read_text().splitlines()[0] == "epoch,loss,learning_rate,seconds"
    assert repr(run.read_history(RECORD)) == repr(lines)
    assert run.count_epochs() == 2


def test_result_is_read_back_with_its_predictions(run: Run) -> None:
    folder = run.result_folder("knn", {})
    assert find_result(folder) is None
    with pytest.raises(CheckpointError, match="gone"):
        read_result(folder)
    arrays = {"test_ids": np.array(["ä/1.png", "b/2.png"]), "test_scores": np.eye(2, dtype=np.float32)}
    written = write_result(folder, RESULT, arrays)
    assert written == replace(RESULT, predictions_sha256=hash_file(folder / "predictions.npz"))
    assert read_result(folder) == written
    stored = read_predictions(folder, written)
    assert sorted(stored) == sorted(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(stored[name], array)
    assert sorted(path.name for path in folder.iterdir()) == ["predictions.npz", "result.json"]


def test_result_that_cannot_be_written_counts_as_none(run: Run) -> None:
    folder = run.result_folder("knn", {})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_result(folder, replace(RESULT, seconds=math.nan), {"a": np.zeros(1)})
    with pytest.raises(ValueError, match="allow_pickle"):
        write_result(folder, RESULT, {"a": np.array([object()])})
    assert find_result(folder) is None


def test_results_are_those_of_the_run_in_order(run: Run) -> None:
    names = ["linear-1", "knn-2", "logistic-9", "knn-1", "a-5", "z-0", "m-3"]
    for name in names:
        write_result(run.folder / name, replace(RESULT, probe=name), {})
    (run.folder / "knn-unfinished").mkdir()
    assert [result.probe for _, result in run.results()] == sorted(names)


def test_runs_are_found_by_scanning_and_stand_in_order(tmp_path: Path) -> None:
    assert find_runs(tmp_path / "none") == []
    for name in ("pretrain/b", "pretrain/a", "evaluate/c", "elsewhere/d", "pretrain/a/deeper"):
        Run(tmp_path / name).start(RECORD)
    (tmp_path / "pretrain" / "no-run").mkdir()
    found = [run.folder.relative_to(tmp_path).as_posix() for run in find_runs(tmp_path)]
    assert found == ["pretrain/a", "pretrain/b", "evaluate/c"]


def test_runs_are_found_by_the_beginning_of_their_names(tmp_path: Path) -> None:
    made = [
        get_identified_run(tmp_path, "pretrain", [dataset, method, "bs8", "s0"], made_up_identity(number=number))
        for dataset, method in (("my cells", "dcl"), ("my cells", "dclw"), ("my cells-dcl", "dcl"))
        for number in (1, 2)
    ]
    for each in made:
        each.start(RECORD)
    (made[0].folder.parent / "my_cells-dcl-bs8-s0-copy").mkdir()
    assert {each.name for each in find_runs_by_labels(tmp_path, "pretrain", ["my cells", "dcl", "bs8", "s0"])} == {
        each.name for each in made[:2]
    }


@pytest.mark.parametrize("kept", ["checkpoint.pt", "checkpoint-previous.pt"])
def test_damaged_record_of_an_unfinished_run_costs_nothing(run: Run, kept: str) -> None:
    assert run.find_record_to_resume() == RECORD
    (run.folder / "run.json").write_text("{")
    with pytest.raises(CheckpointError):  # without a checkpoint nobody knows how far it was
        run.find_record_to_resume()
    (run.folder / kept).write_bytes(b"a checkpoint")
    assert run.find_record_to_resume() is None


@pytest.fixture
def run_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Made in `there`, with data/cells and outputs below it; we stand in `here`, with data/others."""
    (tmp_path / "there" / "data" / "cells").mkdir(parents=True)
    (tmp_path / "here" / "data" / "others").mkdir(parents=True)
    folder = tmp_path / "there" / "outputs" / "pretrain" / "cells-dcl"
    folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    return Run(Path("../there/outputs/pretrain/cells-dcl"))


@pytest.mark.parametrize(
    ("outputs", "path", "wanted"),
    [
        ("outputs", "data/cells", "there/data/cells"),
        ("outputs", "data/gone", None),
        ("outputs", "data/others", None),
        ("elsewhere/outputs", "data/cells", None),  # the run was moved
        ("../outputs", "data/cells", None),
        ("/outputs", "data/cells", None),
        ("outputs", "/data/cells", None),
    ],
)
def test_relative_path_is_looked_for_where_the_command_was_typed(
    run_elsewhere: Run, tmp_path: Path, outputs: str, path: str, wanted: str | None
) -> None:
    found = relocate_path(run_elsewhere, replace(made_up_config(), output_dir=outputs), path)
    assert found == (path if wanted is None else str(tmp_path / wanted))


@pytest.mark.parametrize("place", ["pretrain/a", "evaluate/a", "benchmark/cells-1a2b3c4d/pretrain/a"])
def test_decoded_images_of_a_run_stay_wherever_it_is(tmp_path: Path, place: str) -> None:
    for name in ("needed", "stale"):
        store = tmp_path / "stores" / name / "store.json"
        write_json(store, {})
        os.utime(store, (0, 0))
    Run(tmp_path / place).start(made_up_record(store="needed"))
    (tmp_path / ".gone.lock").symlink_to("removed meanwhile")
    assert [path.name for path in find_leftovers(tmp_path, tmp_path / "stores")] == ["stale"]


@pytest.mark.parametrize(
    ("name", "said"), [("result.json", "cannot be read"), ("predictions.npz", "not what its result was made from")]
)
def test_damaged_result_costs_no_other_of_its_run(tmp_path: Path, name: str, said: str) -> None:
    whole, damaged = made_up_run(tmp_path), made_up_run(tmp_path, probe="logistic")
    (damaged / name).write_text("{")
    frame, problems = read_index(tmp_path)
    assert list(frame["result"]) == [str(whole)]
    (problem,) = problems
    assert problem.startswith(f"{damaged / name}: {said}")
    (whole / "result.json").write_text("{")
    frame, problems = read_index(tmp_path)
    assert (list(frame["run"]), len(problems)) == ([damaged.parent.name], 2)
    assert frame["result"].isna().all()


FIRST_CONFIG = json.loads((Path(__file__).parent / "first_config.json").read_text())  # what a run stored first


def list_settings(*words: str) -> dict[str, Any]:
    return dict(list_numeric_settings(compose_config("dataset=phantom", *words), PretrainConfig))


def list_view_settings(*words: str) -> dict[str, Any]:
    return {key: value for key, value in list_settings(*words).items() if key.startswith("views.")}


@pytest.mark.parametrize("images", ["any", "xray", "histology"])
@pytest.mark.parametrize("recipe", ["paper", "released_code", "tuned"])
def test_steps_that_are_off_are_not_in_the_hash_of_any_recipe(recipe: str, images: str) -> None:
    settings = list_view_settings(f"recipe={recipe}", f"images={images}")
    assert list(settings) == [f"views.{key}" for key in FIRST_CONFIG["views"]]
    typed = ["views.elastic=0", "views.stain=0.0", "views.gamma=0"]
    assert list_view_settings(f"recipe={recipe}", f"images={images}", *typed) == settings


def test_seed_and_settings_are_in_the_hash_and_places_are_not() -> None:
    known = list_settings()
    assert list_settings("data_dir=elsewhere", "device=cpu", "checkpoint_seconds=5") == known
    for word in ("seed=1", "learning_rate=0.02", "views.grey=0.3"):
        assert list_settings(word) != known


@pytest.mark.parametrize("key", ["elastic", "stain", "gamma"])
def test_a_step_that_is_on_is_in_the_hash(key: str) -> None:
    off, on = list_view_settings(), list_view_settings(f"views.{key}=0.5")
    assert on == {**off, f"views.{key}": 0.5}


def test_a_run_of_before_a_key_was_there_has_the_value_that_changes_nothing(tmp_path: Path) -> None:
    """A key that was added since the first config needs a default."""
    run = Run(tmp_path / "run")
    run.start(made_up_record())
    path = run.folder / "run.json"
    reseal(path, json.loads(path.read_text()) | {"config": FIRST_CONFIG})
    config = run.read().config
    assert isinstance(config, PretrainConfig)
    assert (config.optimiser, config.scored_size, config.views.elastic) == ({"name": "sgd"}, None, 0.0)


@pytest.mark.parametrize(("optimiser", "counts"), [("sgd", True), ("lars", True), ("adamw", False)])
def test_momentum_is_in_the_hash_of_optimisers_that_have_one(optimiser: str, counts: bool) -> None:
    outline: Any = SimpleNamespace(
        catalogue=SimpleNamespace(digest="images"), split=SimpleNamespace(digest="split"), store_shape=(4, 3, 32, 32)
    )
    typed = ("dataset=phantom", f"optimiser={optimiser}")
    configs = [compose_config(*typed, f"momentum={momentum}") for momentum in (0.5, 0.9)]
    one, other = (build_training_identity(config, outline, "fp32", None, None).digest for config in configs)
    assert (one != other) == counts
