"""Small copies of test images, each embedded once however often it is shown. The only part that looks at images."""

import base64
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lowres_ssl.data.store import ImageStore, kept_store

QUALITY = 70  # of WebP: at 96 pixels an X-ray takes about 1.5 kB, a stained tissue 4 kB


class Album:
    """`pictures`: WebP in base64, in the order they were asked for. `size`: pixels of the longer side, at most."""

    def __init__(self, store_dir: Path, size: int) -> None:
        self.store_dir, self.size = store_dir, size
        self.pictures: list[str] = []
        self.places: dict[tuple[str, int], int] = {}

    def add(self, store: str | None, ids: Sequence[str], named: Callable[[str], str] = str) -> list[int]:
        """The place in `pictures` of each of these images of the store of that name; -1 where it is not there.

        `named`: what `ids` call an image that the store knows by its name.
        """
        kept = None if store is None else kept_store(self.store_dir / store)
        if kept is None or store is None:
            return [-1] * len(ids)
        rows = {named(id): row for row, id in enumerate(kept.ids)}
        return [self.place(store, kept, rows.get(id)) for id in ids]

    def place(self, name: str, store: ImageStore, row: int | None) -> int:
        if row is None:
            return -1
        key = (name, row)
        if key not in self.places:
            self.places[key] = len(self.pictures)
            self.pictures.append(encoded(store.images[row], self.size))
        return self.places[key]


def encoded(pixels: NDArray[np.uint8], size: int) -> str:
    """uint8 [C, R, R], of one channel or three, as a WebP of `size` pixels a side at most, in base64."""
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else np.moveaxis(pixels, 0, -1)).convert("RGB")
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY)
    return base64.b64encode(file.getvalue()).decode()
