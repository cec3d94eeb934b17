"""Compute the features of images by a frozen encoder once, and keep them beside the run."""

import hashlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lowres_ssl.augment.augmentation import make_evaluation_view
from lowres_ssl.config.experiment_schema import ExperimentConfig
from lowres_ssl.console import CountProgress, log_warning
from lowres_ssl.data.prepare import PreparedData
from lowres_ssl.data.splits import ALL_LABELS, LabelSubset, Split, select_labelled
from lowres_ssl.device import DevicePrecision
from lowres_ssl.encoders.base import build_fixed_encoder
from lowres_ssl.encoders.fit_weights import load_encoder_weights
from lowres_ssl.encoders.from_config import get_normalisation, init_encoder, set_training_mode
from lowres_ssl.encoders.weights_file import load_tensors, save_tensors
from lowres_ssl.errors import CheckpointError, TrainingError
from lowres_ssl.io.checksummed_json import hash_content
from lowres_ssl.probes.base import Features
from lowres_ssl.runs.run import EncoderChoice, Run
from lowres_ssl.seeding import derive_seed
from lowres_ssl.train.batches import BatchReader
from lowres_ssl.train.state import ReadBatch

EXTRACTION_BATCH = 128


@dataclass(frozen=True)
class EvaluationView:
    """The view of an image that its features are of: the whole image at `image_size`, normalised by mean and std."""

    image_size: int
    mean: Sequence[float]
    std: Sequence[float]

    @classmethod
    def from_config(cls, config: ExperimentConfig, image_size: int | None = None) -> Self:
        """Return the view of the config's images, at its own size or another."""
        return cls(image_size or config.image_size, *get_normalisation(config))

    def __call__(self, images: Tensor) -> Tensor:
        """Images uint8 [B, C, R, R] -> float32 [B, 3, S, S] on the same device."""
        view = make_evaluation_view(images, image_size=self.image_size, mean=self.mean, std=self.std)
        return view.contiguous(memory_format=torch.channels_last)


def extract_features(
    encoder: nn.Module,
    take: ReadBatch,
    rows: Sequence[int] | NDArray[np.int64],
    view: EvaluationView,
    compute: DevicePrecision,
    done: Callable[[int], None] | None = None,
) -> Tensor:
    """Compute the encoder's output for the `rows` that `take` reads, at least one: float32 [n, D] on the CPU. `done` is
    given the number of images of each batch.

    The encoder is frozen: in evaluation mode, so that BatchNorm uses its stored statistics and does not change them.
    Afterwards it is in the mode it was in. Raises `TrainingError` if a feature is NaN or infinite.
    """
    training = encoder.training
    encoder.eval()
    features = []
    indices = np.asarray(rows, dtype=np.int64)
    try:
        for start in range(0, len(indices), EXTRACTION_BATCH):
            images = take(indices[start : start + EXTRACTION_BATCH])
            features.append(extract_batch(encoder, images, view, compute))
            if done is not None:
                done(len(images))
    finally:
        if training:
            set_training_mode(encoder)
    return torch.cat(features)


@torch.no_grad()
def extract_batch(encoder: nn.Module, images: Tensor, view: EvaluationView, compute: DevicePrecision) -> Tensor:
    """Compute the features of images uint8 [B, C, R, R] on the device: float32 [B, D] on the CPU, by an encoder in
    evaluation mode. Raises `TrainingError` if a feature is NaN or infinite."""
    shown = view(images)
    with compute.autocast():
        output = encoder(shown)
    features: Tensor = output.float().cpu()
    if not features.isfinite().all():
        raise TrainingError("the encoder's features are NaN or infinite; try precision=fp32, or train it again")
    return features


def iter_shuffled_batches(
    take: ReadBatch, rows: Sequence[int] | NDArray[np.int64], view: EvaluationView, seed: int
) -> Iterator[Tensor]:
    """Yield the `rows` as `extract_features` shows them to the encoder, each once: float32 [B, 3, S, S] on the device.

    In an order drawn from `seed`: many sets are sorted by class, and a batch of one class has other statistics than the
    set. The batches differ by one image at most in size, so that none counts for more than its images.
    """
    order = np.random.default_rng(derive_seed(seed, "shuffled_batches")).permutation(np.asarray(rows, dtype=np.int64))
    for chosen in np.array_split(order, math.ceil(len(order) / EXTRACTION_BATCH)):
        images = take(chosen)
        with torch.autocast(images.device.type, enabled=False):  # the caller may be within it
            shown = view(images)
        yield shown


def read_stored_features(path: Path, key: str, sides: Collection[str] | None = None) -> dict[str, Tensor] | None:
    """The features of these sides (None: of all) in `path`, if they are there and are those that `key` describes.

    None if not: damaged ones are made anew, with a note. Other sides are not read.
    """
    try:
        tensors, metadata = load_tensors(path, sides)
        if metadata["key"] != key:  # of another encoder or other images
            return None
        if all(metadata["digests"].get(side) == digest_features(own) for side, own in tensors.items()):
            return tensors
    except (CheckpointError, KeyError, TypeError, AttributeError):
        pass
    if path.exists():
        log_warning(f"{path}: these features are damaged; made anew")
    return None


def store_features(path: Path, features: Mapping[str, Tensor], key: str) -> None:
    """Keep the features of each side, float32 [n, D], under `key`, which identifies what they are of."""
    digests = {side: digest_features(own) for side, own in features.items()}
    save_tensors(path, features, {"key": key, "digests": digests})


def digest_features(features: Tensor) -> str:
    """Hex SHA-256 of the numbers."""
    return hashlib.sha256(features.contiguous().numpy().tobytes()).hexdigest()


def get_scored_size(config: ExperimentConfig) -> int | None:
    """Get the pixels a side of the images that are scored; None where it is the size of the training."""
    return None if config.scored_size == config.image_size else config.scored_size


def get_run_features(
    run: Run,
    which: EncoderChoice,
    config: ExperimentConfig,
    material: PreparedData,
    compute: DevicePrecision,
    *,
    size: int | None = None,
    sides: Sequence[str] = ("train", "validation", "test"),
) -> dict[str, Tensor]:
    """What the run's encoder makes of the images of these `sides`: float32 [n, D] each. `size`: pixels a side of what
    the encoder sees; None: `image_size`.

    Computed once and for all sides, then read. Raises `CheckpointError` if the encoder is missing, damaged or of
    another architecture.
    """
    path, weights = run.features(which, compute.precision, size), run.get_checked_encoder(which)
    view = EvaluationView.from_config(config, size)
    key = hash_content(
        {
            "encoder": run.get_encoder_hash(weights),
            "images": material.catalogue.digest,
            "store": list(material.store.images.shape),
            "split": material.split.digest,
            "view": [view.image_size, view.mean, view.std],
            "precision": compute.precision,
        }
    )
    with run.lock() as hold:
        features = read_stored_features(path, key, sides)
        if features is None:
            count = len(material.catalogue.records)
            name = f"{run.name}: features"
            with CountProgress(name, count, first=f"{name} of {count} images") as shown:
                features = compute_subset_features(weights, config, view, material, compute, shown.add)
            hold.check()
            store_features(path, features, key)
    return {side: features[side] for side in sides}


def compute_subset_features(
    weights: Path,
    config: ExperimentConfig,
    view: EvaluationView,
    material: PreparedData,
    compute: DevicePrecision,
    done: Callable[[int], None] | None = None,
) -> dict[str, Tensor]:
    """What the encoder in the file `weights` makes of all images, by side. `done`: as of `extract_features`."""
    encoder, width = init_encoder(config)
    load_encoder_weights(encoder, load_tensors(weights)[0], str(weights))
    encoder.to(compute.device)
    # A copy of the store in the device's memory would not pay for one reading.
    take = BatchReader(material.store, compute.device, "host")
    features = {
        side: extract_features(encoder, take, rows, view, compute, done) if len(rows) else torch.empty(0, width)
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
    take, view = BatchReader(material.store, compute.device, "host"), EvaluationView.from_config(config)
    encoder.to(compute.device)
    with compute.autocast():
        method.adapt(encoder, iter_shuffled_batches(take, material.training_rows, view, config.seed))


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


def get_subset_rows(split: Split) -> dict[str, np.ndarray[Any, Any]]:
    """The rows of each side; the records of a catalogue and the rows of its store are in one order."""
    return {"train": split.train, "validation": split.validation, "test": split.test}
