"""Baselines are runs like any other: ImageNet's weights, any timm encoder, supervised, trivial features; and what
starts from an encoder instead of from random."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision import models
from typed import RESNET18, SMALL, WITH_LINEAR, Command, paint

from lowres_ssl.augment.augmentation import make_evaluation_view

DATA = ("dataset=folder", *SMALL)
ON_RESNET18 = ("dataset=folder", *RESNET18)


def the_run(outputs: Path, pattern: str) -> Path:
    (run,) = outputs.glob(f"*/{pattern}")
    return run


def result_of(run: Path, probe: str) -> dict[str, Any]:
    (path,) = run.glob(f"{probe}-*/result.json")
    return dict(json.loads(path.read_text()))


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    """A ResNet18 with a classification layer, not randomly initialised as ours is."""
    torch.manual_seed(7)
    return models.resnet18().state_dict()


def test_calibrated_encoder_is_the_random_one_with_statistics_of_the_training_images(
    lowres_ssl: Command, cells: Path, tmp_path: Path
) -> None:
    answer = lowres_ssl("pretrain", "method=random_calibrated", *ON_RESNET18)
    assert answer.code == 0, answer.err
    assert "random, BatchNorm calibrated" in answer.out
    assert "random initialisation" in answer.out
    runs = [the_run(tmp_path / "outputs", f"folder-{method}-s0-*") for method in ("random", "random_calibrated")]
    plain, calibrated = (load_file(run / "encoder.safetensors") for run in runs)
    statistics = {key for key in plain if "running" in key or "num_batches" in key}
    assert all(torch.equal(plain[key], calibrated[key]) for key in plain.keys() - statistics)
    assert not any(torch.equal(plain[key], calibrated[key]) for key in statistics)
    division = json.loads((runs[1] / "split.json").read_text())
    # The first layer's are of one batch: all training images, and no other.
    encoder = models.resnet18()
    encoder.load_state_dict(plain, strict=False)
    store = next((tmp_path / "outputs" / "stores").glob("*/images.npy"))
    ids = json.loads((store.parent / "store.json").read_text())["ids"]
    rows = [ids.index(name) for name in division["train"]]
    config = json.loads((runs[1] / "run.json").read_text())["config"]
    view = make_evaluation_view(
        torch.from_numpy(np.load(store)[rows]),
        image_size=config["image_size"],
        mean=config["images"]["mean"],
        std=config["images"]["std"],
    )
    outputs = encoder.conv1(view)
    torch.testing.assert_close(calibrated["bn1.running_mean"], outputs.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(calibrated["bn1.running_var"], outputs.var(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)


def test_run_is_scored_alone_without_baselines(lowres_ssl: Command, cells: Path, tmp_path: Path) -> None:
    answer = lowres_ssl("pretrain", "method=trivial", "baselines=false", *DATA)
    assert answer.code == 0, answer.err
    assert "random" not in answer.out
    assert list(tmp_path.glob("outputs/*/folder-random-*")) == []


def test_imagenet_weights_from_a_file_are_the_runs_encoder(
    lowres_ssl: Command, cells: Path, tmp_path: Path, weights: dict[str, torch.Tensor]
) -> None:
    torch.save({"state_dict": {f"model.backbone.{key}": value for key, value in weights.items()}}, tmp_path / "w.pth")
    answer = lowres_ssl("pretrain", "method=imagenet", "method.weights=w.pth", *ON_RESNET18)
    assert answer.code == 0, answer.err
    assert "ImageNet, frozen" in answer.out
    assert "random initialisation" in answer.out
    encoder = load_file(the_run(tmp_path / "outputs", "folder-imagenet-*") / "encoder.safetensors")
    assert all(torch.equal(encoder[key], value) for key, value in weights.items() if not key.startswith("fc."))


@pytest.mark.parametrize(
    ("typed", "key"),
    [
        (("method=supervised", "label_fraction=[0.1,0.5]"), "label_fraction"),
        (("method=supervised", "pretrain_on=all"), "pretrain_on"),
        (("method=dcl", "initial_weights=nothing"), "initial_weights=nothing"),
        (("method=dcl", "initial_weights=random,method:simclr"), "initial_weights='random','method:simclr'"),
        (("method=supervised", "label_fraction=[0]"), "label_fraction=[0.0]"),
        (("recipe=released_code", "label_fraction=[0.5]"), "select_encoder=best_validation_knn"),
        (("method=imagenet", "method.weights=IMAGENET1K_V7"), "IMAGENET1K_V1"),
        (("method=imagenet", "method.weights=both.safetensors"), "weights_part=student or weights_part=teacher"),
    ],
)
def test_what_makes_no_sense_is_refused_before_the_images(
    lowres_ssl: Command, weights: dict[str, torch.Tensor], typed: tuple[str, ...], key: str
) -> None:
    both = {f"{part}.{key}": value.clone() for part in ("student", "teacher") for key, value in weights.items()}
    save_file(both, "both.safetensors")
    answer = lowres_ssl("pretrain", *typed, *ON_RESNET18)
    assert answer.code in (2, 3, 4)
    assert key in answer.last_line


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_timm_encoder_with_weights_from_a_file(lowres_ssl: Command, cells: Path, tmp_path: Path, name: str) -> None:
    """Both at another size than their own; the transformer has to be built for it."""
    timm = pytest.importorskip("timm")
    model = timm.create_model(name, pretrained=False, num_classes=0)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    typed = ("method=pretrained", f"method.model={name}", "method.weights=w.safetensors", *DATA, "image_size=32")
    answer = lowres_ssl("pretrain", *typed)
    assert answer.code == 0, answer.err
    assert f"pretrained {name}" in answer.out
    run = the_run(tmp_path / "outputs", "folder-pretrained-*")
    if name == "test_resnet":
        stored = load_file(run / "encoder.safetensors")
        assert all(torch.equal(value, model.state_dict()[key]) for key, value in stored.items())
    exported = lowres_ssl("export", f"run={run}", "format=hub", "folder=hub")
    assert exported.code == 0, exported.err
    hub = timm.create_model(f"local-dir:{tmp_path / 'hub'}", pretrained=True).eval()
    assert hub(torch.zeros(1, 3, 32, 32)).shape == (1, model.num_features)


def test_a_result_has_whether_it_depends_on_the_seed(lowres_ssl: Command, cells: Path, tmp_path: Path) -> None:
    """By its encoder, or by its probe; mean colour by KNN is the same for every seed, one result of it is enough."""
    for seed in (0, 1):
        answer = lowres_ssl("pretrain", "method=trivial", f"seed={seed}", *DATA, *WITH_LINEAR)
        assert answer.code == 0, answer.err
    found = {
        (method, probe): {result_of(run, probe)["depends_on_seed"] for run in runs}
        for method in ("trivial", "random")
        for probe in ("knn", "linear")
        if (runs := sorted((tmp_path / "outputs" / "pretrain").glob(f"folder-{method}-*")))
    }
    assert found == {
        ("trivial", "knn"): {False},
        ("trivial", "linear"): {True},
        ("random", "knn"): {True},
        ("random", "linear"): {True},
    }
    runs = sorted((tmp_path / "outputs" / "pretrain").glob("folder-trivial-*"))
    one, other = (np.load(next(run.glob("knn-*/predictions.npz"))) for run in runs)
    np.testing.assert_array_equal(one["test_scores"], other["test_scores"])


def test_trivial_features_are_colour_and_size_standardised(lowres_ssl: Command, tmp_path: Path) -> None:
    root = tmp_path / "data" / "folder"
    for number in range(20):  # one shade: only the size tells the classes apart
        paint(root / "large" / f"{number}.png", 120, seed=number, size=40)
        paint(root / "small" / f"{number}.png", 120, seed=100 + number, size=20)
    answer = lowres_ssl("pretrain", "method=trivial", *DATA)
    assert answer.code == 0, answer.err
    run = the_run(tmp_path / "outputs", "folder-trivial-*")
    (path,) = run.glob("features-*.safetensors")
    features = load_file(path)
    assert features["train"].shape[1] == 5
    torch.testing.assert_close(features["train"].mean(dim=0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(features["train"].std(dim=0, correction=0), torch.ones(5), atol=1e-4, rtol=0)
    assert result_of(run, "knn")["test"]["accuracy"] == 1


def test_supervised_learns_from_the_labels_and_is_scored_end_to_end(
    lowres_ssl: Command, cells: Path, tmp_path: Path
) -> None:
    answer = lowres_ssl("pretrain", "method=supervised", "recipe=tuned", *DATA, "epochs=15", "views.jitter=0")
    assert answer.code == 0, answer.err
    assert "end to end" in answer.out
    run = the_run(tmp_path / "outputs", "folder-supervised-*")
    result = result_of(run, "classifier")
    assert result["test"]["accuracy"] > 0.8
    # The numbers are those of the classifier on the stored features.
    (path,) = run.glob("features-*.safetensors")
    head = load_file(run / "classifier.safetensors")
    scores = (load_file(path)["test"] @ head["weight"].T + head["bias"]).softmax(dim=1)
    (stored,) = run.glob("classifier-*/predictions.npz")
    np.testing.assert_allclose(np.load(stored)["test_scores"], scores, atol=1e-6)
    # And it can be taken to other images: here the same ones.
    typed = ("predict", f"run={run}", f"images={cells}", "probe=classifier", "formats=[npz]", "folder=said")
    assert lowres_ssl(*typed).code == 0
    said, known = np.load(tmp_path / "said" / "predictions.npz"), np.load(stored)
    labels = dict(zip(said["id"].tolist(), said["label"].tolist(), strict=True))
    wanted = [result["classes"][place] for place in known["test_predictions"]]
    assert [labels[id] for id in known["test_ids"].tolist()] == wanted


def test_supervised_sees_the_fraction_of_the_labels_that_is_typed(
    lowres_ssl: Command, cells: Path, tmp_path: Path
) -> None:
    answer = lowres_ssl("pretrain", "method=supervised", *DATA, "label_fraction=[0.5]", "batch_size=4")
    assert answer.code == 0, answer.err
    run = the_run(tmp_path / "outputs", "folder-supervised-*")
    for probe in ("knn", "classifier"):
        result = result_of(run, probe)
        assert result["images"] == {"train": 14, "validation": 2, "test": 8}
        assert result["labels"] == {"fraction": 0.5, "number": 0}
    again = lowres_ssl("evaluate", f"run={run}", "label_fraction=[1.0]", "probe.knn.k=3")
    assert again.code == 0, again.err
    assert "50% of the labels" in again.out  # those it was trained with, and no others
    assert lowres_ssl("evaluate", f"run={run}", "label_fraction=[0.1]").code == 2


def test_evaluation_with_fractions_of_the_labels(lowres_ssl: Command, trained: Path) -> None:
    answer = lowres_ssl("evaluate", f"run={trained}", "label_fraction=[0.25,1.0]", "label_draws=2")
    assert answer.code == 0, answer.err
    assert "KNN (k=5)" in answer.out
    assert "25% of the labels (8 images), k=1 " in answer.out
    assert "100% of the labels (28 images)  " in answer.out
    found = [json.loads(path.read_text()) for path in trained.glob("knn-*/result.json")]
    quarter = [result for result in found if result["labels"]["fraction"] == 0.25]
    assert {result["labels"]["number"] for result in quarter} == {0, 1}
    assert all(result["images"]["train"] == 8 for result in quarter)  # a quarter of 14 is 4 a class
    assert all(result["details"]["k"] == 1 for result in quarter)  # a quarter of 5


def test_training_goes_on_from_a_run_or_a_file(lowres_ssl: Command, trained: Path, tmp_path: Path) -> None:
    start = load_file(trained / "encoder.safetensors")
    typed = ("pretrain", "method=dcl", *DATA, "learning_rate=1e-12", "backbone.zero_init_residual=true")
    answer = lowres_ssl(*typed, f"initial_weights={trained.name}")
    assert answer.code == 0, answer.err
    assert "dcl from simclr" in answer.out
    assert "weights of simclr" in answer.out
    assert "random initialisation" in answer.out
    runs = set((tmp_path / "outputs" / "pretrain").glob("folder-dcl-*"))
    (run,) = runs
    learnt = load_file(run / "encoder.safetensors")
    torch.testing.assert_close(learnt["conv1.0.weight"], start["conv1.0.weight"])
    # The same weights from a file are the same run.
    answer = lowres_ssl(*typed, f"initial_weights={trained / 'encoder.safetensors'}")
    assert "finished already" in answer.err
    assert set((tmp_path / "outputs" / "pretrain").glob("folder-dcl-*")) == runs
    # And none at all is another.
    assert lowres_ssl(*typed, "evaluate=false").code == 0
    assert len(list((tmp_path / "outputs" / "pretrain").glob("folder-dcl-*"))) == 2


def test_training_goes_on_from_the_same_experiments_run_of_a_method(
    lowres_ssl: Command, trained: Path, tmp_path: Path
) -> None:
    typed = ("pretrain", "method=supervised", *DATA, "evaluate=false")
    answer = lowres_ssl(*typed, "initial_weights=method:simclr")
    assert answer.code == 0, answer.err
    run = the_run(tmp_path / "outputs", "folder-supervised-*")
    assert json.loads((run / "run.json").read_text())["entry"] == "supervised from simclr"
    other = lowres_ssl(*typed, "initial_weights=method:simclr", "seed=1")
    assert other.code == 4
    assert "no finished run of it with dataset=folder, recipe=paper" in other.last_line
    # Of runs under several splits it is the one under this one's, also where nobody typed which.
    assert lowres_ssl("pretrain", *DATA, "split=random", "evaluate=false").code == 0
    answer = lowres_ssl(*typed, "initial_weights=method:simclr")
    assert answer.code == 0, answer.err
    assert "finished already" in answer.err
    assert lowres_ssl("pretrain", *DATA, "epochs=2", "evaluate=false").code == 0
    other = lowres_ssl(*typed, "initial_weights=method:simclr")
    assert "several runs would do" in other.last_line


def test_weights_that_saw_other_images_or_more_labels_are_refused(
    lowres_ssl: Command, trained: Path, tmp_path: Path
) -> None:
    start = f"initial_weights={trained.name}"
    other_split = lowres_ssl("pretrain", "method=dcl", *DATA, start, "split_seed=1")
    assert other_split.code == 2
    assert "simclr was trained under another split of these images" in other_split.last_line
    subset = lowres_ssl("pretrain", "method=dcl", *DATA, start, "dataset.subset=30")
    assert subset.code == 2
    assert "of this split" in subset.last_line
    assert lowres_ssl("pretrain", "method=supervised", *DATA, "evaluate=false").code == 0
    supervised = f"initial_weights={the_run(tmp_path / 'outputs', 'folder-supervised-*').name}"
    fewer = lowres_ssl("pretrain", "method=dcl", *DATA, supervised, "label_fraction=[0.5,1.0]")
    assert fewer.code == 2
    assert "supervised was trained on 1 of the labels" in fewer.last_line
    assert lowres_ssl("pretrain", "method=dcl", *DATA, supervised, "evaluate=false").code == 0
    child = the_run(tmp_path / "outputs", "folder-dcl-*")
    assert lowres_ssl("evaluate", f"run={child}", "label_fraction=[0.5]").code == 2


def test_weights_that_saw_other_labels_of_the_same_number_are_refused(
    lowres_ssl: Command, cells: Path, tmp_path: Path
) -> None:
    half = ("label_fraction=[0.5]", "batch_size=4")
    assert lowres_ssl("pretrain", "method=supervised", *DATA, *half, "seed=1", "evaluate=false").code == 0
    start = f"initial_weights={the_run(tmp_path / 'outputs', 'folder-supervised-*').name}"
    other = lowres_ssl("pretrain", "method=supervised", *DATA, *half, start, "seed=2")
    assert other.code == 2
    assert "supervised was trained on 0.5 of the labels (draw 1)" in other.last_line
    assert (
        lowres_ssl("pretrain", "method=dcl", *DATA, start, "label_fraction=[0.5]").code == 2
    )  # would be scored on draw 0
    assert lowres_ssl("pretrain", "method=dcl", *DATA, start, "evaluate=false").code == 0
    child = the_run(tmp_path / "outputs", "folder-dcl-*")
    answer = lowres_ssl("evaluate", f"run={child}", "probe=[knn]")
    assert answer.code == 0, answer.err
    assert result_of(child, "knn")["labels"] == {"fraction": 0.5, "number": 1}


def test_model_of_timm_is_trained_scored_exported_and_embeds(lowres_ssl: Command, cells: Path, tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    typed = ("backbone.model=test_vit", "image_size=32", "optimiser=adamw")
    answer = lowres_ssl("pretrain", "method=dcl", *DATA, *typed)
    assert answer.code == 0, answer.err
    run = the_run(tmp_path / "outputs", "folder-dcl-*")
    answer = lowres_ssl("export", f"run={run}", "format=timm", f"folder={tmp_path / 'exported'}")
    assert answer.code == 0, answer.err
    exported = timm.create_model("test_vit", num_classes=0)
    exported.load_state_dict(load_file(next((tmp_path / "exported").glob("*.safetensors"))))
    answer = lowres_ssl("embed", f"run={run}", f"images={cells}", "formats=[npz]", f"folder={tmp_path / 'embedded'}")
    assert answer.code == 0, answer.err
    features = np.load(next((tmp_path / "embedded").glob("*.npz")))["features"]
    assert features.shape[1] == exported.num_features
    assert features.std(axis=0).max() > 0
    typed = ("embed", f"run={run}", f"images={cells}", "features=patches", f"folder={tmp_path / 'patches'}")
    assert lowres_ssl(*typed).code == 2
    assert lowres_ssl(*typed, "formats=[npz]").code == 0
    patches = np.load(tmp_path / "patches" / "features.npz")["features"]
    assert patches.shape == (len(features), patches.shape[1], exported.num_features)


@pytest.mark.parametrize(
    ("method", "keys", "wanted"),
    [
        ("dino", ["image_size=64"], "views of 28 px .* type method.small_size=0.5"),
        (
            "dcl",
            ["image_size=80", "image_size_schedule=[[0.5,0.5],[0.5,1.0]]", "epochs=2"],
            "image_size=40: .* type image_size=32",
        ),
    ],
)
def test_views_of_every_size_are_those_that_the_encoder_takes(
    lowres_ssl: Command, cells: Path, method: str, keys: list[str], wanted: str
) -> None:
    answer = lowres_ssl("pretrain", f"method={method}", *DATA, "backbone.model=test_vit", *keys)
    assert answer.code == 2
    assert re.search(wanted, answer.last_line)


def test_training_starts_from_imagenet_with_stages_frozen(
    lowres_ssl: Command, cells: Path, tmp_path: Path, weights: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "http://127.0.0.1:9/resnet18-imagenet.pth"  # nobody answers there
    monkeypatch.setattr("lowres_ssl.evaluate.encoder_runs.find_imagenet_url", lambda name, key: url)
    typed = ("pretrain", "method=simclr", *ON_RESNET18, "initial_weights=imagenet", "frozen_stages=2")
    answer = lowres_ssl(*typed, "dry_run=true")
    assert answer.code == 0, answer.err
    assert "would be fetched into data/weights/resnet18-imagenet.pth" in answer.err
    assert "not begun" in answer.out
    answer = lowres_ssl(*typed)
    assert answer.code == 3
    assert "put it at data/weights/resnet18-imagenet.pth" in answer.last_line
    torch.save(weights, tmp_path / "data" / "weights" / "resnet18-imagenet.pth")
    answer = lowres_ssl(*typed)
    assert answer.code == 0, answer.err
    assert "simclr from imagenet, 2 stages frozen" in answer.out
    assert "weights of imagenet" in answer.out
    learnt = load_file(the_run(tmp_path / "outputs", "folder-simclr-*") / "encoder.safetensors")
    same = {key for key, value in learnt.items() if torch.equal(value, weights[key])}
    assert {"conv1.weight", "bn1.running_mean", "layer1.1.bn2.running_var"} <= same
    assert "layer2.0.conv1.weight" not in same


def test_positives_by_patient_need_patients(lowres_ssl: Command, cells: Path, tmp_path: Path) -> None:
    answer = lowres_ssl("pretrain", "method=dcl", *DATA, "positives=patient")
    assert answer.code == 2
    assert "positives=patient: the patients of this set are not known" in answer.last_line
