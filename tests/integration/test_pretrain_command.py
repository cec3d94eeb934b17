"""`lowres-ssl pretrain`, from the command line to the files it leaves."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import SMALL, WITH_LINEAR, paint
from typed import Command, everything_in, history_of, result_of, the_run

DATA = ("dataset=folder", *SMALL)
SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "walk_of_a_run.py"


def test_run_leaves_encoder_history_results_and_a_picture(trained: Path) -> None:
    names = {path.name for path in trained.iterdir() if path.is_file()}
    assert {"run.json", "split.json", "history.csv", "encoder.safetensors", "tsne.png"} <= names
    assert not (trained / "checkpoint.pt").exists()
    assert {path.name.split("-")[0] for path in trained.iterdir() if path.is_dir()} == {"knn"}
    (line,) = history_of(trained)
    assert {"epoch", "loss", "learning_rate", "views_per_second", "embedding_std", "effective_rank"} <= set(line)


@pytest.mark.usefixtures("cells")
def test_chance_loss_is_kept_with_the_run(lowres_ssl: Command) -> None:
    """Of 3 batches of 8 of the 28 training images, and of one of 4. Nothing is scored, so no probe is asked."""
    lowres_ssl("pretrain", *DATA, "keep_last_batch=true", "probe.knn.k=1000", "evaluate=false")
    (run,) = Path("outputs/pretrain").iterdir()
    found = json.loads((run / "run.json").read_text())["outcome"]["chance_loss"]
    assert found == pytest.approx((3 * math.log(15) + math.log(7)) / 4)


@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize("recipe", ["tuned", "released_code"])
def test_each_recipe_runs_with_each_method(lowres_ssl: Command, recipe: str) -> None:
    methods = "method=simclr,dcl,dclw,simsiam,vicreg"
    lowres_ssl("pretrain", "-m", f"recipe={recipe}", methods, *DATA, "evaluate=false")


@pytest.mark.usefixtures("cells")
def test_released_code_scores_knn_with_the_last_encoder_and_linear_with_the_best(lowres_ssl: Command) -> None:
    lowres_ssl("pretrain", "recipe=released_code", *DATA, *WITH_LINEAR, "epochs=2", "baselines=false")
    run = the_run("folder-simclr-*")
    assert result_of(run, "knn")["encoder"] == "encoder-last.safetensors"
    assert result_of(run, "linear")["encoder"] == "encoder.safetensors"


def test_same_command_again_repeats_nothing(lowres_ssl: Command, trained: Path) -> None:
    before = everything_in(trained)
    assert "finished already; force=true trains it again" in lowres_ssl("pretrain", *DATA).err
    assert everything_in(trained) == before


def test_another_probe_trains_nothing_again(lowres_ssl: Command, trained: Path) -> None:
    encoder = (trained / "encoder.safetensors").stat().st_mtime_ns
    lowres_ssl("pretrain", *(word for word in DATA if "knn" not in word), "probe=[logistic]", "baselines=false")
    assert (trained / "encoder.safetensors").stat().st_mtime_ns == encoder
    assert result_of(trained, "logistic")


@pytest.mark.usefixtures("trained")
def test_paths_device_and_checkpoints_do_not_change_the_run(lowres_ssl: Command, tmp_path: Path) -> None:
    moved = (tmp_path / "data" / "folder").rename(tmp_path / "elsewhere")
    words = (f"dataset.root={moved}", "device=cpu", "checkpoint_seconds=5", "evaluate=false")
    assert "finished already" in lowres_ssl("pretrain", *DATA, *words).err


def test_unlabelled_images_are_pretrained_on_and_change_the_run(lowres_ssl: Command, trained: Path) -> None:
    for number in range(6):
        paint(Path(f"more/{number}.png"), 120, seed=1000 + number)
    lowres_ssl("pretrain", *DATA, "dataset.unlabelled=more", "evaluate=false")
    described = [json.loads(path.read_text()) for path in trained.parent.glob("folder-simclr-*/run.json")]
    assert sorted(run["unlabelled_images"] for run in described) == [0, 6]


@pytest.mark.usefixtures("cells")
def test_pretraining_on_all_images_is_marked(lowres_ssl: Command) -> None:
    answer = lowres_ssl("pretrain", *DATA, "pretrain_on=all", "baselines=false")
    assert "on all images" in answer.out
    assert "has seen the validation and the test images" in answer.out
    assert "pretrain on" in lowres_ssl("runs").out


@pytest.mark.usefixtures("cells")
def test_patients_on_both_sides_are_told_beside_the_scores(lowres_ssl: Command) -> None:
    typed = ("pretrain", *DATA, "method=random", "baselines=false", "dataset.options.group_pattern='/(p[0-9]+)_'")
    answer = lowres_ssl(*typed, "split=stratified")
    told = r"leakage: [1-8] of 8 test images .* share a patient.*; split=patient keeps each in one subset"
    assert re.search(rf"^That may flatter every score: {told}\.$", answer.out, re.MULTILINE)
    before = lowres_ssl(*typed, "split=stratified", "method=simclr", "dry_run=true")
    assert re.search(rf"^note: {told}$", before.err, re.MULTILINE)
    assert "leakage" not in lowres_ssl(*typed, "split=patient").out


def test_real_x_rays_go_through(lowres_ssl: Command, shared: Path) -> None:
    """30 images of each official folder and class, copied by name."""
    for folder in ("train/NORMAL", "train/PNEUMONIA", "test/NORMAL", "test/PNEUMONIA"):
        target = Path("data/pneumonia", folder)
        target.mkdir(parents=True)
        for path in sorted((shared / "pneumonia" / folder).iterdir())[:30]:
            (target / path.name).symlink_to(path)
    answer = lowres_ssl("pretrain", "dataset=pneumonia", "split=official", "recipe=tuned", *SMALL, "baselines=false")
    assert "split official" in answer.out
    assert "class NORMAL: 60 images, published are 1583" in answer.err


def test_released_code_keeps_the_rows_of_table_1(lowres_ssl: Command) -> None:
    words = ("recipe=released_code", "method=dcl", "dataset=pneumonia", "--cfg", "job", "--resolve", "-p", "probe")
    out = lowres_ssl("pretrain", *words).out
    for line in ("batch_size: 64", "learning_rate: 0.5", "restart_from_best: true"):
        assert line in out


def test_pretrain_crosses_few_files() -> None:
    answer = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=True)
    counts = re.search(r"the walk: (\d+) files, (\d+) changes of file", answer.stdout)
    assert counts is not None
    assert int(counts[1]) <= 35
    assert int(counts[2]) <= 80
