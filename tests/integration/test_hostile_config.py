"""What is typed cannot lead out of the output folder, and nothing secret is written down."""

import json
import stat
from pathlib import Path

import numpy as np
import pytest
from stored_runs import reseal
from test_wrong_input import DATA, refused
from typed import SMALL, UNTRAINED, Command

from lowres_ssl.data.pseudonyms import KEY_FILE

CANARY = "canary-4711-token"


def everything_in(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["dataset.name=a\nb"], ["plain text, without control characters"]),
        (["dataset.name=\udcff"], ["plain text, without control characters"]),
        ([f"dataset.url=https://me:{CANARY}@host/x.zip"], ["user name, a password or a token", "dataset.archive=PATH"]),
        (["output_dir=" + 300 * "x"], ["File name too long", "output_dir=FOLDER"]),
    ],
)
def test_what_would_lead_elsewhere_is_refused(
    lowres_ssl: Command, cells: Path, tmp_path: Path, overrides: list[str], parts: list[str]
) -> None:
    before = everything_in(tmp_path)
    answer = lowres_ssl(*DATA, *overrides)
    refused(answer, 3 if "output_dir" in overrides[0] else 2, *parts)
    assert CANARY not in answer.err
    assert everything_in(tmp_path) == before
    assert {path.name for path in tmp_path.iterdir()} == {"data"}


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../x", ".._.._x-"),
        ("=cmd|' /C calc'!A0", "_cmd_C_calc_A0-"),
    ],
)
def test_whatever_a_set_is_called_its_run_is_one_folder_below_outputs(
    lowres_ssl: Command, cells: Path, tmp_path: Path, name: str, shown: str
) -> None:
    answer = lowres_ssl("pretrain", "method=random", "dataset=folder", f"dataset.name={name}", *UNTRAINED)
    assert answer.code == 0, answer.err
    runs = sorted((tmp_path / "outputs" / "pretrain").iterdir())
    assert all(run.name.startswith(shown) for run in runs)
    (run,) = (run for run in runs if "-random-s" in run.name)
    assert json.loads((run / "run.json").read_text())["config"]["dataset"]["name"] == name
    assert {path.name for path in tmp_path.iterdir()} == {"data", "outputs"}
    table = lowres_ssl("runs", "format=csv").out
    assert "\n=" not in table
    assert ",=" not in table


def test_neither_secrets_nor_names_of_patients_and_images_are_written(
    lowres_ssl: Command, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep of one run whose images are to be hashed, with a secret in the environment."""
    monkeypatch.setenv("SOME_SERVICE_TOKEN", CANARY)
    words = ("-m", "method=simclr", "dataset=folder", *SMALL, "hash_ids=true", "split=patient")
    hashed = lowres_ssl("pretrain", *words, "dataset.options.group_pattern=(p[0-9]+)_")
    assert hashed.code == 0, hashed.err
    written = everything_in(tmp_path / "outputs")
    key = next(cells.rglob(KEY_FILE)).read_text().split()[0]
    assert stat.S_IMODE(next(cells.rglob(KEY_FILE)).stat().st_mode) == 0o600
    names = {path.name for path in cells.rglob("*.png")}
    assert {"run.json", "split.json", "result.json", "predictions.npz"} <= {Path(name).name for name in written}
    for name, content in written.items():
        if name.startswith("stores/"):  # the images themselves, not results
            continue
        assert not [secret for secret in (CANARY, key) if secret.encode() in content], name
        if name.endswith(".npz"):
            with np.load(tmp_path / "outputs" / name) as arrays:
                content = "\n".join("\n".join(map(str, arrays[each].ravel())) for each in arrays).encode()
        assert not [image for image in names if image.encode() in content], name
        assert b"p1_" not in content
    assert not [secret for secret in (CANARY, key) if secret in hashed.out + hashed.err]
    # What is hashed is read again, by those who have the key.
    (run,) = (tmp_path / "outputs" / "pretrain").glob("folder-simclr-*")
    assert lowres_ssl("evaluate", f"run={run}", "probe.knn.k=3").code == 0
    next(cells.rglob(KEY_FILE)).unlink()
    refused(
        lowres_ssl("evaluate", f"run={run}", "probe.knn.k=4"), 3, "hashed with a key that is not in", "dataset.root="
    )


def test_run_that_somebody_else_made_looks_nothing_up_in_our_environment(
    lowres_ssl: Command, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_SERVICE_TOKEN", CANARY)
    content = json.loads((trained / "run.json").read_text())
    content["config"]["dataset"]["title"] = "${oc.env:SOME_SERVICE_TOKEN}"
    reseal(trained / "run.json", content)
    answer = lowres_ssl("evaluate", f"run={trained}", "probe.knn.k=3")
    assert answer.code == 0, answer.err
    assert any(b"${oc.env:SOME_SERVICE_TOKEN}" in each for each in everything_in(trained).values())
    assert CANARY not in answer.out + answer.err
    assert not [name for name, each in everything_in(tmp_path).items() if CANARY.encode() in each]


SOMEBODY_ELSES = """\
defaults:
  - folder
  - _self_
name: theirs
title: {title}
licence: {licence}
"""


@pytest.mark.parametrize(
    ("title", "licence"),
    [
        ("theirs, ${oc.env:SOME_SERVICE_TOKEN}", "theirs"),
        ("'${oc.decode:${dataset.licence}}'", r"'\${oc.en${oc.decode:v}:SOME_SERVICE_TOKEN}'"),
        ("${oc.env:NO_SUCH_TOKEN,${oc.env:SOME_SERVICE_TOKEN}}", "theirs"),
    ],
)
def test_config_of_a_set_that_somebody_else_wrote_looks_nothing_up_in_our_environment(
    lowres_ssl: Command, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, title: str, licence: str
) -> None:
    monkeypatch.setenv("SOME_SERVICE_TOKEN", CANARY)
    conf = tmp_path / "lowres_ssl_conf" / "dataset"
    conf.mkdir(parents=True)
    (conf / "theirs.yaml").write_text(SOMEBODY_ELSES.format(title=title, licence=licence))
    answer = lowres_ssl("pretrain", "method=random", "dataset=theirs", *SMALL)
    refused(answer, 2, "dataset.", "only data_dir, output_dir, store_dir, folder may look it up")
    assert CANARY not in answer.out + answer.err
    assert not (tmp_path / "outputs").exists()
