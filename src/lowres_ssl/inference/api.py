"""Offer the Python API: `load_encoder`, `embed`, `predict`. The commands of these names only call it."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, Unpack, get_args, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lowres_ssl.config.check import require
from lowres_ssl.encoders.timm_models import FeatureKind
from lowres_ssl.errors import ConfigError
from lowres_ssl.inference.given_images import (
    GivenImages,
    ImageInput,
    find_known_subsets,
    list_given_images,
    warn_of_known_images,
)
from lowres_ssl.inference.load import (
    PortableEncoder,
    StoredProbe,
    UnreadableFiles,
    choose_stored_result,
    iter_embedded_batches,
    load_portable_encoder,
    load_stored_probe,
)
from lowres_ssl.inference.output_files import Piece, TableColumns, WrittenFiles, write_rows
from lowres_ssl.runs.run import EncoderChoice, find_run
from lowres_ssl.stats.calibration import ProbeCalibration

Precision = Literal["auto", "fp32", "bf16", "fp16"]
Device = Literal["auto", "cuda", "cpu"]

EMBED_FORMATS = ("parquet", "npz")
PREDICT_FORMATS = ("csv", "parquet", "npz")
DEFAULT_BATCH_SIZE = 128  # as for a run's own features


@dataclass(frozen=True)
class Embeddings:
    """Hold the features. `ids`: the images' paths below their folder, or places in memory; `features`: float32 [n, D],
    a row each."""

    ids: list[str]
    features: NDArray[np.float32]
    unreadable: UnreadableFiles


@dataclass(frozen=True)
class Predictions:
    """Hold what was predicted. `ids`: as of `Embeddings`; `labels`: the class of each; `probabilities`: float64 [n, C],
    calibrated, a column each of `classes`; `calibration`: how, and their errors before and after."""

    ids: list[str]
    labels: list[str]
    probabilities: NDArray[np.floating[Any]]
    classes: list[str]
    calibration: ProbeCalibration
    unreadable: UnreadableFiles


class ReadingOptions(TypedDict, total=False):
    """Hold the options of `embed` and `predict` for reading images."""

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
def embed(
    encoder: PortableEncoder, images: ImageInput, *, features: FeatureKind = ..., **options: Unpack[ReadingOptions]
) -> Embeddings: ...


@overload
def embed(
    encoder: PortableEncoder,
    images: ImageInput,
    *,
    folder: str | Path,
    formats: Sequence[str] = ...,
    features: FeatureKind = ...,
    **options: Unpack[ReadingOptions],
) -> WrittenFiles: ...


def embed(
    encoder: PortableEncoder,
    images: ImageInput,
    *,
    folder: str | Path | None = None,
    formats: Sequence[str] = ("parquet", "npz"),
    batch_size: int = DEFAULT_BATCH_SIZE,
    skip_unreadable: bool = True,
    progress: bool = False,
    features: FeatureKind = "pooled",
) -> Embeddings | WrittenFiles:
    """Compute the features of `images`: every image at any depth below a folder, a file, the files of a pattern, an
    array, an image of Pillow, or a list of these (see `list_given_images`).

    They are returned, or with `folder` written there piece by piece, for any number of images, as `features.parquet`
    and `features.npz` (columns `id` and `features`); only files that the same images gave before are replaced. An
    unreadable image is named on standard error and skipped, or with `skip_unreadable=False` a `DataError`.
    `features`: "pooled" by the model, its "class_token", or "patches", float32 [n, P, D], which go into npz alone.
    Raises `DataError`, `ConfigError` or `TrainingError`.
    """
    check_output_options(batch_size, formats, EMBED_FORMATS)
    encoder = encoder.take_features(features)
    if folder is not None and encoder.patches is not None:
        got = f"[{','.join(formats)}]"
        require(list(formats) == ["npz"], "formats", got, "npz alone for features=patches; type formats=[npz]")
    given = list_given_images(images)
    batches = iter_embedded_batches(encoder, given.files, batch_size, skip_unreadable, progress)
    if folder is not None:
        pieces: Iterable[Piece] = (
            ({"id": each.ids, "features": each.features.numpy()}, each.unreadable) for each in batches
        )
        files = [Path(folder) / f"features.{each}" for each in formats]
        return write_rows(encoder, get_sources(given), files, Path(folder) / "embed.json", pieces, {})
    found = list(batches)
    return Embeddings(
        ids=[id for batch in found for id in batch.ids],
        features=torch.cat([batch.features for batch in found]).numpy(),
        unreadable=[each for batch in found for each in batch.unreadable],
    )


@overload
def predict(
    encoder: PortableEncoder, images: ImageInput, *, probe: str | None = ..., **options: Unpack[ReadingOptions]
) -> Predictions: ...


@overload
def predict(
    encoder: PortableEncoder,
    images: ImageInput,
    *,
    probe: str | None = ...,
    folder: str | Path,
    formats: Sequence[str] = ...,
    **options: Unpack[ReadingOptions],
) -> WrittenFiles: ...


def predict(
    encoder: PortableEncoder,
    images: ImageInput,
    *,
    probe: str | None = None,
    folder: str | Path | None = None,
    formats: Sequence[str] = ("csv", "parquet"),
    batch_size: int = DEFAULT_BATCH_SIZE,
    skip_unreadable: bool = True,
    progress: bool = False,
) -> Predictions | WrittenFiles:
    """Predict the class of `images`, what `embed` takes, by a probe that the run has stored.

    `probe`: its name ("logistic"), or that of its result's folder; None for the only one there is. The probabilities
    are calibrated on the run's validation images. With `folder` they are written as `predictions.csv` and
    `predictions.parquet` (columns `id`, `label`, `probability`, `probability_CLASS` for each class, and `subset`: of an
    image of the run's own set train, validation or test, else empty). Warns of images that the run was fitted to. Else
    as `embed`. Raises `ConfigError` for a probe that is not stored, `CheckpointError` for one that does not fit.
    """
    check_output_options(batch_size, formats, PREDICT_FORMATS)
    stored, device = choose_probe(encoder, probe), encoder.compute.device
    encoder = encoder.at_size(stored.result.scored_size)
    given = list_given_images(images)
    subsets = find_known_subsets(given.files, encoder.run.split, encoder.record.config)
    warn_of_known_images(subsets, len(given.files))
    batches = iter_embedded_batches(encoder, given.files, batch_size, skip_unreadable, progress)
    if folder is not None:
        more = {
            "probe": {key: getattr(stored.result, key) for key in ("probe", "label", "settings", "classes")},
            "result": str(stored.folder),
            "calibration": asdict(stored.calibration),
        }
        pieces = (
            (predict_columns(stored, each.ids, each.features.to(device), subsets), each.unreadable) for each in batches
        )
        files = [Path(folder) / f"predictions.{each}" for each in formats]
        return write_rows(encoder, get_sources(given), files, Path(folder) / "predict.json", pieces, more)
    found = [(batch, *stored(batch.features.to(device))) for batch in batches]
    return Predictions(
        ids=[id for batch, _, _ in found for id in batch.ids],
        labels=[stored.classes[place] for _, chosen, _ in found for place in chosen],
        probabilities=np.concatenate([shares for _, _, shares in found]),
        classes=stored.classes,
        calibration=stored.calibration,
        unreadable=[each for batch, _, _ in found for each in batch.unreadable],
    )


def get_sources(given: GivenImages) -> list[str]:
    """Get where the images are, for the record beside written files. Raises `ConfigError` for images in memory."""
    if not given.sources:
        raise ConfigError(
            "folder: got images in memory, whose files could not be told from others'; save what is returned"
        )
    return given.sources


def predict_columns(stored: StoredProbe, ids: list[str], features: Tensor, subsets: Mapping[str, str]) -> TableColumns:
    chosen, shares = stored(features)
    labels = [stored.classes[place] for place in chosen]
    columns = {f"probability_{name}": shares[:, place] for place, name in enumerate(stored.classes)}
    return {
        "id": ids,
        "label": labels,
        "probability": shares[np.arange(len(chosen)), chosen],
        **columns,
        "subset": [subsets.get(id, "") for id in ids],
    }


def choose_probe(encoder: PortableEncoder, asked: str | None) -> StoredProbe:
    """Choose the stored probe of `predict`. Raises `ConfigError` or `CheckpointError`."""
    folder, result = choose_stored_result(encoder.run, asked, encoder.compute.precision)
    which = encoder.run.get_scored_encoder(result)
    if encoder.file.name != result.encoder:
        raise ConfigError(
            f"probe={result.probe}: it was fitted to the run's {which} encoder, got the {encoder.which} one; "
            f"type load_encoder(RUN, which={which!r})"
        )
    return load_stored_probe(encoder.run, folder, result)


def check_output_options(batch_size: int, formats: Sequence[str], known: Collection[str]) -> None:
    """Raises `ConfigError` for a batch without images, and for formats that are not `known`, none, or there twice."""
    require(batch_size >= 1, "batch_size", batch_size, "at least 1 image")
    some = f"some of {', '.join(known)}"
    require(len(formats) > 0, "formats", "[]", some)
    for each in formats:
        require(each in known, "formats", each, some)
    require(len(set(formats)) == len(formats), "formats", list(formats), "each once")
