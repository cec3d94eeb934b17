"""The Python API: `load_encoder`, `embed`, `predict`. The commands of these names do no more than call it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.config.check import require
from lowres_ssl.data.folder_loader import list_image_files
from lowres_ssl.errors import ConfigError
from lowres_ssl.inference.embed import EMBED_FORMATS, PREDICT_FORMATS, check_request, iter_embedded_batches
from lowres_ssl.inference.load import PortableEncoder, load_portable_encoder
from lowres_ssl.inference.output_dir import UnreadableFiles, WrittenFiles, lock_destination, write_file_record
from lowres_ssl.inference.predict import (
    StoredProbe,
    choose_stored_result,
    get_class_names,
    get_result_encoder,
    load_stored_probe,
)
from lowres_ssl.inference.writers import open_writers
from lowres_ssl.runs.run import EncoderChoice, find_run
from lowres_ssl.stats.calibration import ProbeCalibration

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Device = Literal["auto", "cuda", "cpu"]

DEFAULT_BATCH_SIZE = 128  # as for a run's own features


@dataclass(frozen=True)
class Embeddings:
    """`ids`: the images' paths below their folder, sorted; `features`: float32 [n, D], a row each."""

    ids: list[str]
    features: NDArray[np.float32]
    unreadable: UnreadableFiles


@dataclass(frozen=True)
class Predictions:
    """`ids`: the images' paths below their folder, sorted; `labels`: the class of each; `probabilities`: float64
    [n, C], calibrated, a column each of `classes`; `calibration`: how, and what they were worth before and after."""

    ids: list[str]
    labels: list[str]
    probabilities: NDArray[np.floating[Any]]
    classes: list[str]
    calibration: ProbeCalibration
    unreadable: UnreadableFiles


def load_encoder(
    run: str | Path,
    *,
    output_dir: str | Path = "outputs",
    which: EncoderChoice = "selected",
    device: Device = "auto",
    precision: Precision = "auto",
) -> PortableEncoder:
    """The frozen encoder of a finished run, by its folder or its name below `output_dir`.

    `which`: the one that the run chose, or the "last". `precision="auto"` is that of the run where the device can.
    Raises `DataError` (no such run), `CheckpointError` (unfinished, damaged) or `ConfigError`.
    """
    for key, got, known in (
        ("which", which, EncoderChoice),
        ("device", device, Device),
        ("precision", precision, Precision),
    ):
        require(got in get_args(known), key, got, " or ".join(get_args(known)))
    return load_portable_encoder(find_run(Path(output_dir), str(run)), which, device, precision)


@overload
def embed(
    encoder: PortableEncoder,
    images: str | Path,
    *,
    batch_size: int = ...,
    skip_unreadable: bool = ...,
    progress: bool = ...,
) -> Embeddings: ...


@overload
def embed(
    encoder: PortableEncoder,
    images: str | Path,
    *,
    folder: str | Path,
    formats: Sequence[str] = ...,
    batch_size: int = ...,
    skip_unreadable: bool = ...,
    progress: bool = ...,
) -> WrittenFiles: ...


def embed(
    encoder: PortableEncoder,
    images: str | Path,
    *,
    folder: str | Path | None = None,
    formats: Sequence[str] = ("parquet", "npz"),
    batch_size: int = DEFAULT_BATCH_SIZE,
    skip_unreadable: bool = True,
    progress: bool = False,
) -> Embeddings | WrittenFiles:
    """The features of every image at any depth below the folder `images`.

    Returned, or with `folder` written there as they come, as `features.parquet` and `features.npz` (columns `id` and
    `features`), whatever their number, and over nothing but what the same images gave before. An image that cannot be
    read is named on standard error and left out, or with `skip_unreadable=False` a `DataError`. Raises `DataError`,
    `ConfigError` or `TrainingError`.
    """
    check_request(encoder, images, batch_size, folder, formats, EMBED_FORMATS)
    files = list_image_files(Path(images))
    pieces = iter_embedded_batches(
        encoder, files, batch_size=batch_size, skip_unreadable=skip_unreadable, progress=progress
    )
    ids: list[str] = []
    unreadable: UnreadableFiles = []
    if folder is None:
        features = np.empty((len(files), encoder.width), dtype=np.float32)
        for piece in pieces:
            features[len(ids) : len(ids) + len(piece.ids)] = piece.features.numpy()
            ids += piece.ids
            unreadable += piece.unreadable
        return Embeddings(ids, features[: len(ids)], unreadable)

    count, record = 0, Path(folder) / "embed.json"
    with lock_destination(record, Path(images), [f"features.{each}" for each in formats]) as hold:
        with open_writers(Path(folder), "features", formats) as (write, paths):
            for piece in pieces:
                if piece.ids:
                    write({"id": piece.ids, "features": piece.features.numpy()})
                count += len(piece.ids)
                unreadable += piece.unreadable
            hold.check()
        return write_file_record(encoder, Path(images), record, paths, count, unreadable, {})


@overload
def predict(
    encoder: PortableEncoder,
    images: str | Path,
    *,
    probe: str | None = ...,
    batch_size: int = ...,
    skip_unreadable: bool = ...,
    progress: bool = ...,
) -> Predictions: ...


@overload
def predict(
    encoder: PortableEncoder,
    images: str | Path,
    *,
    probe: str | None = ...,
    folder: str | Path,
    formats: Sequence[str] = ...,
    batch_size: int = ...,
    skip_unreadable: bool = ...,
    progress: bool = ...,
) -> WrittenFiles: ...


def predict(
    encoder: PortableEncoder,
    images: str | Path,
    *,
    probe: str | None = None,
    folder: str | Path | None = None,
    formats: Sequence[str] = ("csv", "parquet"),
    batch_size: int = DEFAULT_BATCH_SIZE,
    skip_unreadable: bool = True,
    progress: bool = False,
) -> Predictions | WrittenFiles:
    """The class of every image at any depth below the folder `images`, by a probe that the run has stored.

    `probe`: its name ("logistic"), or that of its result's folder; None for the only one there is. The probabilities
    are calibrated on the run's validation images. With `folder` written there as they come, as `predictions.csv` and
    `predictions.parquet` (columns `id`, `label`, `probability`, and `probability_CLASS` for each class). Else as
    `embed`. Raises `ConfigError` for a probe that is not stored, `CheckpointError` for one that does not fit.
    """
    check_request(encoder, images, batch_size, folder, formats, PREDICT_FORMATS, probe)
    stored = choose_probe(encoder, probe)
    files = list_image_files(Path(images))
    pieces = iter_embedded_batches(
        encoder, files, batch_size=batch_size, skip_unreadable=skip_unreadable, progress=progress
    )
    ids: list[str] = []
    labels: list[str] = []
    unreadable: UnreadableFiles = []
    if folder is None:
        probabilities = np.empty((len(files), len(stored.classes)))
        for piece in pieces:
            places, shares = stored(move_features(piece.features, encoder))
            probabilities[len(ids) : len(ids) + len(piece.ids)] = shares
            ids += piece.ids
            labels += get_class_names(places, stored.classes)
            unreadable += piece.unreadable
        return Predictions(ids, labels, probabilities[: len(ids)], stored.classes, stored.calibration, unreadable)

    count, record = 0, Path(folder) / "predict.json"
    said = {
        "probe": {key: stored.result[key] for key in ("probe", "label", "settings", "classes")},
        "result": str(stored.folder),
        "calibration": asdict(stored.calibration),
    }
    with lock_destination(record, Path(images), [f"predictions.{each}" for each in formats]) as hold:
        with open_writers(Path(folder), "predictions", formats) as (write, paths):
            for piece in pieces:
                if piece.ids:
                    places, shares = stored(move_features(piece.features, encoder))
                    columns = {f"probability_{name}": shares[:, place] for place, name in enumerate(stored.classes)}
                    told = {"id": piece.ids, "label": get_class_names(places, stored.classes)}
                    write(told | {"probability": shares[np.arange(len(places)), places]} | columns)
                count += len(piece.ids)
                unreadable += piece.unreadable
            hold.check()
        return write_file_record(encoder, Path(images), record, paths, count, unreadable, said)


def choose_probe(encoder: PortableEncoder, asked: str | None) -> StoredProbe:
    """The stored probe that `predict` takes. Raises `ConfigError` or `CheckpointError`."""
    folder, result = choose_stored_result(encoder.run, asked, encoder.compute.precision)
    which = get_result_encoder(result)
    if encoder.file.name != result["encoder"]:
        raise ConfigError(
            f"probe={result['probe']}: it was fitted to the run's {which} encoder, got the {encoder.which} one; "
            f"type load_encoder(RUN, which={which!r})"
        )
    return load_stored_probe(encoder.run, folder, result, encoder.width)


def move_features(features: Tensor, encoder: PortableEncoder) -> Tensor:
    return features.to(encoder.compute.device)
