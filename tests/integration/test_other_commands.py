"""`evaluate`, `data`, `runs`, `doctor` and the dispatcher."""

import csv
import io
import json
import os
import re
import shlex
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path

import pytest
from typed import SMALL, UNTRAINED, Command, paint


def accuracy(folder: Path, probe: str) -> float:
    (path,) = folder.glob(f"{probe}-*/result.json")
    return float(json.loads(path.read_text())["test"]["accuracy"])


def test_evaluating_a_run_again_uses_its_images_encoder_and_settings(lowres_ssl: Command, trained: Path) -> None:
    before = {path.name for path in trained.iterdir()}
    answer = lowres_ssl("evaluate", f"run={trained}", "probe=[knn,logistic]")
    assert answer.code == 0, answer.err
    # KNN, with the run's own settings, was there already.
    assert [name.split("-")[0] for name in {path.name for path in trained.iterdir()} - before] == ["logistic"]
    assert "random initialisation" in answer.out


def test_set_of_ones_own_is_kept_in_a_folder_of_configs(lowres_ssl: Command, cells: Path, tmp_path: Path) -> None:
    """As the documents show it, in the folder that is searched and in one that is named."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "own_data.md").read_text()
    example = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert example is not None
    for folder in ("lowres_ssl_conf", "my_conf"):
        (tmp_path / folder / "dataset").mkdir(parents=True)
        (tmp_path / folder / "dataset" / "cells.yaml").write_text(textwrap.dedent(example[1]))
    cells.rename(tmp_path / "data" / "cells")
    for named in ([], ["--config-dir", "my_conf"]):
        answer = lowres_ssl("data", *named, "dataset=cells", "split=patient")
        assert answer.code == 0, answer.err
        assert "Our cells" in answer.out
        assert "10 patients" in answer.out


def test_weights_file_scores_as_the_run_it_comes_from(lowres_ssl: Command, trained: Path, tmp_path: Path) -> None:
    weights = tmp_path / "encoder.safetensors"
    weights.write_bytes((trained / "encoder.safetensors").read_bytes())
    typed = ("dataset=folder", *UNTRAINED)
    answer = lowres_ssl("evaluate", f"weights={weights}", *typed)
    assert answer.code == 0, answer.err
    assert "weights of encoder.safetensors" in answer.out
    (run,) = (tmp_path / "outputs" / "evaluate").iterdir()
    assert accuracy(run, "knn") == accuracy(trained, "knn")


def test_data_shows_classes_split_and_leakage(lowres_ssl: Command, cells: Path) -> None:
    answer = lowres_ssl("data", "dataset=folder", "dataset.options.group_pattern=(p[^/_]+)_", "split=patient")
    assert answer.code == 0, answer.err
    assert "0 of 8 test images share a patient" in answer.out
    assert "10 patients" in answer.out
    assert "not yet; prepare=true" in answer.out


def test_data_prepares_the_store_that_pretraining_opens(lowres_ssl: Command, cells: Path) -> None:
    assert lowres_ssl("data", "dataset=folder", "image_size=16", "prepare=true").code == 0
    answer = lowres_ssl("pretrain", "dataset=folder", *SMALL, "evaluate=false")
    assert "Decoding" not in answer.err


def test_archive_on_disk_is_unpacked_and_indexed(lowres_ssl: Command, tmp_path: Path) -> None:
    archive = tmp_path / "my archive, v2.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for side, count in (("train", 10), ("test", 4)):
            for place, label in enumerate(("NORMAL", "PNEUMONIA")):
                for number in range(count):
                    paint(tmp_path / "x.png", 80 + 90 * place, seed=number + 50 * place + 500 * (side == "test"))
                    name = f"person{number + 1}_virus_{number}.png" if place else f"IM-{number:04}-0001.png"
                    file.write(tmp_path / "x.png", f"chest_xray/chest_xray/{side}/{label}/{name}")
    answer = lowres_ssl("data", "fetch=true", "dataset=pneumonia", f"dataset.archive={archive}", "split=official")
    assert answer.code == 0, answer.err
    assert "class NORMAL: 14 images, published are 1583" in answer.err


def test_runs_lists_scores_as_table_csv_and_json(lowres_ssl: Command, trained: Path) -> None:
    table = lowres_ssl("runs").out
    assert trained.name in table
    assert "KNN (k=5)" in table
    rows = list(csv.DictReader(io.StringIO(lowres_ssl("runs", "format=csv").out)))
    (row,) = [row for row in rows if row["run"] == trained.name and row["probe"] == "knn"]
    assert float(row["accuracy"]) == accuracy(trained, "knn")
    assert row["state"] == "finished"
    assert {row["run"] for row in json.loads(lowres_ssl("runs", "format=json").out)} == {row["run"] for row in rows}


def test_prune_removes_what_no_run_needs_and_nothing_else(lowres_ssl: Command, trained: Path, tmp_path: Path) -> None:
    assert lowres_ssl("data", "dataset=folder", "image_size=16", "dataset.storage_size=8", "prepare=true").code == 0
    stores = tmp_path / "outputs" / "stores"
    (stale,) = stores.glob("folder-8px-*")
    answer = lowres_ssl("runs", "prune=true")
    assert stale.exists(), "somebody may be about to use it"
    os.utime(stale / "store.json", (0, 0))
    for name in ("checkpoint.pt", "checkpoint-previous.pt"):
        (trained / name).write_bytes(b"left over")
    answer = lowres_ssl("runs", "prune=true")
    assert stale.name in answer.out
    assert "checkpoint.pt" in answer.out
    assert not stale.exists()
    assert list(trained.glob("checkpoint*")) == []
    assert (trained / "encoder.safetensors").exists()
    assert len(list(stores.glob("folder-*px-*"))) == 1
    assert "nothing to remove" in lowres_ssl("runs", "prune=true").out


def test_doctor_says_what_would_run_here(lowres_ssl: Command) -> None:
    out = lowres_ssl("doctor", "device=cpu").out
    for word in ("device", "precision", "versions", "torch", "data", "runs", "free"):
        assert word in out


def test_environment_variables_name_the_places(
    lowres_ssl: Command, cells: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOWRES_SSL_OUTPUTS", str(tmp_path / "runs here"))
    monkeypatch.setenv("LOWRES_SSL_DATA", str(tmp_path / "data"))
    assert lowres_ssl("pretrain", "dataset=folder", *SMALL, "evaluate=false").code == 0
    assert list((tmp_path / "runs here" / "pretrain").glob("folder-simclr-*"))


@pytest.mark.parametrize(
    ("words", "modules", "said"),
    [
        (["--help"], ["torch", "hydra", "numpy"], "Exit codes"),
        (["pretrain", "--cfg", "job"], ["torch"], "temperature: 0.5"),
    ],
)
def test_answer_at_once_loads_nothing_slow(words: list[str], modules: list[str], said: str) -> None:
    code = (
        f"import sys; sys.argv=['lowres-ssl', *{words}]\nfrom lowres_ssl.cli.main import main\n"
        f"try: main()\nfinally: assert not set({modules}) & set(sys.modules), 'slow imports'"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert said in answer.stdout


def test_damaged_split_comes_with_the_command_that_writes_it_anew(lowres_ssl: Command, trained: Path) -> None:
    (trained / "split.json").write_text("{")
    answer = lowres_ssl("evaluate", f"run={trained}")
    assert answer.code == 4
    typed = re.search(r"to have it written anew type lowres-ssl (pretrain .*)$", answer.last_line)
    assert typed is not None, answer.last_line
    assert lowres_ssl(*shlex.split(typed[1])).code == 0
    assert lowres_ssl("evaluate", f"run={trained}").code == 0


def test_run_finds_its_images_from_another_folder(
    lowres_ssl: Command, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    answer = lowres_ssl("evaluate", f"run={trained}", "output_dir=../outputs", "probe.knn.k=3")
    assert answer.code == 0, answer.err
    assert len(list(trained.glob("knn-*/result.json"))) == 2
    assert str(tmp_path) not in next(trained.glob("knn-*/result.json")).read_text().replace(str(trained), "")


def test_quiet_leaves_results_and_errors(lowres_ssl: Command, cells: Path) -> None:
    typed = ["pretrain", "dataset=folder", *SMALL]
    answer = lowres_ssl(*typed, "--quiet")
    assert answer.code == 0
    assert answer.err == ""
    assert "random initialisation" in answer.out
    answer = lowres_ssl("--quiet", *typed, "dataset.root=missing")
    assert answer.code == 3
    assert len(answer.err.splitlines()) == 1


def test_what_is_ahead_is_said_before_it_is_done(lowres_ssl: Command, trained: Path) -> None:
    """And how long it takes, once a run like it is stored."""
    typed = ("pretrain", "dataset=folder", *SMALL)
    said = lowres_ssl(*typed, "seed=1").err.splitlines()
    (ahead,) = (place for place, line in enumerate(said) if "epochs 1 to 1, 48 views, about " in line)
    assert f"views/s in {trained.name})" in said[ahead]
    assert ahead < next(place for place, line in enumerate(said) if "loss" in line)
    (scoring,) = (place for place, line in enumerate(said) if line.startswith("scoring 3 encoders with KNN (k=5)"))
    assert "0 of 3 results stored" in said[scoring]
    assert scoring < next(place for place, line in enumerate(said) if "features of" in line)
