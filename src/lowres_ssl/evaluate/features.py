"""Frozen encoder -> features: every image once, float32, stored beside the encoder."""

import hashlib
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from lowres_ssl.augment.augmentation import make_evaluation_view
from lowres_ssl.console import log_warning
from lowres_ssl.device import DevicePrecision
from lowres_ssl.encoders.weights_file import all_finite, load_tensors, save_tensors
from lowres_ssl.errors import CheckpointError, TrainingError
from lowres_ssl.seeding import derive_seed
from lowres_ssl.train.batch_reader import ReadBatch

EXTRACTION_BATCH = 128


def extract_features(
    encoder: nn.Module,
    take: ReadBatch,
    rows: Sequence[int],
    *,
    image_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    compute: DevicePrecision,
    done: Callable[[int], None] | None = None,
) -> Tensor:
    """The encoder's output for the `rows` that `take` reads: float32 [n, D] on the CPU, one row an image, the whole
    image seen. `done` is given the number of images of each batch.

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
            features.append(extract_batch(encoder, images, image_size, mean, std, compute))
            if done is not None:
                done(len(images))
    finally:
        encoder.train(training)
    if not features:
        raise ValueError("no images to extract features of")
    return torch.cat(features)


@torch.no_grad()
def extract_batch(
    encoder: nn.Module,
    images: Tensor,
    image_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    compute: DevicePrecision,
) -> Tensor:
    """Of images uint8 [B, C, R, R] on the device: float32 [B, D] on the CPU, by an encoder in evaluation mode.

    Raises `TrainingError` if a feature is NaN or infinite.
    """
    view = make_evaluation_view(images, image_size=image_size, mean=mean, std=std)
    with compute.autocast():
        output = encoder(view.contiguous(memory_format=torch.channels_last))
    features: Tensor = output.float().cpu()
    if not all_finite(features):
        raise TrainingError("the encoder's features are NaN or infinite; try precision=fp32, or train it again")
    return features


def iter_shuffled_batches(
    take: ReadBatch,
    rows: Sequence[int],
    *,
    image_size: int,
    mean: Sequence[float],
    std: Sequence[float],
    compute: DevicePrecision,
    seed: int,
) -> Iterator[Tensor]:
    """Yield the `rows` as `extract` shows them to the encoder, each once: float32 [B, 3, S, S] on the device.

    In an order drawn from `seed`: many sets are sorted by class, and a batch of one class has other statistics than the
    set. The batches differ by one image at most in size, so that none counts for more than its images.
    """
    order = np.random.default_rng(derive_seed(seed, "shuffled_batches")).permutation(np.asarray(rows, dtype=np.int64))
    for chosen in np.array_split(order, math.ceil(len(order) / EXTRACTION_BATCH)):
        with torch.autocast(compute.device.type, enabled=False):  # whoever takes them may be within it
            view = make_evaluation_view(take(chosen), image_size=image_size, mean=mean, std=std)
        yield view.contiguous(memory_format=torch.channels_last)


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
    """Keep the features of each side, float32 [n, D], under `key`, which says of what they are."""
    save_tensors(
        path, features, {"key": key, "digests": {side: digest_features(own) for side, own in features.items()}}
    )


def digest_features(features: Tensor) -> str:
    """Hex SHA-256 of the numbers."""
    return hashlib.sha256(features.contiguous().numpy().tobytes()).hexdigest()
