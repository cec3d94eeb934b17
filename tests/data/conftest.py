"""Helpers of the data tests: tiny images and catalogues without files. No real image, and no path of ours."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lowres_ssl.data.catalogue import Catalogue, ImageRecord, build_catalogue
from lowres_ssl.data.datasets import Listing, build_source
from lowres_ssl.data.image_folder import ImageFolder, scan_folder


@pytest.fixture
def write_image() -> Callable[..., Path]:
    """Write an image that differs with its path (or with `key`)."""

    def write(path: Path, *, key: str | None = None, size: tuple[int, int] = (6, 4), mode: str = "RGB") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        seed = int.from_bytes(hashlib.sha256((key or str(path)).encode()).digest()[:4], "big")
        pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(path)
        return path

    return write


@pytest.fixture
def root(tmp_path: Path, write_image: Callable[..., Path]) -> Path:
    """A folder of two classes of three images."""
    for label in "ab":
        for number in range(3):
            write_image(tmp_path / "set" / label / f"{number}.png")
    return tmp_path / "set"


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[Iterable[str]], Path]:
    """A folder of empty files with these names."""

    def make(names: Iterable[str]) -> Path:
        root = tmp_path / "set"
        root.mkdir()
        paths = [root / name for name in names]
        for folder in {path.parent for path in paths}:
            folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            path.touch()
        return root

    return make


@pytest.fixture
def listed() -> Callable[[str, Iterable[str]], list[Listing]]:
    """What a source makes of thousands of names, as if they lay in one folder: writing so many files takes long."""

    def read(source: str, names: Iterable[str]) -> list[Listing]:
        root = Path("/set")
        images = sorted(((root / name, name) for name in names), key=lambda pair: pair[1])
        return build_source(source, {}).listings(ImageFolder(root, root, tuple(images)))

    return read


@pytest.fixture
def catalogue_at(tmp_path: Path) -> Callable[..., Catalogue]:
    """The catalogue of a folder, by any source, without progress."""

    def make(root: Path, source: str = "folder", **changes: Any) -> Catalogue:
        changes = {"name": "tiny", "cache_dir": tmp_path / "cache"} | changes
        built = build_source(source, changes.pop("options", {}), changes.pop("exclude", ()))
        return build_catalogue(folder=scan_folder(root), source=built, **changes)

    return make


@pytest.fixture
def made_up() -> Callable[..., Catalogue]:
    """A catalogue of (id, label, group, side, content) rows, with no file behind it; content None is unique."""

    def make(rows: Iterable[tuple[str, str, str | None, str | None, str | None]], **fields: Any) -> Catalogue:
        records = [
            ImageRecord(
                path=Path(),
                id=id,
                label=label,
                group=group,
                subset=side,
                height=8,
                width=8,
                sha256=hashlib.sha256((content or id).encode()).hexdigest(),
            )
            for id, label, group, side, content in rows
        ]
        ordered = tuple(sorted(records, key=lambda record: record.id))
        return Catalogue(name="made-up", root=Path("nowhere"), records=ordered, notes=(), **fields)

    return make
