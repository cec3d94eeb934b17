"""Stored runs with made-up predictions, so that whatever reads results is tested without training."""

import re
from collections.abc import Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lowres_ssl.evaluate.metrics import MetricValues, compute_metrics
from lowres_ssl.io.checksummed_json import FORMAT_VERSIONS, hash_content
from lowres_ssl.runs.result_io import write_result
from lowres_ssl.runs.run import get_run_by_identity

SETTINGS: dict[str, dict[str, Any]] = {
    "knn": {"k": 200, "vote": "uniform", "temperature": 0.1, "metric": "euclidean", "encoder": "selected"},
    "linear": {"hidden": 512, "epochs": 100, "encoder": "selected", "batch_size": 16, "learning_rate": 0.01},
    "logistic": {"strengths": [0.1, 1.0], "max_iterations": 1000},
    "classifier": {},
}
LABELS = {"knn": "KNN (k=200)", "linear": "linear (MLP)", "logistic": "logistic", "classifier": "end to end"}
UNTRAINED = ("random", "random_calibrated", "trivial", "imagenet", "pretrained", "weights")
FIXED = ("trivial", "imagenet", "pretrained", "weights")  # encoders that are the same for every seed
PROVENANCE = {
    "versions": {"lowres-ssl": "0.1.0", "python": "3.11.2", "torch": "2.14.1"},
    "device": "cpu, fp32",
    "system": "Linux",
    "commit": "0123456789abcdef0123456789abcdef01234567",
}


def fairly_certain(guessed: NDArray[np.int64], classes: int) -> NDArray[np.float32]:
    return np.eye(classes, dtype=np.float32)[guessed] * 0.8 + 0.2 / classes


@cache  # scikit-learn takes longer than all the rest, and the same runs are made up again and again
def scored(labels: tuple[int, ...], guessed: tuple[int, ...], classes: tuple[str, ...]) -> MetricValues:
    own, predicted = np.array(labels, dtype=np.int64), np.array(guessed, dtype=np.int64)
    return compute_metrics(own, predicted, fairly_certain(predicted, len(classes)), classes)


def made_up_run(
    output_dir: Path,
    *,
    method: str = "dcl",
    entry: str | None = None,
    dataset: str = "phantom",
    title: str | None = None,
    recipe: str = "paper",
    backbone: str = "resnet18",
    zero_init_residual: bool = True,
    image_size: int = 64,
    storage_size: int = 128,
    batch_size: int = 64,
    epochs: int = 250,
    learning_rate: float = 0.01,
    seed: int = 0,
    split: str = "stratified",
    split_seed: int = 0,
    split_digest: str | None = None,
    pretrain_on: str = "training",
    precision: str = "fp32",
    finished: bool = True,
    probe: str = "knn",
    settings: dict[str, Any] | None = None,
    label_fraction: float = 1.0,
    label_draw: int = 0,
    classes: Sequence[str] = ("benign", "malignant"),
    images: int = 120,
    groups: Sequence[str] | None = None,
    labels: ArrayLike | None = None,
    predictions: ArrayLike | None = None,
    accuracy: float = 0.8,
    validation_accuracy: float | None = None,
    embedding_std: float | None = None,
    loss: float = 1.0,
    chance_loss: float | None = None,
) -> Path:
    """Write a run and one result of it; the folder of the result. The same run with another probe gets one more.

    An untrained method (`UNTRAINED`) has no batch size and no epochs, whatever is given. `settings` are laid over those
    of the probe. `images` test images (half as many validate) in groups of three, unless `groups` (one an image, or
    fewer, in turn) says otherwise; `labels` and `predictions` (places in `classes`) are of them. Without `predictions`
    the share `accuracy` of them is right, at random by method, seed and batch size; of the validation images it is the
    share `validation_accuracy`, if given exactly, else `accuracy`. `embedding_std` and `loss`: of the one epoch in its
    history, which there is where the first is given.
    """
    trained = method not in UNTRAINED
    split_digest = split_digest or hash_content([dataset, split, split_seed, images])
    random = np.random.default_rng([*f"{method} {entry} {dataset} {recipe}".encode(), seed, batch_size, image_size])
    known = {"name": backbone, "small_stem": False, "zero_init_residual": zero_init_residual}
    about = {
        "method": method,
        "dataset": dataset,
        "title": title or dataset.capitalize(),
        "recipe": recipe,
        "seed": seed,
    }
    divided = {"kind": split, "seed": split_seed, "digest": split_digest}
    config: dict[str, Any] = {
        "method": {"name": method},
        "dataset": {"name": dataset, "title": about["title"]},
        "backbone": known,
        "recipe": recipe,
        "split": split,
        "split_seed": split_seed,
        "seed": seed,
        "image_size": image_size,
    }
    training = {"batch_size": batch_size, "epochs": epochs, "learning_rate": learning_rate} if trained else {}
    config |= training
    # Recipes differ in more than is made up here, so their runs do; an untrained encoder they share.
    by_recipe = {"recipe": recipe} if trained else {}
    identity = {
        "split": split_digest,
        "image_size": image_size,
        "store": [3 * images, 3, storage_size, storage_size],
        "backbone": known,
        "method": config["method"] | {"entry": entry},
        "seed": seed,
        "precision": precision,
        "training": training | by_recipe,
        "pretrain_on": pretrain_on,
    }
    names = [dataset, method, *([f"bs{batch_size}"] if trained else []), f"s{seed}"]
    run = get_run_by_identity(output_dir, "pretrain", names, identity)
    description: dict[str, Any] = about | {
        "split": divided,
        "backbone": backbone,
        "image_size": image_size,
        "precision": precision,
        "identity": identity,
        "config": config,
    }
    if entry is not None:
        description["entry"] = entry
    if trained:
        description |= {"batch_size": batch_size, "epochs_wanted": epochs, "pretrain_on": pretrain_on}
    run.start(description)
    if embedding_std is not None:
        run.write_history([{"epoch": 1, "loss": loss, "embedding_std": embedding_std, "effective_rank": 20.0}])
    if finished:
        outcome = {"epochs": epochs, "training_seconds": 60.0, "chance_loss": chance_loss} if trained else {"epochs": 0}
        run.finish(**{"training_seconds": 0.0} | outcome, **PROVENANCE)

    sides = {}
    for side, count in (("test", images), ("validation", images // 2)):
        own = np.arange(count) % len(classes)
        guessed = right_for(own, len(classes), random, accuracy)
        if side == "validation" and validation_accuracy is not None:
            guessed = right_for(own, len(classes), random, validation_accuracy)
        in_turn = groups or [f"patient{place // 3:03}" for place in range(count)]
        sides[side] = (own, guessed, [in_turn[place % len(in_turn)] for place in range(count)])
    if labels is not None:
        own = np.asarray(labels, dtype=np.int64)
        sides["test"] = (own, right_for(own, len(classes), random, accuracy), sides["test"][2])
    if predictions is not None:
        sides["test"] = (sides["test"][0], np.asarray(predictions, dtype=np.int64), sides["test"][2])
    arrays: dict[str, NDArray[Any]] = {}
    scores = {}
    for side, (own, guessed, named) in sides.items():
        certain = fairly_certain(guessed, len(classes))
        scores[side] = deepcopy(scored(tuple(own.tolist()), tuple(guessed.tolist()), tuple(classes)))
        arrays |= {
            f"{side}_ids": np.array([f"{side}{place:04}.png" for place in range(len(own))], dtype=np.str_),
            f"{side}_groups": np.array(named, dtype=np.str_),
            f"{side}_labels": own,
            f"{side}_predictions": guessed,
            f"{side}_scores": certain,
        }
    settings = SETTINGS[probe] | (settings or {})
    folder = run.result_folder(
        probe, {"settings": settings, "precision": precision, "labels": [label_fraction, label_draw]}
    )
    result = about | {
        "run": run.name,
        "probe": probe,
        "label": f"KNN (k={settings['k']})" if probe == "knn" else LABELS[probe],
        "encoder": "encoder.safetensors",
        "settings": settings,
        "labels": {"fraction": label_fraction, "draw": label_draw},
        "depends_on_seed": method not in FIXED or probe == "linear",
        "details": {},
        "test": scores["test"],
        "validation": scores["validation"],
        "pretrain_on": description.get("pretrain_on"),
        "classes": list(classes),
        "images": {"train": 4 * images, "validation": len(sides["validation"][0]), "test": len(sides["test"][0])},
        "split": divided,
        "data_digest": hash_content([dataset, images]),
        "precision": precision,
        "seconds": 1.0,
        "config": config,
    }
    write_result(folder, result | PROVENANCE, arrays)
    return folder


def right_for(labels: NDArray[np.int64], classes: int, random: np.random.Generator, share: float) -> NDArray[np.int64]:
    """Predictions of which `share`, to the nearest image, is right; the others are the next class."""
    wrong = random.permutation(len(labels))[round(share * len(labels)) :]
    predictions = labels.copy()
    predictions[wrong] = (labels[wrong] + 1) % classes
    return predictions


def as_version_1(path: Path) -> str:
    """The text of a sealed result as the first version would have written it: without a seal."""
    text = path.read_text().replace(f'"schema": {FORMAT_VERSIONS["result"]}', '"schema": 1')
    return re.sub(r',\n  "sha256": "[0-9a-f]{64}"', "", text)
