"""Every stored format says its version: this one and older ones that are understood are read, others refused (4)."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from stored_runs import made_up_run

from lowres_ssl.benchmark.plan import NEW_PLAN_HINT
from lowres_ssl.data.pseudonyms import Pseudonyms
from lowres_ssl.encoders.weights_file import load_tensors, save_tensors
from lowres_ssl.errors import CheckpointError
from lowres_ssl.evaluate.tuned_settings import read_tuned_settings, write_tuned_settings
from lowres_ssl.io.atomic import write_json
from lowres_ssl.io.checksummed_json import (
    CHECKSUM_KEY,
    FORMAT_VERSIONS,
    OLDEST_VERSIONS,
    read_record,
    write_checked_json,
)
from lowres_ssl.runs.index import read_index
from lowres_ssl.runs.pairwise import compare_methods
from lowres_ssl.runs.query import ResultFilters, select_columns
from lowres_ssl.runs.result_io import read_predictions, read_result, write_result
from lowres_ssl.runs.run import Run

PSEUDONYMS = Pseudonyms(bytes(32))


def set_version(path: Path, key: str, version: object) -> None:
    """What a writer of that version would have left: the first one had no seal."""
    content = {name: value for name, value in json.loads(path.read_text()).items() if name != CHECKSUM_KEY} | {
        key: version
    }
    (write_json if version == 1 else write_checked_json)(path, content)


def run_json(folder: Path) -> tuple[Path, Callable[[], Any]]:
    Run(folder).start({"method": "dcl"})
    return folder / "run.json", Run(folder).read


def result_json(folder: Path) -> tuple[Path, Callable[[], Any]]:
    write_result(folder, {"probe": "knn"}, {})
    return folder / "result.json", lambda: read_result(folder)


def tuned_json(folder: Path) -> tuple[Path, Callable[[], Any]]:
    write_tuned_settings(folder, {"run": "a"})
    return folder / "tuned" / "a.json", lambda: read_tuned_settings(folder, "a")


def benchmark_json(folder: Path) -> tuple[Path, Callable[[], Any]]:
    path = folder / "benchmark" / "a.json"
    write_checked_json(path, {"schema": FORMAT_VERSIONS["benchmark"], "methods": ["dcl"]})
    return path, lambda: read_record(path, "benchmark", NEW_PLAN_HINT)


WRITERS = {"run": run_json, "result": result_json, "tuned": tuned_json, "benchmark": benchmark_json}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("step", ["current", "older", "newer", "none", "text", "true"])
def test_reader_takes_its_own_version_and_those_it_understands(tmp_path: Path, kind: str, step: str) -> None:
    path, read = WRITERS[kind](tmp_path)
    written = FORMAT_VERSIONS[kind]
    version: object = {
        "current": written,
        "older": written - 1,
        "newer": written + 1,
        "none": None,
        "text": str(written),
        "true": True,
    }[step]
    set_version(path, "schema", version)
    if step == "current" or (step == "older" and OLDEST_VERSIONS[kind] < written):
        assert read()["schema"] == version
        return
    with pytest.raises(CheckpointError, match="written by a newer" if step == "newer" else "by another") as caught:
        read()
    assert caught.value.exit_code == 4
    assert str(path) in str(caught.value)
    assert re.search("type (its pretrain|lowres-ssl|the) ", str(caught.value))


def test_every_version_has_an_oldest_that_is_not_newer() -> None:
    assert OLDEST_VERSIONS.keys() == FORMAT_VERSIONS.keys()
    assert all(1 <= OLDEST_VERSIONS[kind] <= FORMAT_VERSIONS[kind] for kind in FORMAT_VERSIONS)


def renamed(folder: Path, *, version: int, hash_ids: bool = False) -> None:
    """The result at `folder` as version 2 writes it, patients hashed, or as version 1 did, patients by name."""
    result, arrays = read_result(folder), dict(read_predictions(folder))
    assert result is not None
    if version == 2:
        for side in ("test", "validation"):
            arrays[f"{side}_groups"] = np.array([PSEUDONYMS.patient(str(each)) for each in arrays[f"{side}_groups"]])
            if hash_ids:
                arrays[f"{side}_ids"] = np.array([PSEUDONYMS.image(str(each)) for each in arrays[f"{side}_ids"]])
    content = {**result, "config": {**result["config"], "hash_ids": hash_ids}}
    del content["schema"]
    write_result(folder, content, arrays)
    set_version(folder / "result.json", "schema", version)


def numbers(output_dir: Path) -> Any:
    frame, problems = read_index(output_dir)
    assert problems == []
    (column,) = select_columns(frame, ResultFilters())
    found = compare_methods(column, "accuracy", 64, imagenet="imagenet", draws=200)
    return [(pair.first, pair.second, pair.found, pair.corrected) for pair in found.pairs], found.intervals


@pytest.mark.parametrize("hash_ids", [False, True])
def test_results_of_the_version_before_are_compared_with_new_ones(tmp_path: Path, hash_ids: bool) -> None:
    """And to the same digit: what a key makes of the patients' names changes nothing."""
    folders = [
        made_up_run(tmp_path, method=method, accuracy=0.6 + 0.1 * n) for n, method in enumerate(("dcl", "vicreg"))
    ]
    wanted = None
    for versions in ((1, 1), (1, 2), (2, 2)):
        for folder, version in zip(folders, versions, strict=True):
            if version == 2 and "patient-" not in str(read_predictions(folder)["test_groups"][0]):
                renamed(folder, version=2, hash_ids=hash_ids)
            elif version == 1:
                renamed(folder, version=1)
        got = numbers(tmp_path)
        wanted = wanted or got
        assert got == wanted


def test_results_whose_patients_are_divided_otherwise_are_still_refused(tmp_path: Path) -> None:
    made_up_run(tmp_path, method="dcl", groups=["a", "a", "b"])
    renamed(made_up_run(tmp_path, method="vicreg", groups=["a", "b", "b"]), version=2)
    with pytest.raises(CheckpointError, match="its test groups are not those of"):
        numbers(tmp_path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"finished": "yes"}, "finished: got str, wanted bool"),
        ({"seed": True}, "seed: got bool, wanted int"),
        ({"split": {"digest": 3}}, "split.digest: got int, wanted str"),
        ({"method": {"a": 1}}, "method: got dict, wanted str"),
        ({"probe": {"knn": 3}}, r"probe.\*: got int, wanted object"),
    ],
)
def test_value_of_another_type_is_named(tmp_path: Path, content: dict[str, Any], what: str) -> None:
    write_checked_json(tmp_path / "run.json", {"schema": FORMAT_VERSIONS["run"], **content})
    with pytest.raises(CheckpointError, match=f"run.json: {what}; mend it"):
        read_record(tmp_path / "run.json", "run", "mend it")


def test_key_that_is_missing_is_named_where_it_is_read(tmp_path: Path) -> None:
    write_checked_json(tmp_path / "run.json", {"schema": FORMAT_VERSIONS["run"], "split": {"kind": "random"}})
    stored = read_record(tmp_path / "run.json", "run", "mend it")
    assert stored is not None
    with pytest.raises(CheckpointError, match=r"run\.json: digest is missing, .*; mend it"):
        stored["split"]["digest"]


@pytest.mark.parametrize("text", ["[" * 100_000, '{"schema": ' + "9" * 400 + "}", '{"schema": 1, "title": "\\ud800"}'])
def test_json_that_readers_choke_on_is_damage(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_record(tmp_path / "run.json", "run", "mend it")


@pytest.mark.parametrize("version", [FORMAT_VERSIONS["tensors"] + 1, "1", None])
def test_tensors_of_another_version_are_refused(tmp_path: Path, version: object) -> None:
    path = tmp_path / "x.safetensors"
    save_tensors(path, {"a": torch.zeros(1)}, {"more": 1})
    assert load_tensors(path)[1]["more"] == 1
    save_tensors(path, {"a": torch.zeros(1)}, {"schema": version})
    with pytest.raises(CheckpointError, match="wanted version 1, written by"):
        load_tensors(path)
