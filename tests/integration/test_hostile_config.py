"""What is typed cannot lead out of the output folder, and nothing secret is written down."""

import json
from pathlib import Path

import pytest
from small_runs import SMALL, UNTRAINED
from stored_runs import reseal
from typed import Command, everything_in, files_with, refused, the_run

from lowres_ssl.data.pseudonyms import KEY_FILE

CANARY = "canary-4711-token"


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SERVICE_TOKEN", CANARY)


@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize("name", ["a\nb", "\udcff"])
def test_name_that_is_no_text_is_refused(lowres_ssl: Command, name: str) -> None:
    answer = lowres_ssl("pretrain", "dataset=folder", *SMALL, f"dataset.name={name}", code=2)
    refused(answer, "plain text, without control characters")
    assert not Path("outputs").exists()


@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize(("name", "shown"), [("../../x", ".._.._x-"), ("=cmd|' /C calc'!A0", "_cmd_C_calc_A0-")])
def test_whatever_a_set_is_called_its_run_is_one_folder_below_outputs(
    lowres_ssl: Command, tmp_path: Path, name: str, shown: str
) -> None:
    lowres_ssl("pretrain", "method=random", "dataset=folder", f"dataset.name={name}", *UNTRAINED, "baselines=false")
    (run,) = Path("outputs/pretrain").iterdir()
    assert run.name.startswith(f"{shown}random-s")
    assert json.loads((run / "run.json").read_text())["config"]["dataset"]["name"] == name
    assert {path.name for path in tmp_path.iterdir()} == {"data", "outputs"}
    table = lowres_ssl("runs", "format=csv").out
    assert "\n=" not in table
    assert ",=" not in table


def test_neither_secrets_nor_names_of_patients_and_images_are_written(lowres_ssl: Command, cells: Path) -> None:
    """A sweep of one run whose images are to be hashed, with a secret in the environment."""
    words = ("-m", "method=simclr", "dataset=folder", *SMALL, "hash_ids=true", "split=patient")
    hashed = lowres_ssl("pretrain", *words, "dataset.options.group_pattern=(p[0-9]+)_")
    key = next(cells.rglob(KEY_FILE))
    secrets = [CANARY, key.read_text().split()[0], "p1_", *(path.name for path in cells.rglob("*.png"))]
    written = [Path(name).name for name in everything_in(Path("outputs"))]
    assert {"run.json", "split.json", "result.json", "predictions.npz"} <= set(written)
    found = files_with(Path("outputs"), *secrets)
    assert [name for name in found if not name.startswith("stores/")] == []  # which are the images themselves
    assert not [secret for secret in secrets if secret in hashed.out + hashed.err]
    # What is hashed is read again, by those who have the key.
    run = the_run("folder-simclr-*")
    lowres_ssl("evaluate", f"run={run}", "probe.knn.k=3")
    key.unlink()
    again = lowres_ssl("evaluate", f"run={run}", "probe.knn.k=4", code=3)
    refused(again, "hashed with a key that is not in", "dataset.root=")


def test_run_that_somebody_else_made_looks_nothing_up_in_our_environment(lowres_ssl: Command, trained: Path) -> None:
    content = json.loads((trained / "run.json").read_text())
    content["config"]["dataset"]["title"] = "${oc.env:SOME_SERVICE_TOKEN}"
    reseal(trained / "run.json", content)
    answer = lowres_ssl("evaluate", f"run={trained}", "probe.knn.k=3")
    assert files_with(trained, "${oc.env:SOME_SERVICE_TOKEN}")
    assert CANARY not in answer.out + answer.err
    assert files_with(Path(), CANARY) == []


SOMEBODY_ELSES = """\
defaults:
  - folder
  - _self_
name: theirs
title: {title}
licence: {licence}
"""


@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize(
    ("title", "licence"),
    [
        ("theirs, ${oc.env:SOME_SERVICE_TOKEN}", "theirs"),
        ("'${oc.decode:${dataset.licence}}'", r"'\${oc.en${oc.decode:v}:SOME_SERVICE_TOKEN}'"),
        ("${oc.env:NO_SUCH_TOKEN,${oc.env:SOME_SERVICE_TOKEN}}", "theirs"),
    ],
)
def test_config_of_a_set_that_somebody_else_wrote_looks_nothing_up_in_our_environment(
    lowres_ssl: Command, title: str, licence: str
) -> None:
    path = Path("lowres_ssl_conf/dataset/theirs.yaml")
    path.parent.mkdir(parents=True)
    path.write_text(SOMEBODY_ELSES.format(title=title, licence=licence))
    answer = lowres_ssl("pretrain", "method=random", "dataset=theirs", *SMALL, code=2)
    refused(answer, "dataset.", "only data_dir, output_dir, store_dir, folder may look it up")
    assert CANARY not in answer.err
    assert not Path("outputs").exists()
