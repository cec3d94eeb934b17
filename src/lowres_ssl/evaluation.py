"""A run's frozen encoder -> features -> probes -> stored results. What is stored already is read, not computed."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lowres_ssl.backbones import build_encoder
from lowres_ssl.checkpoint import load_encoder, load_tensors
from lowres_ssl.config import Experiment, plain
from lowres_ssl.data.records import Catalogue
from lowres_ssl.data.splits import Split
from lowres_ssl.device import Compute
from lowres_ssl.errors import ConfigError
from lowres_ssl.features import extract, store_features, stored
from lowres_ssl.figures.tsne import draw_tsne
from lowres_ssl.metrics import score
from lowres_ssl.preparation import Material, train_counts
from lowres_ssl.probes import Features, Probe, build_probe
from lowres_ssl.provenance import provenance
from lowres_ssl.randomness import derive
from lowres_ssl.runs import Run, Which, digest, file_hash, read_result, write_result
from lowres_ssl.terminal import say


@dataclass(frozen=True)
class Evaluation:
    """How to score: probes by name, with their settings as they are stored."""

    probes: dict[str, Probe]
    settings: dict[str, dict[str, Any]]


def probes_of(config: Experiment) -> Evaluation:
    """The probes that `config` asks for. Raises `ConfigError` for one that is unknown or whose settings do not fit."""
    if not config.probe:
        raise ConfigError("probe=[]: nothing to score with; type probe=[knn,linear], or pretrain with evaluate=false")
    arguments = {key: {k: v for k, v in values.items() if k != "name"} for key, values in config.probe.items()}
    return Evaluation({key: build_probe(key, values) for key, values in arguments.items()}, arguments)


def check_images(evaluation: Evaluation, catalogue: Catalogue, split: Split) -> None:
    """Raises `ConfigError` if the images will not do for the probes; says what is doubtful of either."""
    notes = [*catalogue.notes, *split.notes]
    for probe in evaluation.probes.values():
        notes += probe.check(train_counts=train_counts(catalogue, split), class_names=catalogue.classes)
    for note in dict.fromkeys(notes):
        say(f"note: {note}")


def new_encoder(config: Experiment) -> tuple[nn.Module, int]:
    """The randomly initialised encoder of `config`, and how many features it has."""
    return build_encoder(
        config.backbone.name,
        small_stem=config.backbone.small_stem,
        zero_init_residual=config.backbone.zero_init_residual,
        seed=config.seed,
    )


def evaluate(
    run: Run, config: Experiment, material: Material, evaluation: Evaluation, compute: Compute
) -> list[dict[str, Any]]:
    """One result a probe, in their order, as `result.json` holds it."""
    results = []
    read: dict[Which, dict[str, Tensor]] = {}  # the features, once for all probes
    for name, probe in evaluation.probes.items():
        settings = evaluation.settings[name]
        folder = run.result_folder(name, {"settings": settings, "precision": compute.precision})
        result = None if config.force else read_result(folder)
        if result is None:
            say(f"{run.name}: {probe.label}")
            if probe.encoder not in read:
                read[probe.encoder] = features_of(run, probe.encoder, config, material, compute)
            sides = read[probe.encoder]
            result = evaluate_one(run, sides, config, material, name, probe, settings, compute, folder)
        results.append(result)
    return results


def evaluate_one(
    run: Run,
    sides: dict[str, Tensor],
    config: Experiment,
    material: Material,
    name: str,
    probe: Probe,
    settings: dict[str, Any],
    compute: Compute,
    folder: Path,
) -> dict[str, Any]:
    """Fit one probe, score its predictions, store both."""
    catalogue, split = material.catalogue, material.split
    labels = {side: catalogue.labels[rows] for side, rows in sides_of(split).items()}
    started = time.perf_counter()
    prediction = probe.fit_predict(with_labels(sides, material, compute), seed=derive(config.seed, "probe", name))
    seconds = time.perf_counter() - started
    description = run.description()
    validation = None
    if len(labels["validation"]):
        validation = score(labels["validation"], prediction.validation, prediction.validation_scores, catalogue.classes)
    result = {
        "run": run.name,
        "probe": name,
        "label": probe.label,
        "encoder": run.encoder(probe.encoder).name,
        "settings": settings,
        "details": prediction.details,
        "test": score(labels["test"], prediction.test, prediction.test_scores, catalogue.classes),
        "validation": validation,
        **{key: description.get(key) for key in ("method", "dataset", "title", "seed", "pretrain_on")},
        "recipe": config.recipe,
        "classes": list(catalogue.classes),
        "images": {side: len(rows) for side, rows in labels.items()},
        "split": {"kind": split.kind, "seed": split.seed, "digest": split.digest},
        "data_digest": catalogue.digest,
        "precision": compute.precision,
        "seconds": seconds,
        "config": plain(config),
        **provenance(compute.describe()),
    }
    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for side, predicted, scores in (
        ("test", prediction.test, prediction.test_scores),
        ("validation", prediction.validation, prediction.validation_scores),
    ):
        records = [catalogue.records[row] for row in sides_of(split)[side]]
        arrays |= {
            f"{side}_ids": np.array([record.id for record in records], dtype=np.str_),
            f"{side}_groups": np.array([record.group or "" for record in records], dtype=np.str_),
            f"{side}_labels": labels[side],
            f"{side}_predictions": predicted,
            f"{side}_scores": np.asarray(scores, dtype=np.float32),
        }
    write_result(folder, result, arrays)
    stored_result = read_result(folder)
    assert stored_result is not None, "it was written a moment ago"
    return stored_result


def picture_of(run: Run, name: str, config: Experiment, material: Material, compute: Compute) -> Path:
    """The t-SNE picture of the run's test features, drawn if it is not there yet."""
    if config.force or not run.tsne.exists():
        say(f"{run.name}: t-SNE")
        features = features_of(run, "selected", config, material, compute)["test"]
        labels = material.catalogue.labels[material.split.test]
        draw_tsne(run.tsne, features.numpy(), labels, material.catalogue.classes, f"{config.dataset.title}: {name}")
    return run.tsne


def features_of(run: Run, which: Which, config: Experiment, material: Material, compute: Compute) -> dict[str, Tensor]:
    """What the run's encoder makes of each side's images: "train", "validation", "test" -> float32 [n, D].

    Computed once, then read. Raises `CheckpointError` if the encoder is missing, damaged or of another architecture.
    """
    path, weights = run.features(which, compute.precision), run.checked_encoder(which)
    key = digest(
        {
            "encoder": file_hash(weights),
            "images": material.catalogue.digest,
            "store": list(material.store.images.shape),
            "split": material.split.digest,
            "view": [config.image_size, list(config.images.mean), list(config.images.std)],
            "precision": compute.precision,
        }
    )
    features = stored(path, key)
    if features is None:
        say(f"{run.name}: features of {len(material.catalogue.records)} images")
        encoder, width = new_encoder(config)
        load_encoder(encoder, load_tensors(weights)[0], str(weights))
        encoder.to(compute.device)
        features = {
            side: features_from(encoder, rows, config, material, compute) if len(rows) else torch.empty(0, width)
            for side, rows in sides_of(material.split).items()
        }
        store_features(path, features, key)
    return features


def with_labels(sides: Mapping[str, Tensor], material: Material, compute: Compute) -> Features:
    """What a probe is given, on the device: each side's features [n, D], the labels of all sides but "test"."""
    catalogue, split, device = material.catalogue, material.split, compute.device
    return Features(
        train=sides["train"].to(device),
        train_labels=torch.from_numpy(catalogue.labels[split.train]).to(device),
        validation=sides["validation"].to(device),
        validation_labels=torch.from_numpy(catalogue.labels[split.validation]).to(device),
        test=sides["test"].to(device),
        classes=len(catalogue.classes),
    )


def features_from(
    encoder: nn.Module, rows: np.ndarray[Any, Any], config: Experiment, material: Material, compute: Compute
) -> Tensor:
    """`extract` with the view that `config` says, of some rows of the store."""
    return extract(
        encoder,
        material.store,
        rows.tolist(),
        image_size=config.image_size,
        mean=config.images.mean,
        std=config.images.std,
        compute=compute,
    )


def sides_of(split: Split) -> dict[str, np.ndarray[Any, Any]]:
    """The rows of each side; the records of a catalogue and the rows of its store are in one order."""
    return {"train": split.train, "validation": split.validation, "test": split.test}
