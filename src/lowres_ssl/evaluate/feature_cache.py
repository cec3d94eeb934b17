"""A run's frozen encoder -> the features of its images: computed once, stored in the run, then read."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lowres_ssl.config.check import ExperimentConfig
from lowres_ssl.console import ImageProgress
from lowres_ssl.data.label_subset import ALL_LABELS, LabelSubset, select_labelled
from lowres_ssl.data.prepare import PreparedData
from lowres_ssl.data.splits import Split
from lowres_ssl.device import DevicePrecision
from lowres_ssl.encoders.base import build_fixed_encoder
from lowres_ssl.encoders.from_config import get_normalisation, init_encoder
from lowres_ssl.encoders.weights_file import load_encoder_weights, load_tensors
from lowres_ssl.evaluate.features import extract_features, iter_shuffled_batches, read_stored_features, store_features
from lowres_ssl.io.checksummed_json import hash_content
from lowres_ssl.probes.base import Features
from lowres_ssl.runs.run import EncoderChoice, Run
from lowres_ssl.train.batch_reader import BatchReader, ReadBatch


def get_run_features(
    run: Run,
    which: EncoderChoice,
    config: ExperimentConfig,
    material: PreparedData,
    compute: DevicePrecision,
    sides: Sequence[str] = ("train", "validation", "test"),
) -> dict[str, Tensor]:
    """What the run's encoder makes of the images of these `sides`: float32 [n, D] each.

    Computed once and for all sides, then read. Raises `CheckpointError` if the encoder is missing, damaged or of
    another architecture.
    """
    path, weights = run.features(which, compute.precision), run.get_checked_encoder(which)
    key = hash_content(
        {
            "encoder": run.get_encoder_hash(weights),
            "images": material.catalogue.digest,
            "store": list(material.store.images.shape),
            "split": material.split.digest,
            "view": [config.image_size, *get_normalisation(config)],
            "precision": compute.precision,
        }
    )
    features = read_stored_features(path, key, sides)
    if features is None:
        with run.lock() as hold:
            features = read_stored_features(
                path, key, sides
            )  # another process may have made them while this one waited
            if features is None:
                count = len(material.catalogue.records)
                with ImageProgress(
                    f"{run.name}: features", count, first=f"{run.name}: features of {count} images"
                ) as shown:
                    features = compute_subset_features(weights, config, material, compute, shown.add)
                hold.check()
                store_features(path, features, key)
    return {side: features[side] for side in sides}


def compute_subset_features(
    weights: Path,
    config: ExperimentConfig,
    material: PreparedData,
    compute: DevicePrecision,
    done: Callable[[int], None] | None = None,
) -> dict[str, Tensor]:
    """What the encoder in the file `weights` makes of all images, by side. `done`: as of `extract`."""
    encoder, width = init_encoder(config)
    load_encoder_weights(encoder, load_tensors(weights)[0], str(weights))
    encoder.to(compute.device)
    features = {
        side: extract_rows(encoder, rows, config, material, compute, done) if len(rows) else torch.empty(0, width)
        for side, rows in get_subset_rows(material.split).items()
    }
    method = build_fixed_encoder(config.method)
    return append_image_sizes(features, material) if method is not None and method.adds_size else features


def adapt_baseline(
    encoder: nn.Module, config: ExperimentConfig, material: PreparedData, compute: DevicePrecision
) -> None:
    """Change the encoder of a baseline in place by the training images, if that is what the baseline does.

    Raises `ConfigError` for an encoder that the baseline cannot change.
    """
    method = build_fixed_encoder(config.method)
    if method is None:
        return
    mean, std = get_normalisation(config)
    images = iter_shuffled_batches(
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


def append_image_sizes(features: Mapping[str, Tensor], material: PreparedData) -> dict[str, Tensor]:
    """Each side's features [n, D] and the logarithms of its images' height and width, standardised on the training
    images: float32 [n, D + 2]. What is the same in all of them becomes 0."""
    records = material.catalogue.records
    joined = {}
    for side, rows in get_subset_rows(material.split).items():
        sizes = torch.tensor([[records[row].height, records[row].width] for row in rows]).reshape(-1, 2)
        joined[side] = torch.cat((features[side], sizes.log()), dim=1)
    mean, spread = joined["train"].mean(dim=0), joined["train"].std(dim=0, correction=0)
    return {side: (rows - mean) / spread.clamp(min=1e-6) for side, rows in joined.items()}


def build_probe_features(
    sides: Mapping[str, Tensor], material: PreparedData, compute: DevicePrecision, draw: LabelSubset = ALL_LABELS
) -> Features:
    """What a probe is given, on the device: each side's features [n, D], the labels of all sides but "test"; of the
    training and validation images those that `draw` gives a label."""
    catalogue, split, device = material.catalogue, material.split, compute.device
    train, validation = select_labelled(catalogue.labels, split.train, split.validation, draw)
    return Features(
        train=sides["train"][train].to(device),
        train_labels=torch.from_numpy(catalogue.labels[split.train[train]]).to(device),
        validation=sides["validation"][validation].to(device),
        validation_labels=torch.from_numpy(catalogue.labels[split.validation[validation]]).to(device),
        test=sides["test"].to(device),
        classes=len(catalogue.classes),
    )


def extract_rows(
    encoder: nn.Module,
    rows: np.ndarray[Any, Any],
    config: ExperimentConfig,
    material: PreparedData,
    compute: DevicePrecision,
    done: Callable[[int], None] | None = None,
    take: ReadBatch | None = None,
) -> Tensor:
    """`extract` with the view that `config` says, of some rows of the store. `take`: who reads them, if they are in the
    device's memory already; a copy of all for one reading would not pay."""
    mean, std = get_normalisation(config)
    return extract_features(
        encoder,
        take or BatchReader(material.store, compute.device, "host"),
        rows.tolist(),
        image_size=config.image_size,
        mean=mean,
        std=std,
        compute=compute,
        done=done,
    )


def get_subset_rows(split: Split) -> dict[str, np.ndarray[Any, Any]]:
    """The rows of each side; the records of a catalogue and the rows of its store are in one order."""
    return {"train": split.train, "validation": split.validation, "test": split.test}
