"""`evaluate`, `data`, `runs`, `doctor` and the dispatcher."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from small_runs import SMALL, UNTRAINED, paint
from typed import Command, accuracy_of

PRETRAIN = ("pretrain", "dataset=folder", *SMALL)


def test_evaluating_a_run_again_uses_its_images_encoder_and_settings(lowres_ssl: Command, trained: Path) -> None:
    before = {path.name for path in trained.iterdir()}
    answer = lowres_ssl("evaluate", f"run={trained}", "probe=[knn,logistic]")
    # KNN, with the run's own settings, was there already.
    assert [name.split("-")[0] for name in {path.name for path in trained.iterdir()} - before] == ["logistic"]
    assert "random initialisation" in answer.out


def test_set_of_ones_own_is_kept_in_a_folder_of_configs(lowres_ssl: Command, cells: Path) -> None:
    """As the documents show it, in the folder that is searched and in one that is named."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "own_data.md").read_text()
    example = re.search(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert example is not None
    for folder in ("lowres_ssl_conf", "my_conf"):
        Path(folder, "dataset").mkdir(parents=True)
        Path(folder, "dataset", "cells.yaml").write_text(textwrap.dedent(example[1]))
    cells.rename("data/cells")
    for named in ([], ["--config-dir", "my_conf"]):
        answer = lowres_ssl("data", *named, "dataset=cells", "split=patient")
        assert "Our cells" in answer.out
        assert "10 patients" in answer.out


def test_list_of_sets_says_what_to_type_where_a_config_has_another_name_than_its_set(lowres_ssl: Command) -> None:
    Path("lowres_ssl_conf", "dataset").mkdir(parents=True)
    own = "defaults: [folder, _self_]\nname: cells\nroot: data/cells\nurl: https://example.org/cells.zip\n"
    Path("lowres_ssl_conf", "dataset", "mine.yaml").write_text(own)
    assert "mine: Type: lowres-ssl data dataset=mine fetch=true. By hand:" in lowres_ssl("data").out


def test_weights_file_scores_as_the_run_it_comes_from(lowres_ssl: Command, trained: Path) -> None:
    shutil.copy(trained / "encoder.safetensors", "encoder.safetensors")
    typed = ("evaluate", "weights=encoder.safetensors", "dataset=folder", *UNTRAINED)
    assert "weights of simclr" in lowres_ssl(*typed).out
    (run,) = Path("outputs/evaluate").iterdir()
    assert accuracy_of(run) == accuracy_of(trained)
    other = lowres_ssl(*typed, "split_seed=1", code=2)
    assert "weights: simclr was trained under another split" in other.last_line


@pytest.mark.usefixtures("cells")
def test_data_shows_classes_split_and_leakage_and_prepares_the_store_that_pretraining_opens(
    lowres_ssl: Command,
) -> None:
    answer = lowres_ssl("data", "dataset=folder", "dataset.options.group_pattern=(p[^/_]+)_", "split=patient")
    assert "0 of 8 test images share a patient" in answer.out
    assert "10 patients" in answer.out
    assert "not yet; prepare=true" in answer.out
    lowres_ssl("data", "dataset=folder", "image_size=16", "prepare=true")
    assert "Decoding" not in lowres_ssl(*PRETRAIN, "evaluate=false").err


def test_archive_on_disk_is_unpacked_and_indexed(lowres_ssl: Command) -> None:
    for side, count in (("train", 10), ("test", 4)):
        for number in range(count):
            folder, seed = Path("top/chest_xray/chest_xray", side), number + 100 * count
            paint(folder / "NORMAL" / f"IM-{number:04}-0001.png", 80, seed)
            paint(folder / "PNEUMONIA" / f"person{number + 1}_virus_{number}.png", 170, seed)
    archive = shutil.make_archive("my archive, v2", "zip", "top")
    answer = lowres_ssl("data", "fetch=true", "dataset=pneumonia", f"dataset.archive={archive}", "split=official")
    assert "class NORMAL: 14 images, published are 1583" in answer.err


def test_runs_lists_scores_as_table_csv_and_json(lowres_ssl: Command, trained: Path) -> None:
    table = lowres_ssl("runs").out
    assert trained.name in table
    assert "KNN (k=5)" in table
    rows = list(csv.DictReader(io.StringIO(lowres_ssl("runs", "format=csv").out)))
    (row,) = [row for row in rows if row["run"] == trained.name and row["probe"] == "knn"]
    assert float(row["accuracy"]) == accuracy_of(trained)
    assert row["state"] == "finished"
    assert {row["run"] for row in json.loads(lowres_ssl("runs", "format=json").out)} == {row["run"] for row in rows}


def test_prune_removes_what_no_run_needs_and_nothing_else(lowres_ssl: Command, trained: Path) -> None:
    lowres_ssl("data", "dataset=folder", "image_size=16", "dataset.storage_size=8", "prepare=true")
    (stale,) = Path("outputs/stores").glob("folder-8px-*")
    lowres_ssl("runs", "prune=true")
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
    assert len(list(Path("outputs/stores").glob("folder-*px-*"))) == 1
    assert "nothing to remove" in lowres_ssl("runs", "prune=true").out


def test_doctor_says_what_would_run_here(lowres_ssl: Command) -> None:
    out = lowres_ssl("doctor", "device=cpu").out
    for word in ("device", "precision", "versions", "torch", "data", "runs", "free"):
        assert word in out


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


def test_run_finds_its_images_from_another_folder(
    lowres_ssl: Command, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    lowres_ssl("evaluate", f"run={trained}", "output_dir=../outputs", "probe.knn.k=3")
    assert len(list(trained.glob("knn-*/result.json"))) == 2
    assert str(tmp_path) not in next(trained.glob("knn-*/result.json")).read_text().replace(str(trained), "")


def test_environment_variables_name_the_places_and_quiet_leaves_results_and_errors(
    lowres_ssl: Command, cells: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOWRES_SSL_OUTPUTS", "runs here")
    monkeypatch.setenv("LOWRES_SSL_DATA", str(cells.parent))
    answer = lowres_ssl(*PRETRAIN, "--quiet")
    assert answer.err == ""
    assert "random initialisation" in answer.out
    assert list(Path("runs here", "pretrain").glob("folder-simclr-*"))
    answer = lowres_ssl("--quiet", *PRETRAIN, "dataset.root=missing", code=3)
    assert len(answer.err.splitlines()) == 1


@pytest.mark.usefixtures("cells")
def test_what_is_ahead_is_said_before_it_is_done(lowres_ssl: Command) -> None:
    said = lowres_ssl(*PRETRAIN).err.splitlines()
    (ahead,) = (place for place, line in enumerate(said) if line.endswith(": epochs 1 to 1, 48 views"))
    assert ahead < next(place for place, line in enumerate(said) if "loss" in line)
    (scoring,) = (place for place, line in enumerate(said) if line.startswith("scoring 3 encoders with KNN (k=5)"))
    assert "0 of 3 results stored" in said[scoring]
    assert scoring < next(place for place, line in enumerate(said) if "features of" in line)
