"""Runs on disk: their names, what is written, found and read, and what is said of damage."""

import contextlib
import csv
import json
import math
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lowres_ssl.errors import CheckpointError, DataError
from lowres_ssl.io.atomic import check_writable, make_temp_file
from lowres_ssl.io.checksummed_json import FORMAT_VERSIONS, hash_content, hash_file
from lowres_ssl.runs.result_io import read_predictions, read_result, write_result
from lowres_ssl.runs.run import Run, find_runs, find_runs_by_labels, get_run_by_identity

IDENTITY = {"seed": 0, "images": {"digest": "ab", "mean": [0.5, 0.25]}, "training": {"epochs": 250}}
DAMAGE = {
    "empty": b"",
    "cut off": b'{"schema": 1, "fini',
    "not text": b"\x80\xff\x00",
    "a list": b"[1, 2]",
    "a number": b"3",
    "null": b"null",
    "another schema": b'{"schema": 999}',
    "no schema": b"{}",
}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "pretrain" / "breast-vicreg-bs64-s0-12345678")


def turned(value: Any) -> Any:
    """The same keys and values, each dict the other way round."""
    return {key: turned(value[key]) for key in reversed(value)} if isinstance(value, dict) else value


def test_name_says_what_the_run_is_and_ends_in_eight_letters_of_its_digest(tmp_path: Path) -> None:
    run = get_run_by_identity(tmp_path, "pretrain", ["breast", "vicreg", "bs64", "s0"], IDENTITY)
    assert run.folder == tmp_path / "pretrain" / f"breast-vicreg-bs64-s0-{hash_content(IDENTITY)[:8]}"
    assert run.name == run.folder.name


def test_digest_is_pinned() -> None:
    """A change here makes every finished run a stranger."""
    assert hash_content({"b": [1, 2.5, None, True], "a": "ä"}) == (
        "70ad804d232fe65934ffb82489079c89a49a4e70122ef3f137e3a3f5b15fa6d4"
    )


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert list(turned(IDENTITY)) != list(IDENTITY)
    assert hash_content(turned(IDENTITY)) == hash_content(IDENTITY)


@pytest.mark.parametrize(
    "changed",
    [
        IDENTITY | {"seed": 1},
        IDENTITY | {"seed": "0"},
        IDENTITY | {"more": None},
        IDENTITY | {"images": {"digest": "ab", "mean": [0.25, 0.5]}},
        {key: value for key, value in IDENTITY.items() if key != "seed"},
    ],
)
def test_digest_depends_on_every_value(changed: dict[str, Any]) -> None:
    assert hash_content(changed) != hash_content(IDENTITY)


def test_digest_of_nan_is_refused() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        hash_content({"rate": float("nan")})


@pytest.mark.parametrize(
    ("label", "part"),
    [("my set", "my_set"), ("../../etc", ".._.._etc"), ("a/b\\c", "a_b_c"), ("Größe", "Gr_e"), ("v1.5_x", "v1.5_x")],
)
def test_name_is_one_plain_folder_whatever_the_data_set_is_called(tmp_path: Path, label: str, part: str) -> None:
    run = get_run_by_identity(tmp_path, "pretrain", [label, "vicreg"], IDENTITY)
    assert run.folder.parent == tmp_path / "pretrain"
    assert run.name.startswith(f"{part}-vicreg-")


def test_result_folder_is_that_of_the_probe_and_its_settings(run: Run) -> None:
    settings = {"settings": {"k": 200, "vote": "uniform"}, "precision": "fp32"}
    folder = run.result_folder("knn", settings)
    assert folder == run.folder / f"knn-{hash_content(settings)[:8]}"
    assert run.result_folder("knn", turned(settings)) == folder
    assert run.result_folder("knn", settings | {"precision": "bf16"}) != folder


def test_run_is_unfinished_from_its_start_to_its_finish(run: Run) -> None:
    assert run.read() is None
    run.start({"method": "vicreg", "identity": IDENTITY})
    assert run.read() == {"schema": FORMAT_VERSIONS["run"], "finished": False, "method": "vicreg", "identity": IDENTITY}
    run.finish(epochs=250, commit=None)
    assert run.read() == {
        "schema": FORMAT_VERSIONS["run"],
        "finished": True,
        "method": "vicreg",
        "identity": IDENTITY,
        "epochs": 250,
        "commit": None,
        "encoders": {},
        "files": {},
    }


def test_encoder_that_is_not_the_one_written_is_noticed(run: Run) -> None:
    run.start({})
    run.encoder().write_bytes(b"weights")
    run.finish()
    assert run.get_checked_encoder() == run.encoder()
    run.encoder().write_bytes(b"Weights")
    with pytest.raises(CheckpointError, match=r"not the encoder that this run wrote.*force=true$"):
        run.get_checked_encoder()
    run.encoder().unlink()
    with pytest.raises(CheckpointError, match=r"cannot be read.*force=true$"):
        run.get_checked_encoder()


def test_finish_removes_the_checkpoint_and_nothing_else(run: Run) -> None:
    run.start({})
    run.checkpoint.write_bytes(b"state")
    run.encoder().write_bytes(b"weights")
    run.finish()
    assert sorted(path.name for path in run.folder.iterdir()) == ["encoder.safetensors", "run.json"]
    run.finish(again=True)
    assert run.description()["again"] is True


def test_finish_removes_what_a_killed_process_left_of_a_checkpoint(run: Run) -> None:
    run.start({})
    descriptor, in_hand = make_temp_file(run.checkpoint)
    left = run.folder / ".checkpoint.pt.abcdefgh.part"
    left.write_bytes(b"sta")
    run.finish()
    assert not left.exists()
    assert in_hand.exists(), "its process is still at work"
    os.close(descriptor)


def test_checkpoint_stays_where_the_outcome_cannot_be_written(run: Run) -> None:
    run.start({})
    run.checkpoint.write_bytes(b"state")
    with pytest.raises(ValueError, match="JSON compliant"):
        run.finish(training_seconds=math.nan)
    assert run.checkpoint.exists()
    assert run.description()["finished"] is False


def test_description_of_no_run_says_where_to_see_them(run: Run) -> None:
    with pytest.raises(CheckpointError, match=r"no run\.json there.*lowres-ssl runs$"):
        run.description()


def test_discard_leaves_what_the_run_is_and_that_it_is_unfinished(run: Run) -> None:
    run.discard()
    run.start({"method": "dcl"})
    run.encoder().write_bytes(b"weights")
    write_result(run.folder / "knn-1", {"probe": "knn"}, {})
    run.finish()
    run.checkpoint.write_bytes(b"state")
    run.discard()
    assert [path.name for path in run.folder.iterdir()] == ["run.json"]
    assert (run.description()["method"], run.description()["finished"]) == ("dcl", False)


def test_discard_of_a_run_that_cannot_be_read_leaves_nothing(run: Run) -> None:
    run.start({})
    (run.folder / "run.json").write_text("{")
    run.discard()
    assert list(run.folder.iterdir()) == []


def test_discard_that_dies_leaves_no_result_in_a_run_to_be_made_again(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever was removed when it died: a result that is still there is of the encoder that is still there."""

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    for removed in range(4):
        run.start({})
        run.encoder().write_bytes(b"weights")
        for name in ("knn-1", "linear-2"):
            write_result(run.folder / name, {"probe": name}, {})
        run.finish()
        left = [removed]

        def counted(path: Path, *, real: Any = shutil.rmtree, left: list[int] = left) -> None:
            left[0] -= 1
            if left[0] < 0:
                dies()
            real(path)

        with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
            patched.setattr("shutil.rmtree", counted)
            run.discard()
        if list(run.results()):
            assert run.description()["finished"]
            assert run.get_checked_encoder()


def test_last_encoder_is_the_chosen_one_unless_it_was_kept_apart(run: Run) -> None:
    run.start({})
    assert run.encoder("last") == run.encoder("selected") == run.folder / "encoder.safetensors"
    assert run.features("last", "fp32") == run.features("selected", "fp32")
    (run.folder / "encoder-last.safetensors").touch()
    assert run.encoder("last") == run.folder / "encoder-last.safetensors"
    assert run.encoder("selected") == run.folder / "encoder.safetensors"
    assert run.features("last", "fp32") == run.folder / "features-encoder-last-fp32.safetensors"
    assert run.features("selected", "bf16") == run.folder / "features-encoder-bf16.safetensors"


def test_history_is_read_back_to_the_last_digit(run: Run) -> None:
    lines = [
        {"epoch": 1, "loss": 0.1 + 0.2, "learning_rate": 1 / 3, "seconds": 1e-300},
        {"epoch": 2, "loss": math.pi * 1e17, "learning_rate": 5e-324, "seconds": -0.0},
    ]
    run.write_history(lines)
    text = (run.folder / "history.csv").read_text()
    assert text.splitlines()[0] == "epoch,loss,learning_rate,seconds"
    read = [{key: float(value) for key, value in line.items()} for line in csv.DictReader(text.splitlines())]
    assert [list(map(repr, line.values())) for line in read] == [
        [repr(float(value)) for value in line.values()] for line in lines
    ]


@pytest.mark.parametrize("epochs", [1, 2, 5])
def test_epochs_done_are_those_of_the_history(run: Run, epochs: int) -> None:
    assert run.epochs_done() == 0
    run.write_history([{"epoch": n, "loss": 0.5} for n in range(9)])
    run.write_history([{"epoch": n, "loss": 0.5} for n in range(epochs)])
    assert run.epochs_done() == epochs


def test_result_is_read_back_with_its_predictions(run: Run) -> None:
    folder = run.result_folder("knn", {})
    assert read_result(folder) is None
    arrays = {"test_ids": np.array(["ä/1.png", "b/2.png"]), "test_scores": np.eye(2, dtype=np.float32)}
    write_result(folder, {"probe": "knn", "test": {"accuracy": 0.5}}, arrays)
    result = {"schema": FORMAT_VERSIONS["result"], "probe": "knn", "test": {"accuracy": 0.5}}
    assert read_result(folder) == result | {"predictions_sha256": hash_file(folder / "predictions.npz")}
    with np.load(folder / "predictions.npz", allow_pickle=False) as stored:
        assert sorted(stored) == sorted(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(stored[name], array)
    assert sorted(path.name for path in folder.iterdir()) == ["predictions.npz", "result.json"]


def test_result_that_cannot_be_written_counts_as_none(run: Run) -> None:
    folder = run.result_folder("knn", {})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_result(folder, {"accuracy": math.nan}, {"a": np.zeros(1)})
    assert read_result(folder) is None
    with pytest.raises(ValueError, match="allow_pickle"):
        write_result(folder, {"accuracy": 1.0}, {"a": np.array([object()])})
    assert read_result(folder) is None


def test_results_are_those_of_the_run_in_order(run: Run) -> None:
    run.start({})
    names = ["linear-1", "knn-2", "logistic-9", "knn-1", "a-5", "z-0", "m-3"]
    for name in names:
        write_result(run.folder / name, {"probe": name}, {})
    (run.folder / "knn-unfinished").mkdir()
    assert [result["probe"] for _, result in run.results()] == sorted(names)


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_damaged_run_is_one_line_with_the_repair(run: Run, content: bytes) -> None:
    run.start({})
    (run.folder / "run.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"type its pretrain command again with force=true$") as caught:
        run.read()
    assert str(caught.value).startswith(str(run.folder / "run.json"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_damaged_result_is_one_line_with_the_repair(run: Run, content: bytes) -> None:
    folder = run.folder / "knn-1"
    write_result(folder, {}, {})
    (folder / "result.json").write_bytes(content)
    for read in (lambda: read_result(folder), lambda: list(run.results())):
        with pytest.raises(CheckpointError) as caught:
            read()
        assert str(caught.value).startswith(str(folder / "result.json"))
        assert str(caught.value).endswith(f"such as lowres-ssl evaluate run={run.folder}")
        assert "\n" not in str(caught.value)


def test_folder_in_the_place_of_a_file_is_damage(run: Run) -> None:
    (run.folder / "run.json").mkdir(parents=True)
    with pytest.raises(CheckpointError, match=r"cannot be read .*; type its pretrain command again with force=true$"):
        run.read()


def test_other_schema_says_that_another_version_wrote_it(run: Run) -> None:
    run.start({})
    (run.folder / "run.json").write_text(json.dumps({"schema": FORMAT_VERSIONS["run"] + 1}))
    with pytest.raises(
        CheckpointError, match="wanted versions 1 to 2, written by a newer lowres-ssl; use that one, or type its"
    ):
        run.read()


def test_runs_are_found_by_scanning_and_stand_in_order(tmp_path: Path) -> None:
    assert find_runs(tmp_path / "none") == []
    for name in ("pretrain/b", "pretrain/a", "evaluate/c"):
        Run(tmp_path / name).start({})
    (tmp_path / "pretrain" / "no-run").mkdir()
    Run(tmp_path / "elsewhere" / "d").start({})
    Run(tmp_path / "pretrain" / "a" / "deeper").start({})
    assert [run.folder.relative_to(tmp_path).as_posix() for run in find_runs(tmp_path)] == [
        "pretrain/a",
        "pretrain/b",
        "evaluate/c",
    ]


@pytest.mark.parametrize("place", ["", "new", "new/deeper"])
def test_place_that_can_be_written_is_made_and_left_empty(tmp_path: Path, place: str) -> None:
    check_writable(tmp_path / place)
    assert list((tmp_path / place).iterdir()) == []


@pytest.mark.parametrize("place", ["taken", "taken/deeper"])
def test_place_that_is_a_file_is_refused_with_what_to_type(tmp_path: Path, place: str) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(DataError, match=r"cannot be written to \(.+\); .*output_dir=FOLDER$") as caught:
        check_writable(tmp_path / place)
    assert str(caught.value).startswith(f"output_dir={tmp_path / place}: ")
    assert (tmp_path / "taken").read_text() == "a file"


def test_predictions_of_another_result_are_noticed(run: Run) -> None:
    """As a copy by hand that went wrong, or a kill between the two files."""
    one, other = (run.folder / name for name in ("knn-1", "knn-2"))
    write_result(one, {"probe": "knn"}, {"test_labels": np.array([0, 1])})
    write_result(other, {"probe": "knn"}, {"test_labels": np.array([1, 1])})
    assert read_predictions(one)["test_labels"].tolist() == [0, 1]
    (one / "predictions.npz").write_bytes((other / "predictions.npz").read_bytes())
    with pytest.raises(CheckpointError, match=r"not what its result was made from, .* lowres-ssl evaluate run="):
        read_predictions(one)


@pytest.mark.parametrize("name", ["history.csv", "classifier.safetensors"])
def test_history_and_classifier_are_checked_where_the_run_wrote_down_what_they_were(run: Run, name: str) -> None:
    run.start({})
    path = run.folder / name
    path.write_bytes(b"as written")
    run.finish()
    assert run.checked(path, run.description()) == path
    path.write_bytes(b"as damaged")
    with pytest.raises(CheckpointError, match=rf"{name}: not what this run wrote, or damaged; .* force=true$"):
        run.checked(path, run.description())


@pytest.mark.parametrize("kept", ["checkpoint.pt", "checkpoint-previous.pt"])
def test_damaged_description_of_an_unfinished_run_costs_nothing(
    run: Run, kept: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run.start({})
    assert run.read_to_resume() == run.read()
    (run.folder / "run.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):  # without a checkpoint nobody knows how far it was
        run.read_to_resume()
    (run.folder / kept).write_bytes(b"a checkpoint")
    assert run.read_to_resume() is None
    assert "run.json: damaged; written anew, and the run goes on from its checkpoint" in capsys.readouterr().err
    (run.folder / "run.json").write_text(json.dumps({"schema": FORMAT_VERSIONS["run"] + 1}))
    with pytest.raises(CheckpointError, match="written by a newer lowres-ssl"):  # not ours to overwrite
        run.read_to_resume()


def test_runs_are_found_by_the_beginning_of_their_names(tmp_path: Path) -> None:
    made = [
        get_run_by_identity(tmp_path, "pretrain", [dataset, method, "bs8", "s0"], {"number": number})
        for dataset, method in (("my cells", "dcl"), ("my cells", "dclw"), ("my cells-dcl", "dcl"))
        for number in (1, 2)
    ]
    for each in made:
        each.start({})
    (made[0].folder.parent / "my_cells-dcl-bs8-s0-copy").mkdir()
    assert {each.name for each in find_runs_by_labels(tmp_path, "pretrain", ["my cells", "dcl", "bs8", "s0"])} == {
        each.name for each in made[:2]
    }
