"""A folder of images -> features, piece by piece, by a portable encoder; with progress, bad images named."""

import sys
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from lowres_ssl.data.stream import Files, decoded
from lowres_ssl.errors import DataError
from lowres_ssl.portable import PortableEncoder
from lowres_ssl.progress import SECONDS_BETWEEN_LINES
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
    how, readable = encoder.preprocessing, 0
    batches = decoded(files, colour=how.colour, size=how.stored_size, batch_size=batch_size, grey_range=how.grey_range)
    with closing(batches), Shown(f"{encoder.run.name}: features", len(files), progress) as shown:
        for batch in batches:
            for path, why in batch.unreadable:
                if not skip_unreadable:
                    raise DataError(f"{path}: not a readable image: {why}; skip_unreadable=true leaves it out")
                shown.say(f"{path}: not a readable image: {why}; left out")
            readable += len(batch.ids)
            empty = torch.empty(0, encoder.width)
            features = encoder.features(torch.from_numpy(batch.images)) if batch.ids else empty
            yield Piece(batch.ids, features, batch.unreadable)
            shown.add(len(batch.ids) + len(batch.unreadable))
    if not readable:
        raise DataError(f"none of the {len(files)} images can be read, for one {files[0][0]}; type images=FOLDER")


class Shown:
    """How many images are done, on standard error: a bar on a terminal, else a line every few seconds."""

    def __init__(self, name: str, total: int, progress: bool) -> None:
        self.name, self.total, self.done = name, total, 0
        self.terminal, self.lines = progress and sys.stderr.isatty(), progress and not sys.stderr.isatty()
        self.started = self.shown = time.monotonic()

    def __enter__(self) -> "Shown":
        if self.lines:
            say(f"{self.name} of {self.total:,} images")
        self.bar = tqdm(total=self.total, desc=self.name, unit="image", leave=False, disable=not self.terminal)
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def say(self, text: str) -> None:
        with tqdm.external_write_mode(file=sys.stderr):
            say(text)

    def add(self, images: int) -> None:
        self.done += images
        self.bar.update(images)
        now = time.monotonic()
        if self.lines and now - self.shown >= SECONDS_BETWEEN_LINES:
            self.shown = now
            left = tqdm.format_interval((now - self.started) / self.done * (self.total - self.done))
            say(f"{self.name}: {self.done:,} of {self.total:,} images, {left} left")
