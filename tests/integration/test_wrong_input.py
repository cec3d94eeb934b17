"""Each wrong thing gets one line: what, got, wanted, what to type next; no traceback, nothing half-written."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typed import SMALL, Answer, Command, paint

DATA = ("pretrain", "dataset=folder", *SMALL)


def refused(answer: Answer, code: int, *parts: str) -> None:
    """The last line of the answer holds every part; there is no traceback, and the exit code is `code`."""
    assert answer.code == code, answer.err
    assert "Traceback" not in answer.err
    assert answer.last_line.startswith("lowres-ssl: ")
    for part in parts:
        assert part in answer.last_line
    assert not answer.out


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["batch_size=64"], ["batch_size=64", "28 images", "try batch_size=16"]),
        (["probe.knn.k=1000"], ["probe.knn.k=1000", "28 images", "probe.knn.k=28"]),
        (["dataset.root=missing"], ["missing: no such folder", "dataset.root=FOLDER"]),
        (["views.grey=2"], ["views.grey=2"]),
        (["split=patient"], ["split=patient", "split=stratified"]),
        (["split=official"], ["split=official", "split=stratified"]),
        (["precision=fp16"], ["precision=fp16", "precision=auto"]),
        (["dataset.options.group_pattern='('"], ["group_pattern=("]),
        (["epochs=${oc.env:NOT_SET_HERE}"], ["epochs", "NOT_SET_HERE"]),
    ],
)
def test_wrong_values_are_refused_before_anything_is_trained(
    lowres_ssl: Command, cells: Path, tmp_path: Path, overrides: list[str], parts: list[str]
) -> None:
    answer = lowres_ssl(*DATA, *overrides)
    data = overrides[0] in ("split=patient", "split=official", "dataset.root=missing")
    refused(answer, 3 if data else 2, *parts)
    assert not list((tmp_path / "outputs").glob("pretrain/*"))


def test_no_data_says_which_file_to_get_from_where(lowres_ssl: Command) -> None:
    for dataset, part in (
        ("pneumonia", "ChestXRay2017.zip"),
        ("breast", "lowres-ssl data dataset=breast fetch=true"),
        ("colorectal", "lowres-ssl data dataset=colorectal fetch=true"),
    ):
        refused(lowres_ssl("pretrain", f"dataset={dataset}"), 3, f"data/{dataset}: no such folder", part)


def test_wrong_folder_says_what_it_should_look_like(lowres_ssl: Command, cells: Path) -> None:
    answer = lowres_ssl("pretrain", "dataset=breast", f"dataset.root={cells}", *SMALL)
    refused(answer, 3, "no BreaKHis image", "SOB_B_A-14-22549AB-400-001.png")


def truncate_jpeg(path: Path) -> None:
    """Write an image that can be opened and not decoded."""
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, quality=95)
    path.write_bytes(path.read_bytes()[:1500])


def test_run_without_an_image_that_cannot_be_decoded_is_scored_on_the_others(
    lowres_ssl: Command, cells: Path, tmp_path: Path
) -> None:
    truncate_jpeg(cells / "dark" / "truncated.jpeg")
    refused(lowres_ssl(*DATA), 3, "truncated.jpeg", "not a readable image", "dataset.skip_unreadable=true")
    typed = (*DATA, "dataset.skip_unreadable=true")
    answer = lowres_ssl(*typed)
    assert answer.code == 0, answer.err
    assert "1 unreadable images left out" in answer.err
    (run,) = tmp_path.glob("outputs/pretrain/*-simclr-*")
    dry = lowres_ssl(*typed, "dry_run=true")
    assert run.name in dry.out
    assert "finished" in dry.out
    shutil.rmtree(tmp_path / "outputs" / "stores")
    answer = lowres_ssl("evaluate", f"run={run.name}", "probe=logistic")
    assert answer.code == 0, answer.err
    assert "1 unreadable images left out" in answer.err
    assert lowres_ssl("figures", "figure=samples").code == 0
    assert lowres_ssl("report").code == 0
    assert "not those of the run" not in (tmp_path / "outputs" / "report.html").read_text(encoding="utf-8")
    paint(cells / "dark" / "new.png", 60, seed=99)
    refused(lowres_ssl("evaluate", f"run={run.name}", "probe=logistic"), 4, "the images of this run have changed")


def test_no_probe_is_refused_before_anything_is_trained(lowres_ssl: Command, cells: Path, tmp_path: Path) -> None:
    typed = [word for word in DATA if "knn" not in word]
    refused(lowres_ssl(*typed, "probe=[]"), 2, "probe=[]", "probe=[knn,linear]", "evaluate=false")
    assert not list((tmp_path / "outputs").glob("pretrain/*"))


def test_config_that_is_no_yaml_is_named_and_the_other_sets_are_listed(lowres_ssl: Command, tmp_path: Path) -> None:
    (tmp_path / "mine" / "dataset").mkdir(parents=True)
    (tmp_path / "mine" / "dataset" / "bad.yaml").write_text("a: [")
    refused(lowres_ssl("data", "--config-dir", "mine", "dataset=bad"), 2, "not YAML", "bad.yaml", "line ")
    answer = lowres_ssl("data", "--config-dir", "mine")
    assert answer.code == 0
    assert "phantom" in answer.out
    assert "bad.yaml: cannot be composed" in answer.err


def test_damaged_random_run_costs_the_method_beside_it_nothing(lowres_ssl: Command, trained: Path) -> None:
    (random,) = trained.parent.glob("folder-random-*/run.json")
    random.write_text("{")
    answer = lowres_ssl("evaluate", f"run={trained}", "probe.knn.k=3")
    assert answer.code == 0, answer.err
    assert "run.json: cannot be read" in answer.err
    assert "random initialisation" in answer.out
    assert lowres_ssl("runs").err == ""


def test_lost_encoder_is_not_called_finished_and_a_lost_split_is_written_again(
    lowres_ssl: Command, trained: Path
) -> None:
    (trained / "split.json").unlink()
    assert lowres_ssl(*DATA).code == 0
    assert (trained / "split.json").exists()
    (trained / "encoder.safetensors").unlink()
    refused(lowres_ssl(*DATA), 4, "encoder.safetensors", "force=true")


@pytest.mark.parametrize(
    ("arguments", "code", "part"),
    [
        ((), 2, "neither of run and weights"),
        (("run=",), 2, "run: got nothing, wanted a run's folder or name"),
        (("run=outputs/pretrain/none",), 3, "no such run"),
        (("weights=none.safetensors", "dataset=folder", "probe.knn.k=5"), 4, "no such file"),
    ],
)
def test_evaluate_says_what_it_wants(
    lowres_ssl: Command, cells: Path, arguments: tuple[str, ...], code: int, part: str
) -> None:
    refused(lowres_ssl("evaluate", *arguments), code, part)


def test_evaluating_a_run_with_what_the_run_decides_is_refused(lowres_ssl: Command, trained: Path) -> None:
    refused(lowres_ssl("evaluate", f"run={trained}", "seed=3"), 2, "seed is what the run was made with")
