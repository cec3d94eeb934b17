"""Patients and images by keyed hashes: the same ones for whoever has the key, and nothing for whoever has not."""

import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lowres_ssl.data.image_folder import scan_folder
from lowres_ssl.data.pseudonyms import KEY_FILE, Pseudonyms, make_pseudonyms
from lowres_ssl.data.splits import count_seen_test_images, load_split, make_split, save_split
from lowres_ssl.errors import DataError
from lowres_ssl.io import locks


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """The folder of the images, and that of the stores."""
    (tmp_path / "images").mkdir()
    return tmp_path / "images", tmp_path / "outputs" / "stores"


def test_hash_is_pinned() -> None:
    """A change here makes strangers of all patients that results name."""
    assert Pseudonyms(bytes(32)).patient("14-22549") == "patient-4cb41033e434e9a4"
    assert Pseudonyms(bytes(32)).image("a/1.png") == "image-b0c2d42848421b04"


def test_key_lies_beside_the_images_for_its_owner_alone(places: tuple[Path, Path]) -> None:
    images, stores = places
    made = make_pseudonyms(images, stores)
    assert make_pseudonyms(images, stores / "elsewhere") == made
    assert stat.S_IMODE((images / KEY_FILE).stat().st_mode) == 0o600
    assert [path.name for path in images.iterdir()] == [KEY_FILE]
    assert not scan_folder(images).images
    assert not stores.exists()


def test_read_only_folder_of_images_leaves_the_key_with_the_stores(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    images, stores = places
    make = tempfile.mkdtemp

    def read_only(**where: Any) -> Any:
        if Path(where["dir"]) == images:
            raise OSError(30, "Read-only file system")
        return make(**where)

    monkeypatch.setattr(tempfile, "mkdtemp", read_only)
    made = make_pseudonyms(images, stores)
    assert stat.S_IMODE((stores / KEY_FILE).stat().st_mode) == 0o600
    monkeypatch.undo()
    assert make_pseudonyms(images, stores) == made
    assert not (images / KEY_FILE).exists()


def test_damaged_key_is_named_and_not_replaced(places: tuple[Path, Path]) -> None:
    (places[0] / KEY_FILE).write_bytes(b"abc")
    with pytest.raises(DataError, match=r"lowres-ssl-key: not a key, or a damaged one; .*force=true"):
        make_pseudonyms(*places)
    assert (places[0] / KEY_FILE).read_bytes() == b"abc"


def test_many_at_once_agree_on_one_key(places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "POLL_SECONDS", 0.02)
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make_pseudonyms(*places), range(32)))
    assert len(set(made)) == 1
    assert [path.name for path in places[0].iterdir()] == [KEY_FILE]


def test_split_with_hashed_names_is_read_back_and_names_no_image(made_up: Any, tmp_path: Path) -> None:
    rows = [(f"{label}/{label}{n}.png", label, None, None, f"{n}") for label in "ab" for n in range(9)]
    catalogue = made_up(rows)
    split = make_split(catalogue, kind="stratified", seed=0)
    assert any("a/a" in note for note in split.notes), "wanted a note that names an image"
    key = make_pseudonyms(tmp_path / "stores", tmp_path / "stores")
    save_split(split, catalogue, tmp_path / "split.json", key)
    text = (tmp_path / "split.json").read_text()
    assert not [record.id for record in catalogue.records if record.id in text]
    again = load_split(tmp_path / "split.json", catalogue, tmp_path / "stores")
    assert again.digest == split.digest
    np.testing.assert_array_equal(again.test, split.test)
    other = make_split(catalogue, kind="stratified", seed=1)
    seen = len({*split.train.tolist()} & {*other.test.tolist()})
    assert 0 < seen == count_seen_test_images(tmp_path / "split.json", other, catalogue, tmp_path / "stores")
    (tmp_path / "stores" / KEY_FILE).unlink()
    for read in (load_split, partial(count_seen_test_images, split=other)):
        with pytest.raises(DataError, match=r"hashed with a key that is not in .*dataset\.root=FOLDER"):
            read(tmp_path / "split.json", catalogue=catalogue, store_dir=tmp_path / "stores")
    make_pseudonyms(tmp_path / "stores", tmp_path / "stores")  # another key: no name is that of an image here
    with pytest.raises(DataError, match="whether test images were seen is unknown"):
        count_seen_test_images(tmp_path / "split.json", other, catalogue, tmp_path / "stores")
