"""What `embed` and `predict` are asked for: checked before an image is read."""

from collections.abc import Collection, Sequence
from os import PathLike

from lowres_ssl.config import require
from lowres_ssl.portable.encoder import PortableEncoder

EMBED_FORMATS = ("parquet", "npz")
PREDICT_FORMATS = ("csv", "parquet", "npz")


def check_arguments(encoder: object, images: object, batch_size: object, folder: object = None) -> None:
    """Raises `ConfigError` for what a caller in Python got wrong."""
    kind = type(encoder).__name__
    require(isinstance(encoder, PortableEncoder), "encoder", kind, "what load_encoder(RUN) gives")
    require(isinstance(images, str | PathLike), "images", type(images).__name__, "one folder with images")
    wanted = folder is None or isinstance(folder, str | PathLike)
    require(wanted, "folder", type(folder).__name__, "a folder to write to, or None")
    check_batch_size(batch_size)


def check_batch_size(batch_size: object) -> None:
    whole = isinstance(batch_size, int) and not isinstance(batch_size, bool)
    require(whole and batch_size >= 1, "batch_size", batch_size, "at least 1 image")  # type: ignore[operator]


def check_formats(formats: Sequence[str], known: Collection[str]) -> None:
    """Raises `ConfigError` for formats that are none of the `known` ones, none at all, or there twice."""
    some = f"some of {', '.join(known)}"
    require(not isinstance(formats, str), "formats", formats, f"a list, {some}")
    require(len(formats) > 0, "formats", "[]", some)
    for each in formats:
        require(each in known, "formats", each, some)
    require(len(set(formats)) == len(formats), "formats", list(formats), "each once")
