"""What `embed` and `predict` are asked for: checked before an image is read."""

from collections.abc import Collection, Sequence
from numbers import Integral
from os import PathLike

from lowres_ssl.config import require
from lowres_ssl.errors import ConfigError
from lowres_ssl.portable.encoder import PortableEncoder

EMBED_FORMATS = ("parquet", "npz")
PREDICT_FORMATS = ("csv", "parquet", "npz")


def check_arguments(
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
    require(is_path(images), "images", repr(images), "one folder with images")
    require(folder is None or is_path(folder), "folder", repr(folder), "a folder to write to, or None")
    require(probe is None or isinstance(probe, str), "probe", repr(probe), "the name of a stored probe, or None")
    check_batch_size(batch_size)
    check_formats(formats, known)


def is_path(value: object) -> bool:
    return isinstance(value, str | PathLike) and str(value) != ""


def check_batch_size(batch_size: object) -> None:
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
