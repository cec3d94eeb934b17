"""A folder of images -> features, piece by piece, by a portable encoder; with progress, bad images named."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lowres_ssl.data.stream import Files, decoded
from lowres_ssl.errors import DataError
from lowres_ssl.portable.encoder import PortableEncoder
from lowres_ssl.progress import Counted
from lowres_ssl.terminal import say


@dataclass(frozen=True)
class Piece:
    """`ids` and features, float32 [B, D] on the CPU, of the images of one batch that could be read; `unreadable`: the
    path of each other, and why."""

    ids: list[str]
    features: Tensor
    unreadable: list[tuple[Path, str]]


def stream(
    encoder: PortableEncoder, files: Files, *, batch_size: int, skip_unreadable: bool, progress: bool
) -> Generator[Piece, None, None]:
    """The features of the files in order. An image that cannot be read is named on standard error and left out.

    Raises `DataError` for it unless `skip_unreadable`, and at the end if there was none that could be read.
    """
    how, readable, name = encoder.preprocessing, 0, f"{encoder.run.name}: features"
    batches = decoded(files, colour=how.colour, size=how.stored_size, batch_size=batch_size, grey_range=how.grey_range)
    first = f"{name} of {len(files):,} images"
    with closing(batches), Counted(name, len(files), first=first, wanted=progress) as shown:
        for batch in batches:
            for path, why in batch.unreadable:
                if not skip_unreadable:
                    raise DataError(f"{path}: not a readable image: {why}; skip_unreadable=true leaves it out")
                say(f"{path}: not a readable image: {why}; left out")
            readable += len(batch.ids)
            empty = torch.empty(0, encoder.width)
            features = encoder.features(torch.from_numpy(batch.images)) if batch.ids else empty
            yield Piece(batch.ids, features, batch.unreadable)
            shown.add(len(batch.ids) + len(batch.unreadable))
    if not readable:
        raise DataError(f"none of the images can be read ({len(files):,}), for one {files[0][0]}; type images=FOLDER")
