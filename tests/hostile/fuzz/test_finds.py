"""What fuzzing found, each as a test of its own."""

import io
import json
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from damage import sealed_text
from hydra import compose, initialize_config_module
from stored_runs import made_up_run
from stored_targets import open_again, stores_written

from lowres_ssl.config.check import register_schemas
from lowres_ssl.config.error_messages import describe_error
from lowres_ssl.data.archives import unpack_archive
from lowres_ssl.errors import CheckpointError, DataError
from lowres_ssl.inference.predict import load_stored_probe
from lowres_ssl.io.checksummed_json import write_checked_json
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.result_io import read_predictions, write_result
from lowres_ssl.runs.run import Run


@pytest.mark.parametrize(("key", "note"), [("method", "method is missing"), ("batch_size", "no batch_size")])
def test_run_that_does_not_say_what_tables_go_by_is_a_note(tmp_path: Path, key: str, note: str) -> None:
    """It stood in tables without a name, and comparing it, or choosing the best batch size beside it, was a crash."""
    path = made_up_run(tmp_path).parent / "run.json"
    content = json.loads(path.read_text())
    del content[key]
    write_checked_json(path, content)
    frame, problems = read_index(tmp_path)
    assert frame.empty
    assert len(problems) == 1
    assert note in problems[0]


def test_precision_that_is_none_is_no_part_of_a_file_name(tmp_path: Path) -> None:
    """The system found the name too long, in a traceback; another could have pointed elsewhere."""
    folder = made_up_run(tmp_path)
    result = json.loads((folder / "result.json").read_text()) | {"precision": "a" * 300}
    with pytest.raises(CheckpointError, match="none of fp32, bf16, fp16"):
        load_stored_probe(Run(folder.parent), folder, result, 8)


def test_predictions_that_are_no_zip_are_closed_again(tmp_path: Path) -> None:
    """NumPy left the file open; a sweep would run out of them."""
    (tmp_path / "predictions.npz").write_bytes(b"PK\x03\x04 and no more")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(CheckpointError, match="cannot be read"):
            read_predictions(tmp_path)


def test_array_whose_header_is_no_python_is_made_anew(tmp_path: Path) -> None:
    content = next(stores_written().rglob("images.npy")).read_bytes()
    open_again(("images.npy", content.replace(b"{'descr", b"'{'desc", 1)), tmp_path)


@pytest.mark.parametrize("name", ["id", "size", "reason"])
def test_store_that_somebody_else_wrote_is_made_anew(tmp_path: Path, name: str) -> None:
    content = json.loads(next(stores_written().rglob("store.json")).read_bytes())
    if name == "id":
        content["ids"][0] = None
    elif name == "size":
        content["sizes"][0] = [2**31, 4]
    else:
        content["dropped"] = {content["ids"].pop(): 3}
        content["sizes"].pop()
    open_again(("store.json", sealed_text(content)), tmp_path)


def test_history_that_is_no_text_is_counted(tmp_path: Path) -> None:
    (tmp_path / "history.csv").write_bytes(b"epoch\n1\n\xff\xfe\n")
    assert Run(tmp_path).epochs_done() == 2


def test_zip_entry_without_a_name_is_refused(tmp_path: Path) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        file.writestr(zipfile.ZipInfo(""), b"x")
    (tmp_path / "x.zip").write_bytes(content.getvalue())
    (tmp_path / "into").mkdir()
    with pytest.raises(DataError, match="no name for a file"):
        unpack_archive(tmp_path / "x.zip", tmp_path / "into")


@pytest.mark.parametrize("override", ["~backbone=1", "~method=[1]"])
def test_group_taken_away_with_a_number_is_one_line(override: str) -> None:
    register_schemas()
    with initialize_config_module("lowres_ssl.conf", version_base="1.3"):
        with pytest.raises(Exception, match=r".") as caught:
            compose("pretrain", overrides=[override])
        message, code = describe_error(caught.value, "pretrain")
    assert message is not None
    assert "\n" not in message
    assert code == 2


def test_prediction_of_a_class_that_is_none_is_damage(tmp_path: Path) -> None:
    folder = made_up_run(tmp_path, images=12)
    with np.load(folder / "predictions.npz") as file:
        arrays = dict(file)
    arrays["test_predictions"] = arrays["test_predictions"] + 100
    result = json.loads((folder / "result.json").read_text())
    write_result(folder, result, arrays)
    made_up_run(tmp_path, seed=1, images=12)
    from lowres_ssl.runs.pairwise import compare_methods
    from lowres_ssl.runs.query import ResultFilters, select_columns

    frame, _ = read_index(tmp_path)
    (column,) = select_columns(frame, ResultFilters())
    with pytest.raises(CheckpointError, match=r"test_predictions in predictions\.npz are not those of 12 images"):
        compare_methods(column, "accuracy", "best", imagenet="imagenet", draws=100)
