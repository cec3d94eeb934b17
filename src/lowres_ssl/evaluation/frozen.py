"""A run's frozen encoder -> the features of its images: computed once, stored in the run, then read."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lowres_ssl.checkpoint import load_encoder, load_tensors
from lowres_ssl.config import Experiment
from lowres_ssl.data.splits import Split
from lowres_ssl.device import Compute
from lowres_ssl.evaluation.labels import ALL_LABELS, LabelDraw, drawn
from lowres_ssl.features import extract, shuffled_batches, store_features, stored
from lowres_ssl.files.hashes import digest
from lowres_ssl.planning.encoders import new_encoder, normalisation, untrained
from lowres_ssl.planning.preparation import Material
from lowres_ssl.probes import Features
from lowres_ssl.progress import Counted
from lowres_ssl.runs import Run, Which
from lowres_ssl.training.residence import BatchReader, Take


def features_of(
    run: Run,
    which: Which,
    config: Experiment,
    material: Material,
    compute: Compute,
    sides: Sequence[str] = ("train", "validation", "test"),
) -> dict[str, Tensor]:
    """What the run's encoder makes of the images of these `sides`: float32 [n, D] each.

    Computed once and for all sides, then read. Raises `CheckpointError` if the encoder is missing, damaged or of
    another architecture.
    """
    path, weights = run.features(which, compute.precision), run.checked_encoder(which)
    key = digest(
        {
            "encoder": run.description()["encoders"][weights.name],
            "images": material.catalogue.digest,
            "store": list(material.store.images.shape),
            "split": material.split.digest,
            "view": [config.image_size, *normalisation(config)],
            "precision": compute.precision,
        }
    )
    features = stored(path, key, sides)
    if features is None:
        with run.held() as hold:
            features = stored(path, key, sides)  # another process may have made them while this one waited
            if features is None:
                count = len(material.catalogue.records)
                with Counted(f"{run.name}: features", count, first=f"{run.name}: features of {count} images") as shown:
                    features = new_features(weights, config, material, compute, shown.add)
                hold.check()
                store_features(path, features, key)
    return {side: features[side] for side in sides}


def new_features(
    weights: Path, config: Experiment, material: Material, compute: Compute, done: Callable[[int], None] | None = None
) -> dict[str, Tensor]:
    """What the encoder in the file `weights` makes of all images, by side. `done`: as of `extract`."""
    encoder, width = new_encoder(config)
    load_encoder(encoder, load_tensors(weights)[0], str(weights))
    encoder.to(compute.device)
    features = {
        side: features_from(encoder, rows, config, material, compute, done) if len(rows) else torch.empty(0, width)
        for side, rows in sides_of(material.split).items()
    }
    method = untrained(config)
    return with_sizes(features, material) if method is not None and method.adds_size else features


def adapt(encoder: nn.Module, config: Experiment, material: Material, compute: Compute) -> None:
    """Change the encoder of a baseline in place by the training images, if that is what the baseline does.

    Raises `ConfigError` for an encoder that the baseline cannot change.
    """
    method = untrained(config)
    if method is None:
        return
    mean, std = normalisation(config)
    images = shuffled_batches(
        BatchReader(material.store, compute.device, "host"),
        material.split.train.tolist(),
        image_size=config.image_size,
        mean=mean,
        std=std,
        compute=compute,
        seed=config.seed,
    )
    encoder.to(compute.device)
    with compute.autocast():
        method.adapt(encoder, images)


def with_sizes(features: Mapping[str, Tensor], material: Material) -> dict[str, Tensor]:
    """Each side's features [n, D] and the logarithms of its images' height and width, standardised on the training
    images: float32 [n, D + 2]. What is the same in all of them becomes 0."""
    records = material.catalogue.records
    joined = {}
    for side, rows in sides_of(material.split).items():
        sizes = torch.tensor([[records[row].height, records[row].width] for row in rows]).reshape(-1, 2)
        joined[side] = torch.cat((features[side], sizes.log()), dim=1)
    mean, spread = joined["train"].mean(dim=0), joined["train"].std(dim=0, correction=0)
    return {side: (rows - mean) / spread.clamp(min=1e-6) for side, rows in joined.items()}


def with_labels(
    sides: Mapping[str, Tensor], material: Material, compute: Compute, draw: LabelDraw = ALL_LABELS
) -> Features:
    """What a probe is given, on the device: each side's features [n, D], the labels of all sides but "test"; of the
    training and validation images those that `draw` gives a label."""
    catalogue, split, device = material.catalogue, material.split, compute.device
    train, validation = drawn(catalogue.labels, split.train, split.validation, draw)
    return Features(
        train=sides["train"][train].to(device),
        train_labels=torch.from_numpy(catalogue.labels[split.train[train]]).to(device),
        validation=sides["validation"][validation].to(device),
        validation_labels=torch.from_numpy(catalogue.labels[split.validation[validation]]).to(device),
        test=sides["test"].to(device),
        classes=len(catalogue.classes),
    )


def features_from(
    encoder: nn.Module,
    rows: np.ndarray[Any, Any],
    config: Experiment,
    material: Material,
    compute: Compute,
    done: Callable[[int], None] | None = None,
    take: Take | None = None,
) -> Tensor:
    """`extract` with the view that `config` says, of some rows of the store. `take`: who reads them, if they are in the
    device's memory already; a copy of all for one reading would not pay."""
    mean, std = normalisation(config)
    return extract(
        encoder,
        take or BatchReader(material.store, compute.device, "host"),
        rows.tolist(),
        image_size=config.image_size,
        mean=mean,
        std=std,
        compute=compute,
        done=done,
    )


def sides_of(split: Split) -> dict[str, np.ndarray[Any, Any]]:
    """The rows of each side; the records of a catalogue and the rows of its store are in one order."""
    return {"train": split.train, "validation": split.validation, "test": split.test}
