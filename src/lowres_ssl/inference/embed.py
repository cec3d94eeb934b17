"""What `embed` and `predict` are asked for: checked before an image is read."""

from collections.abc import Collection, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from numbers import Integral
from os import PathLike
from pathlib import Path

import torch
from torch import Tensor

from lowres_ssl.config.check import require
from lowres_ssl.console import ImageProgress, log_info
from lowres_ssl.data.folder_loader import ImageFiles, iter_decoded_batches
from lowres_ssl.errors import ConfigError, DataError
from lowres_ssl.inference.load import PortableEncoder

EMBED_FORMATS = ("parquet", "npz")
PREDICT_FORMATS = ("csv", "parquet", "npz")


def check_request(
    encoder: object,
    images: object,
    batch_size: object,
    folder: object,
    formats: object,
    known: Collection[str],
    probe: object = None,
) -> None:
    """Raises `ConfigError` for what a caller in Python got wrong. `known`: the formats there are."""
    require(isinstance(encoder, PortableEncoder), "encoder", repr(encoder), "what load_encoder(RUN) gives")
    require(is_path_like(images), "images", repr(images), "one folder with images")
    require(folder is None or is_path_like(folder), "folder", repr(folder), "a folder to write to, or None")
    require(probe is None or isinstance(probe, str), "probe", repr(probe), "the name of a stored probe, or None")
    check_request_batch_size(batch_size)
    check_formats(formats, known)


def is_path_like(value: object) -> bool:
    return isinstance(value, str | PathLike) and str(value) != ""


def check_request_batch_size(batch_size: object) -> None:
    if not isinstance(batch_size, Integral) or isinstance(batch_size, bool):
        raise ConfigError(f"batch_size={batch_size!r}: wanted a whole number")
    require(int(batch_size) >= 1, "batch_size", batch_size, "at least 1 image")


def check_formats(formats: object, known: Collection[str]) -> None:
    """Raises `ConfigError` for formats that are none of the `known` ones, none at all, or there twice."""
    some = f"some of {', '.join(known)}"
    if isinstance(formats, str) or not isinstance(formats, Sequence):
        raise ConfigError(f"formats={formats!r}: wanted a list, {some}")
    require(len(formats) > 0, "formats", "[]", some)
    for each in formats:
        require(each in known, "formats", each, some)
    require(len(set(formats)) == len(formats), "formats", list(formats), "each once")


@dataclass(frozen=True)
class EmbeddedBatch:
    """`ids` and features, float32 [B, D] on the CPU, of the images of one batch that could be read; `unreadable`: the
    path of each other, and why."""

    ids: list[str]
    features: Tensor
    unreadable: list[tuple[Path, str]]


def iter_embedded_batches(
    encoder: PortableEncoder, files: ImageFiles, *, batch_size: int, skip_unreadable: bool, progress: bool
) -> Generator[EmbeddedBatch, None, None]:
    """The features of the files in order. An image that cannot be read is named on standard error and left out.

    Raises `DataError` for it unless `skip_unreadable`, and at the end if there was none that could be read.
    """
    how, readable, name = encoder.preprocessing, 0, f"{encoder.run.name}: features"
    batches = iter_decoded_batches(
        files, colour=how.colour, size=how.stored_size, batch_size=batch_size, grey_range=how.grey_range
    )
    first = f"{name} of {len(files):,} images"
    with closing(batches), ImageProgress(name, len(files), first=first, wanted=progress) as shown:
        for batch in batches:
            for path, why in batch.unreadable:
                if not skip_unreadable:
                    raise DataError(f"{path}: not a readable image: {why}; skip_unreadable=true leaves it out")
                log_info(f"{path}: not a readable image: {why}; left out")
            readable += len(batch.ids)
            empty = torch.empty(0, encoder.width)
            features = encoder.features(torch.from_numpy(batch.images)) if batch.ids else empty
            yield EmbeddedBatch(batch.ids, features, batch.unreadable)
            shown.add(len(batch.ids) + len(batch.unreadable))
    if not readable:
        raise DataError(f"none of the images can be read ({len(files):,}), for one {files[0][0]}; type images=FOLDER")
