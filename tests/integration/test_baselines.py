"""Baselines are runs like any other: ImageNet's weights, any timm encoder, supervised, trivial features; and what
starts from an encoder instead of from random."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_runs import RESNET18, SMALL, WITH_LINEAR, paint
from torchvision import models
from typed import Command, accuracy_of, result_of, the_run

from lowres_ssl.augment.augmentation import make_evaluation_view

DATA = ("dataset=folder", *SMALL)
ON_RESNET18 = ("dataset=folder", *RESNET18)


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    """A ResNet18 with a classification layer, not randomly initialised as ours is."""
    torch.manual_seed(7)
    return models.resnet18().state_dict()


@pytest.mark.usefixtures("cells")
def test_calibrated_encoder_is_the_random_one_with_statistics_of_the_training_images(lowres_ssl: Command) -> None:
    answer = lowres_ssl("pretrain", "method=random_calibrated", *ON_RESNET18)
    assert "random, BatchNorm calibrated" in answer.out
    assert "random initialisation" in answer.out
    runs = [the_run(f"folder-{method}-s0-*") for method in ("random", "random_calibrated")]
    plain, calibrated = (load_file(run / "encoder.safetensors") for run in runs)
    statistics = {key for key in plain if "running" in key or "num_batches" in key}
    assert all(torch.equal(plain[key], calibrated[key]) for key in plain.keys() - statistics)
    assert not any(torch.equal(plain[key], calibrated[key]) for key in statistics)
    # The first layer's are of one batch: all training images, and no other.
    encoder = models.resnet18()
    encoder.load_state_dict(plain, strict=False)
    (store,) = Path("outputs/stores").glob("*/images.npy")
    ids = json.loads((store.parent / "store.json").read_text())["ids"]
    rows = [ids.index(name) for name in json.loads((runs[1] / "split.json").read_text())["train"]]
    config = json.loads((runs[1] / "run.json").read_text())["config"]
    mean, std = config["images"]["mean"], config["images"]["std"]
    view = make_evaluation_view(
        torch.from_numpy(np.load(store)[rows]), image_size=config["image_size"], mean=mean, std=std
    )
    outputs = encoder.conv1(view)
    torch.testing.assert_close(calibrated["bn1.running_mean"], outputs.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(calibrated["bn1.running_var"], outputs.var(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)


@pytest.mark.usefixtures("cells")
def test_imagenet_weights_from_a_file_are_scored_alone_without_baselines(
    lowres_ssl: Command, weights: dict[str, torch.Tensor]
) -> None:
    torch.save({"state_dict": {f"model.backbone.{key}": value for key, value in weights.items()}}, "w.pth")
    answer = lowres_ssl("pretrain", "method=imagenet", "method.weights=w.pth", "baselines=false", *ON_RESNET18)
    assert "ImageNet, frozen" in answer.out
    assert "random" not in answer.out
    (run,) = Path("outputs/pretrain").iterdir()
    encoder = load_file(run / "encoder.safetensors")
    assert all(torch.equal(encoder[key], value) for key, value in weights.items() if not key.startswith("fc."))


def test_weights_of_several_encoders_are_refused_before_the_images(
    lowres_ssl: Command, weights: dict[str, torch.Tensor]
) -> None:
    both = {f"{part}.{key}": value.clone() for part in ("student", "teacher") for key, value in weights.items()}
    save_file(both, "both.safetensors")
    answer = lowres_ssl("pretrain", "method=imagenet", "method.weights=both.safetensors", *ON_RESNET18, code=4)
    assert "weights_part=student or weights_part=teacher" in answer.last_line


@pytest.mark.usefixtures("cells")
def test_timm_encoder_with_weights_from_a_file(lowres_ssl: Command) -> None:
    """A transformer at another size than its own, which has to be built for it."""
    timm = pytest.importorskip("timm")
    model = timm.create_model("test_vit", pretrained=False, num_classes=0)
    save_file(model.state_dict(), "w.safetensors")
    typed = ("method=pretrained", "method.model=test_vit", "method.weights=w.safetensors", *DATA, "image_size=32")
    assert "pretrained test_vit" in lowres_ssl("pretrain", *typed).out
    run = the_run("folder-pretrained-*")
    stored = load_file(run / "encoder.safetensors")
    assert all(torch.equal(stored[key], value) for key, value in model.state_dict().items() if key != "pos_embed")
    lowres_ssl("export", f"run={run}", "format=hub", "folder=hub")
    hub = timm.create_model(f"local-dir:{Path('hub').absolute()}", pretrained=True).eval()
    assert hub(torch.zeros(1, 3, 32, 32)).shape == (1, model.num_features)


def test_trivial_features_are_colour_and_size_standardised(lowres_ssl: Command) -> None:
    """And depend on no seed: one result of them by KNN is enough."""
    for number in range(20):  # one shade: only the size tells the classes apart
        paint(Path(f"data/folder/large/{number}.png"), 120, seed=number, size=40)
        paint(Path(f"data/folder/small/{number}.png"), 120, seed=100 + number, size=20)
    lowres_ssl("pretrain", "method=trivial", *DATA, *WITH_LINEAR)
    run = the_run("folder-trivial-*")
    (path,) = run.glob("features-*.safetensors")
    features = load_file(path)
    assert features["train"].shape[1] == 5
    torch.testing.assert_close(features["train"].mean(dim=0), torch.zeros(5), atol=1e-5, rtol=0)
    torch.testing.assert_close(features["train"].std(dim=0, correction=0), torch.ones(5), atol=1e-4, rtol=0)
    assert accuracy_of(run) == 1
    found = {
        (method, probe): result_of(the_run(f"folder-{method}-s0-*"), probe)["depends_on_seed"]
        for method in ("trivial", "random")
        for probe in ("knn", "linear")
    }
    assert [each for each, depends in found.items() if not depends] == [("trivial", "knn")]


def test_supervised_learns_from_the_labels_and_is_scored_end_to_end(lowres_ssl: Command, cells: Path) -> None:
    typed = ("method=supervised", "recipe=tuned", *DATA, "epochs=15", "views.jitter=0", "baselines=false")
    assert "end to end" in lowres_ssl("pretrain", *typed).out
    run = the_run("folder-supervised-*")
    assert accuracy_of(run, "classifier") > 0.8
    # The numbers are those of the classifier on the stored features.
    (path,) = run.glob("features-*.safetensors")
    head = load_file(run / "classifier.safetensors")
    scores = (load_file(path)["test"] @ head["weight"].T + head["bias"]).softmax(dim=1)
    (stored,) = run.glob("classifier-*/predictions.npz")
    known = np.load(stored)
    np.testing.assert_allclose(known["test_scores"], scores, atol=1e-6)
    # And it can be taken to other images: here the same ones.
    lowres_ssl("predict", f"run={run}", f"images={cells}", "probe=classifier", "formats=[npz]", "folder=said")
    said = np.load("said/predictions.npz")
    labels = dict(zip(said["id"].tolist(), said["label"].tolist(), strict=True))
    classes = result_of(run, "classifier")["classes"]
    wanted = [classes[place] for place in known["test_predictions"]]
    assert [labels[id] for id in known["test_ids"].tolist()] == wanted


@pytest.mark.usefixtures("cells")
def test_supervised_sees_the_fraction_of_the_labels_that_is_typed(lowres_ssl: Command) -> None:
    lowres_ssl("pretrain", "method=supervised", *DATA, "label_fraction=[0.5]", "batch_size=4", "baselines=false")
    run = the_run("folder-supervised-*")
    for probe in ("knn", "classifier"):
        result = result_of(run, probe)
        assert result["images"] == {"train": 14, "validation": 2, "test": 8}
        assert result["labels"] == {"fraction": 0.5, "number": 0}
    again = lowres_ssl("evaluate", f"run={run}", "label_fraction=[1.0]", "probe.knn.k=3")
    assert "50% of the labels" in again.out  # those it was trained with, and no others
    lowres_ssl("evaluate", f"run={run}", "label_fraction=[0.1]", code=2)


def test_evaluation_with_fractions_of_the_labels(lowres_ssl: Command, trained: Path) -> None:
    answer = lowres_ssl("evaluate", f"run={trained}", "label_fraction=[0.25,1.0]", "label_draws=2")
    assert "KNN (k=5)" in answer.out
    assert "25% of the labels (8 images), k=1 " in answer.out
    assert "100% of the labels (28 images)  " in answer.out
    found = [json.loads(path.read_text()) for path in trained.glob("knn-*/result.json")]
    quarter = [result for result in found if result["labels"]["fraction"] == 0.25]
    assert {result["labels"]["number"] for result in quarter} == {0, 1}
    assert all(result["images"]["train"] == 8 for result in quarter)  # a quarter of 14 is 4 a class
    assert all(result["details"]["k"] == 1 for result in quarter)  # a quarter of 5


def test_training_goes_on_from_a_run_or_a_file(lowres_ssl: Command, trained: Path) -> None:
    typed = ("pretrain", "method=dcl", *DATA, "learning_rate=1e-12", "backbone.zero_init_residual=true")
    answer = lowres_ssl(*typed, f"initial_weights={trained.name}")
    for row in ("dcl from simclr", "weights of simclr", "random initialisation"):
        assert row in answer.out
    start, learnt = (load_file(run / "encoder.safetensors") for run in (trained, the_run("folder-dcl-*")))
    torch.testing.assert_close(learnt["conv1.0.weight"], start["conv1.0.weight"])
    # The same weights from a file are the same run.
    answer = lowres_ssl(*typed, f"initial_weights={trained / 'encoder.safetensors'}")
    assert "finished already" in answer.err
    assert the_run("folder-dcl-*")
    # And none at all is another.
    assert "not begun" in lowres_ssl(*typed, "dry_run=true").out


def test_training_goes_on_from_the_same_experiments_run_of_a_method(lowres_ssl: Command, trained: Path) -> None:
    typed = ("pretrain", "method=supervised", *DATA, "evaluate=false", "initial_weights=method:simclr")
    lowres_ssl(*typed)
    entry = json.loads((the_run("folder-supervised-*") / "run.json").read_text())["entry"]
    assert entry == "supervised from simclr"
    other = lowres_ssl(*typed, "seed=1", code=4)
    assert "no finished run of it with dataset=folder, recipe=paper" in other.last_line
    # Of runs under several splits it is the one under this one's, also where nobody typed which.
    lowres_ssl("pretrain", *DATA, "split=random", "evaluate=false")
    assert "finished already" in lowres_ssl(*typed).err
    lowres_ssl("pretrain", *DATA, "epochs=2", "evaluate=false")
    assert "several runs would do" in lowres_ssl(*typed, code=4).last_line


def test_weights_that_saw_other_images_or_more_labels_are_refused(lowres_ssl: Command, trained: Path) -> None:
    typed = ("pretrain", "method=dcl", *DATA)
    start = f"initial_weights={trained.name}"
    other_split = lowres_ssl(*typed, start, "split_seed=1", code=2)
    assert "simclr was trained under another split of these images" in other_split.last_line
    file = f"initial_weights={trained / 'encoder.safetensors'}"
    assert lowres_ssl(*typed, file, "split_seed=1", code=2).last_line == other_split.last_line
    frozen = ("method=imagenet", f"method.weights={trained / 'encoder.safetensors'}")
    refused = lowres_ssl("pretrain", *DATA, *frozen, "split_seed=1", code=2)
    assert "method.weights: simclr was trained under another split" in refused.last_line
    assert "of this split" in lowres_ssl(*typed, start, "dataset.subset=30", code=2).last_line
    lowres_ssl("pretrain", "method=supervised", *DATA, "evaluate=false")
    supervised = f"initial_weights={the_run('folder-supervised-*').name}"
    fewer = lowres_ssl(*typed, supervised, "label_fraction=[0.5,1.0]", code=2)
    assert "supervised was trained on 1 of the labels" in fewer.last_line
    lowres_ssl(*typed, supervised, "evaluate=false")
    lowres_ssl("evaluate", f"run={the_run('folder-dcl-*')}", "label_fraction=[0.5]", code=2)


@pytest.mark.usefixtures("cells")
def test_weights_that_saw_other_labels_of_the_same_number_are_refused(lowres_ssl: Command) -> None:
    half = ("pretrain", "method=supervised", *DATA, "label_fraction=[0.5]", "batch_size=4", "evaluate=false")
    lowres_ssl(*half, "seed=1")
    start = f"initial_weights={the_run('folder-supervised-*').name}"
    other = lowres_ssl(*half, start, "seed=2", code=2)
    assert "supervised was trained on 0.5 of the labels (draw 1)" in other.last_line
    typed = ("pretrain", "method=dcl", *DATA, start)
    lowres_ssl(*typed, "label_fraction=[0.5]", code=2)  # would be scored on draw 0
    lowres_ssl(*typed, "evaluate=false")
    child = the_run("folder-dcl-*")
    lowres_ssl("evaluate", f"run={child}", "probe=[knn]")
    assert result_of(child, "knn")["labels"] == {"fraction": 0.5, "number": 1}


def test_model_of_timm_is_trained_scored_exported_and_embeds(lowres_ssl: Command, cells: Path) -> None:
    timm = pytest.importorskip("timm")
    typed = ("backbone.model=test_vit", "image_size=32", "optimiser=adamw", "baselines=false")
    lowres_ssl("pretrain", "method=dcl", *DATA, *typed)
    run = the_run("folder-dcl-*")
    lowres_ssl("export", f"run={run}", "format=timm", "folder=exported")
    exported = timm.create_model("test_vit", num_classes=0)
    exported.load_state_dict(load_file(next(Path("exported").glob("*.safetensors"))))
    typed = ("embed", f"run={run}", f"images={cells}")
    lowres_ssl(*typed, "formats=[npz]", "folder=embedded")
    features = np.load("embedded/features.npz")["features"]
    assert features.shape[1] == exported.num_features
    assert features.std(axis=0).max() > 0
    typed = (*typed, "features=patches", "folder=patches")
    lowres_ssl(*typed, code=2)
    lowres_ssl(*typed, "formats=[npz]")
    patches = np.load("patches/features.npz")["features"]
    assert patches.shape == (len(features), patches.shape[1], exported.num_features)


@pytest.mark.usefixtures("cells")
def test_training_starts_from_imagenet_with_stages_frozen(
    lowres_ssl: Command, weights: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "http://127.0.0.1:9/resnet18-imagenet.pth"  # nobody answers there
    monkeypatch.setattr("lowres_ssl.evaluate.initial_weights.find_imagenet_url", lambda name, key: url)
    typed = ("pretrain", "method=simclr", *ON_RESNET18, "initial_weights=imagenet", "frozen_stages=2")
    answer = lowres_ssl(*typed, "dry_run=true")
    assert "would be fetched into data/weights/resnet18-imagenet.pth" in answer.err
    assert "not begun" in answer.out
    assert "put it at data/weights/resnet18-imagenet.pth" in lowres_ssl(*typed, code=3).last_line
    torch.save(weights, "data/weights/resnet18-imagenet.pth")
    answer = lowres_ssl(*typed)
    assert "simclr from imagenet, 2 stages frozen" in answer.out
    assert "weights of imagenet" in answer.out
    learnt = load_file(the_run("folder-simclr-*") / "encoder.safetensors")
    same = {key for key, value in learnt.items() if torch.equal(value, weights[key])}
    assert {"conv1.weight", "bn1.running_mean", "layer1.1.bn2.running_var"} <= same
    assert "layer2.0.conv1.weight" not in same
