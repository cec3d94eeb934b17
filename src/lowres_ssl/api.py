"""The Python API: `load_encoder`, `embed`, `predict`. The commands of these names do no more than call it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args, overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.config import require
from lowres_ssl.data.stream import files_in
from lowres_ssl.errors import ConfigError
from lowres_ssl.portable.destination import Unreadable, Written, destination, written
from lowres_ssl.portable.embedding import stream
from lowres_ssl.portable.encoder import PortableEncoder, open_encoder
from lowres_ssl.portable.prediction import StoredProbe, choose_result, labels_of, open_probe, which_encoder
from lowres_ssl.portable.request import EMBED_FORMATS, PREDICT_FORMATS, check_arguments
from lowres_ssl.portable.tabular import writing
from lowres_ssl.runs import Which, find_run
from lowres_ssl.statistics.calibration import Calibration

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Device = Literal["auto", "cuda", "cpu"]

BATCH_SIZE = 128  # as for a run's own features


@dataclass(frozen=True)
class Embeddings:
    """`ids`: the images' paths below their folder, sorted; `features`: float32 [n, D], a row each."""

    ids: list[str]
    features: NDArray[np.float32]
    unreadable: Unreadable


@dataclass(frozen=True)
class Predictions:
    """`ids`: the images' paths below their folder, sorted; `labels`: the class of each; `probabilities`: float64
    [n, C], calibrated, a column each of `classes`; `calibration`: how, and what they were worth before and after."""

    ids: list[str]
    labels: list[str]
    probabilities: NDArray[np.floating[Any]]
    classes: list[str]
    calibration: Calibration
    unreadable: Unreadable


def load_encoder(
    run: str | Path,
    *,
    output_dir: str | Path = "outputs",
    which: Which = "selected",
    device: Device = "auto",
    precision: Precision = "auto",
) -> PortableEncoder:
    """The frozen encoder of a finished run, by its folder or its name below `output_dir`.

    `which`: the one that the run chose, or the "last". `precision="auto"` is that of the run where the device can.
    Raises `DataError` (no such run), `CheckpointError` (unfinished, damaged) or `ConfigError`.
    """
    for key, got, known in (("which", which, Which), ("device", device, Device), ("precision", precision, Precision)):
        require(got in get_args(known), key, got, " or ".join(get_args(known)))
    return open_encoder(find_run(Path(output_dir), str(run)), which, device, precision)


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
) -> Written: ...


def embed(
    encoder: PortableEncoder,
    images: str | Path,
    *,
    folder: str | Path | None = None,
    formats: Sequence[str] = ("parquet", "npz"),
    batch_size: int = BATCH_SIZE,
    skip_unreadable: bool = True,
    progress: bool = False,
) -> Embeddings | Written:
    """The features of every image at any depth below the folder `images`.

    Returned, or with `folder` written there as they come, as `features.parquet` and `features.npz` (columns `id` and
    `features`), whatever their number, and over nothing but what the same images gave before. An image that cannot be
    read is named on standard error and left out, or with `skip_unreadable=False` a `DataError`. Raises `DataError`,
    `ConfigError` or `TrainingError`.
    """
    check_arguments(encoder, images, batch_size, folder, formats, EMBED_FORMATS)
    files = files_in(Path(images))
    pieces = stream(encoder, files, batch_size=batch_size, skip_unreadable=skip_unreadable, progress=progress)
    ids: list[str] = []
    unreadable: Unreadable = []
    if folder is None:
        features = np.empty((len(files), encoder.width), dtype=np.float32)
        for piece in pieces:
            features[len(ids) : len(ids) + len(piece.ids)] = piece.features.numpy()
            ids += piece.ids
            unreadable += piece.unreadable
        return Embeddings(ids, features[: len(ids)], unreadable)

    count, record = 0, Path(folder) / "embed.json"
    with destination(record, Path(images), [f"features.{each}" for each in formats]) as hold:
        with writing(Path(folder), "features", formats) as (write, paths):
            for piece in pieces:
                if piece.ids:
                    write({"id": piece.ids, "features": piece.features.numpy()})
                count += len(piece.ids)
                unreadable += piece.unreadable
            hold.check()
        return written(encoder, Path(images), record, paths, count, unreadable, {})


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
) -> Written: ...


def predict(
    encoder: PortableEncoder,
    images: str | Path,
    *,
    probe: str | None = None,
    folder: str | Path | None = None,
    formats: Sequence[str] = ("csv", "parquet"),
    batch_size: int = BATCH_SIZE,
    skip_unreadable: bool = True,
    progress: bool = False,
) -> Predictions | Written:
    """The class of every image at any depth below the folder `images`, by a probe that the run has stored.

    `probe`: its name ("logistic"), or that of its result's folder; None for the only one there is. The probabilities
    are calibrated on the run's validation images. With `folder` written there as they come, as `predictions.csv` and
    `predictions.parquet` (columns `id`, `label`, `probability`, and `probability_CLASS` for each class). Else as
    `embed`. Raises `ConfigError` for a probe that is not stored, `CheckpointError` for one that does not fit.
    """
    check_arguments(encoder, images, batch_size, folder, formats, PREDICT_FORMATS, probe)
    stored = probe_of(encoder, probe)
    files = files_in(Path(images))
    pieces = stream(encoder, files, batch_size=batch_size, skip_unreadable=skip_unreadable, progress=progress)
    ids: list[str] = []
    labels: list[str] = []
    unreadable: Unreadable = []
    if folder is None:
        probabilities = np.empty((len(files), len(stored.classes)))
        for piece in pieces:
            places, shares = stored(on_device(piece.features, encoder))
            probabilities[len(ids) : len(ids) + len(piece.ids)] = shares
            ids += piece.ids
            labels += labels_of(places, stored.classes)
            unreadable += piece.unreadable
        return Predictions(ids, labels, probabilities[: len(ids)], stored.classes, stored.calibration, unreadable)

    count, record = 0, Path(folder) / "predict.json"
    said = {
        "probe": {key: stored.result[key] for key in ("probe", "label", "settings", "classes")},
        "result": str(stored.folder),
        "calibration": asdict(stored.calibration),
    }
    with destination(record, Path(images), [f"predictions.{each}" for each in formats]) as hold:
        with writing(Path(folder), "predictions", formats) as (write, paths):
            for piece in pieces:
                if piece.ids:
                    places, shares = stored(on_device(piece.features, encoder))
                    columns = {f"probability_{name}": shares[:, place] for place, name in enumerate(stored.classes)}
                    told = {"id": piece.ids, "label": labels_of(places, stored.classes)}
                    write(told | {"probability": shares[np.arange(len(places)), places]} | columns)
                count += len(piece.ids)
                unreadable += piece.unreadable
            hold.check()
        return written(encoder, Path(images), record, paths, count, unreadable, said)


def probe_of(encoder: PortableEncoder, asked: str | None) -> StoredProbe:
    """The stored probe that `predict` takes. Raises `ConfigError` or `CheckpointError`."""
    folder, result = choose_result(encoder.run, asked, encoder.compute.precision)
    which = which_encoder(result)
    if encoder.file.name != result["encoder"]:
        raise ConfigError(
            f"probe={result['probe']}: it was fitted to the run's {which} encoder, got the {encoder.which} one; "
            f"type load_encoder(RUN, which={which!r})"
        )
    return open_probe(encoder.run, folder, result, encoder.width)


def on_device(features: Tensor, encoder: PortableEncoder) -> Tensor:
    return features.to(encoder.compute.device)
