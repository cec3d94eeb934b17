"""Offer the Python API: `load_encoder`, `embed`, `predict`. The commands of these names only call it."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, get_args, overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.config.check import require
from lowres_ssl.data.datasets import list_image_files
from lowres_ssl.errors import ConfigError
from lowres_ssl.inference.load import PortableEncoder, UnreadableFiles, iter_embedded_batches, load_portable_encoder
from lowres_ssl.inference.output_files import Destination, TableColumns, WrittenFiles, write_rows
from lowres_ssl.inference.predict import StoredProbe, choose_stored_result, get_result_encoder, load_stored_probe
from lowres_ssl.runs.run import EncoderChoice, find_run
from lowres_ssl.stats.calibration import ProbeCalibration

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Device = Literal["auto", "cuda", "cpu"]

EMBED_FORMATS = ("parquet", "npz")
PREDICT_FORMATS = ("csv", "parquet", "npz")
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
    [n, C], calibrated, a column each of `classes`; `calibration`: how, and their errors before and after."""

    ids: list[str]
    labels: list[str]
    probabilities: NDArray[np.floating[Any]]
    classes: list[str]
    calibration: ProbeCalibration
    unreadable: UnreadableFiles


class ReadingOptions(TypedDict, total=False):
    """How `embed` and `predict` read images."""

    batch_size: int
    skip_unreadable: bool
    progress: bool


def load_encoder(
    run: str | Path,
    *,
    output_dir: str | Path = "outputs",
    which: EncoderChoice = "selected",
    device: Device = "auto",
    precision: Precision = "auto",
) -> PortableEncoder:
    """Load the frozen encoder of a finished run, by its folder or its name below `output_dir`.

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
def embed(encoder: PortableEncoder, images: str | Path, **options: Unpack[ReadingOptions]) -> Embeddings: ...


@overload
def embed(
    encoder: PortableEncoder,
    images: str | Path,
    *,
    folder: str | Path,
    formats: Sequence[str] = ...,
    **options: Unpack[ReadingOptions],
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
    """Compute the features of every image at any depth below the folder `images`.

    They are returned, or with `folder` written there piece by piece, for any number of images, as `features.parquet`
    and `features.npz` (columns `id` and `features`); only files that the same images gave before are replaced. An
    unreadable image is named on standard error and skipped, or with `skip_unreadable=False` a `DataError`. Raises
    `DataError`, `ConfigError` or `TrainingError`.
    """
    check_request(encoder, images, batch_size, folder)
    check_formats(formats, EMBED_FORMATS)
    files = list_image_files(Path(images))
    batches = iter_embedded_batches(
        encoder, files, batch_size=batch_size, skip_unreadable=skip_unreadable, progress=progress
    )
    if folder is not None:
        destination = Destination(Path(folder), "embed", "features", formats)
        pieces = ((make_columns(id=each.ids, features=each.features.numpy()), each.unreadable) for each in batches)
        return write_rows(encoder, Path(images), destination, pieces, {})
    ids: list[str] = []
    unreadable: UnreadableFiles = []
    features = np.empty((len(files), encoder.width), dtype=np.float32)
    for batch in batches:
        features[len(ids) : len(ids) + len(batch.ids)] = batch.features.numpy()
        ids += batch.ids
        unreadable += batch.unreadable
    return Embeddings(ids, features[: len(ids)], unreadable)


@overload
def predict(
    encoder: PortableEncoder, images: str | Path, *, probe: str | None = ..., **options: Unpack[ReadingOptions]
) -> Predictions: ...


@overload
def predict(
    encoder: PortableEncoder,
    images: str | Path,
    *,
    probe: str | None = ...,
    folder: str | Path,
    formats: Sequence[str] = ...,
    **options: Unpack[ReadingOptions],
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
    """Predict the class of every image at any depth below the folder `images`, by a probe that the run has stored.

    `probe`: its name ("logistic"), or that of its result's folder; None for the only one there is. The probabilities
    are calibrated on the run's validation images. With `folder` they are written as `predictions.csv` and
    `predictions.parquet` (columns `id`, `label`, `probability`, and `probability_CLASS` for each class). Else as
    `embed`. Raises `ConfigError` for a probe that is not stored, `CheckpointError` for one that does not fit.
    """
    check_request(encoder, images, batch_size, folder)
    check_formats(formats, PREDICT_FORMATS)
    require(probe is None or isinstance(probe, str), "probe", repr(probe), "the name of a stored probe, or None")
    stored = choose_probe(encoder, probe)
    files = list_image_files(Path(images))
    batches = iter_embedded_batches(
        encoder, files, batch_size=batch_size, skip_unreadable=skip_unreadable, progress=progress
    )
    if folder is not None:
        more = {
            "probe": {key: getattr(stored.result, key) for key in ("probe", "label", "settings", "classes")},
            "result": str(stored.folder),
            "calibration": asdict(stored.calibration),
        }
        destination = Destination(Path(folder), "predict", "predictions", formats)
        device = encoder.compute.device
        pieces = ((predict_columns(stored, each.ids, each.features.to(device)), each.unreadable) for each in batches)
        return write_rows(encoder, Path(images), destination, pieces, more)
    ids: list[str] = []
    labels: list[str] = []
    unreadable: UnreadableFiles = []
    probabilities = np.empty((len(files), len(stored.classes)))
    for batch in batches:
        chosen, shares = stored(batch.features.to(encoder.compute.device))
        probabilities[len(ids) : len(ids) + len(batch.ids)] = shares
        ids += batch.ids
        labels += [stored.classes[place] for place in chosen]
        unreadable += batch.unreadable
    return Predictions(ids, labels, probabilities[: len(ids)], stored.classes, stored.calibration, unreadable)


def predict_columns(stored: StoredProbe, ids: list[str], features: Tensor) -> TableColumns:
    chosen, shares = stored(features)
    labels = [stored.classes[place] for place in chosen]
    columns = {f"probability_{name}": shares[:, place] for place, name in enumerate(stored.classes)}
    return make_columns(id=ids, label=labels, probability=shares[np.arange(len(chosen)), chosen], **columns)


def make_columns(**columns: list[str] | NDArray[Any]) -> TableColumns:
    return columns


def choose_probe(encoder: PortableEncoder, asked: str | None) -> StoredProbe:
    """Choose the stored probe of `predict`. Raises `ConfigError` or `CheckpointError`."""
    folder, result = choose_stored_result(encoder.run, asked, encoder.compute.precision)
    which = get_result_encoder(result)
    if encoder.file.name != result.encoder:
        raise ConfigError(
            f"probe={result.probe}: it was fitted to the run's {which} encoder, got the {encoder.which} one; "
            f"type load_encoder(RUN, which={which!r})"
        )
    return load_stored_probe(encoder.run, folder, result, encoder.width)


def check_request(encoder: object, images: object, batch_size: object, folder: object) -> None:
    """Raises `ConfigError` for what a caller in Python got wrong, before an image is read."""
    require(isinstance(encoder, PortableEncoder), "encoder", repr(encoder), "what load_encoder(RUN) gives")
    require(is_path_like(images), "images", repr(images), "one folder with images")
    require(folder is None or is_path_like(folder), "folder", repr(folder), "a folder to write to, or None")
    check_batch_size(batch_size)


def is_path_like(value: object) -> bool:
    return isinstance(value, str | PathLike) and str(value) != ""


def check_batch_size(batch_size: object) -> None:
    whole = isinstance(batch_size, Integral) and not isinstance(batch_size, bool)
    require(whole, "batch_size", repr(batch_size), "a whole number")
    require(whole and int(str(batch_size)) >= 1, "batch_size", batch_size, "at least 1 image")


def check_formats(formats: object, known: Collection[str]) -> None:
    """Raises `ConfigError` for formats that are none of the `known` ones, none at all, or there twice."""
    some = f"some of {', '.join(known)}"
    if isinstance(formats, str) or not isinstance(formats, Sequence):
        raise ConfigError(f"formats={formats!r}: wanted a list, {some}")
    require(len(formats) > 0, "formats", "[]", some)
    for each in formats:
        require(each in known, "formats", each, some)
    require(len(set(formats)) == len(formats), "formats", list(formats), "each once")
