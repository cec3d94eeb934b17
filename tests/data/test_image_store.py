"""The image store: what is decoded, and that it is whole."""

import os
import shutil
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lowres_ssl.data import image_store as store_module
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.decode import decode_image
from lowres_ssl.data.image_store import ImageStore, open_image_store
from lowres_ssl.errors import DataError

Write = Callable[..., Path]
At = Callable[..., Catalogue]


def opened(catalogue: Catalogue, tmp_path: Path, **changes: Any) -> tuple[ImageStore, Catalogue]:
    arguments: dict[str, Any] = {"colour": True, "storage_size": 8, "skip_unreadable": False} | changes
    return open_image_store(catalogue, store_dir=tmp_path / "stores", **arguments)


@pytest.mark.parametrize(("colour", "channels"), [(True, 3), (False, 1)])
def test_store_holds_every_image_in_order(
    root: Path, tmp_path: Path, catalogue_at: At, write_image: Write, colour: bool, channels: int
) -> None:
    write_image(tmp_path / "more" / "x.png", size=(5, 7))
    catalogue = catalogue_at(root, unlabelled=tmp_path / "more")
    store, same = opened(catalogue, tmp_path, colour=colour)
    assert same is catalogue
    assert store.images.shape == (7, channels, 8, 8)
    assert store.images.dtype == np.uint8
    everything = catalogue.records + catalogue.unlabelled
    assert store.ids == tuple(record.id for record in everything)
    assert store.sizes.dtype == np.int32
    assert store.sizes.tolist() == [[record.height, record.width] for record in everything]
    for row, record in enumerate(catalogue.records):
        with Image.open(record.path) as image:
            wanted = np.asarray(image.convert("RGB" if colour else "L").resize((8, 8), Image.Resampling.BILINEAR))
        np.testing.assert_array_equal(store.images[row], wanted.reshape(8, 8, channels).transpose(2, 0, 1))


def test_key_covers_what_determines_the_bytes(
    root: Path, tmp_path: Path, catalogue_at: At, write_image: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [opened(catalogue_at(root), tmp_path)[0].path]
    paths.append(opened(catalogue_at(root), tmp_path, colour=False)[0].path)
    paths.append(opened(catalogue_at(root), tmp_path, storage_size=9)[0].path)
    write_image(root / "a" / "0.png", key="other")
    paths.append(opened(catalogue_at(root), tmp_path)[0].path)
    monkeypatch.setattr(store_module, "DECODER_VERSION", 99)
    paths.append(opened(catalogue_at(root), tmp_path)[0].path)
    assert len(set(paths)) == len(paths)
    assert opened(catalogue_at(root, name="../odd name/"), tmp_path)[0].path.parent == tmp_path / "stores"


def test_store_without_its_images_is_built_again(root: Path, tmp_path: Path, catalogue_at: At) -> None:
    catalogue = catalogue_at(root)
    store, _ = opened(catalogue, tmp_path)
    good = np.array(store.images)
    del store
    (folder,) = (tmp_path / "stores").iterdir()
    (folder / "images.npy").unlink()
    again, _ = opened(catalogue, tmp_path)
    np.testing.assert_array_equal(again.images, good)
    assert list((tmp_path / "stores").iterdir()) == [folder]


def test_truncated_image_is_named_or_left_out(root: Path, tmp_path: Path, catalogue_at: At) -> None:
    cut = root / "a" / "cut.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(cut)
    os.truncate(cut, 2000)
    catalogue = catalogue_at(root)
    with pytest.raises(DataError, match=r"cut\.jpg: not a readable image: .*truncated.*dataset\.skip_unreadable=true"):
        opened(catalogue, tmp_path)
    assert list((tmp_path / "stores").iterdir()) == []
    for _ in range(2):  # built, then opened
        store, left = opened(catalogue, tmp_path, skip_unreadable=True)
        assert len(left.records) == len(store.images) == len(store.sizes) == 6
        assert store.ids == tuple(record.id for record in left.records)
        assert left.notes[-1].startswith("1 unreadable images left out, for one a/cut.jpg: ")
        np.testing.assert_array_equal(store.images[3], decode_image(left.records[3].path, colour=True, size=8)[0])
    assert [path.name for path in store.path.iterdir() if path.suffix == ".npy"] == ["images.npy"]
    with pytest.raises(DataError, match=r"cut\.jpg: not a readable image"):
        opened(catalogue, tmp_path)


def test_lack_of_disk_space_is_said_first(
    root: Path, tmp_path: Path, catalogue_at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 9, 1))
    with pytest.raises(DataError, match=r"need 0\.0 MB, .* got 0\.0 MB; .*output_dir=FOLDER"):
        opened(catalogue_at(root), tmp_path)
    assert list((tmp_path / "stores").iterdir()) == []


def test_grey_range_makes_another_store_of_another_digest(tmp_path: Path, catalogue_at: At) -> None:
    for label in "ab":
        path = tmp_path / "deep" / label / "x.png"
        path.parent.mkdir(parents=True)
        Image.fromarray(np.full((4, 4), 1000 + ord(label), dtype=np.uint16)).save(path)
    plain = catalogue_at(tmp_path / "deep")
    ranged = replace(plain, grey_range=(0.0, 4095.0))
    assert plain.digest != ranged.digest
    dark, _ = opened(plain, tmp_path, colour=False)
    light, _ = opened(ranged, tmp_path, colour=False)
    assert dark.path != light.path
    assert dark.images.max() == 4
    assert light.images.max() == 68
