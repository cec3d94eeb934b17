"""Images in one .npz file become pictures and a table."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lowres_ssl.data.image_folder import scan_folder
from lowres_ssl.errors import DataError
from lowres_ssl.init.find_table import find_label_table
from lowres_ssl.init.typed_input import TypedInput
from lowres_ssl.init.unpack_arrays import unpack_arrays


def arrays(classes: int = 1, colour: tuple[int, ...] = ()) -> dict[str, Any]:
    rng, found = np.random.default_rng(0), {}
    for subset, number in (("train", 12), ("val", 4), ("test", 6)):
        found[f"{subset}_images"] = rng.integers(0, 255, (number, 8, 8, *colour), dtype=np.uint8)
        found[f"{subset}_labels"] = np.arange(number * classes).reshape(number, classes) % 2
    return found


def test_medmnist_is_read_with_its_split(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    np.savez(tmp_path / "set" / "pneumoniamnist.npz", **arrays())
    folder = unpack_arrays(tmp_path / "set", tmp_path / "data")
    assert folder == tmp_path / "data" / "pneumoniamnist"
    assert find_label_table(scan_folder(folder), TypedInput()).options == {"table": "labels.csv"}
    assert (folder / "labels.csv").read_text().splitlines()[1:3] == [
        "train/000000.png,0,train",
        "train/000001.png,1,train",
    ]
    shown = np.asarray(Image.open(folder / "test" / "000003.png"))
    assert (shown == arrays()["test_images"][3]).all()
    (folder / "labels.csv").write_text("mine")
    assert unpack_arrays(tmp_path / "set" / "pneumoniamnist.npz", tmp_path / "data") == folder
    assert (folder / "labels.csv").read_text() == "mine"


@pytest.mark.parametrize(
    ("found", "labels"),
    [
        ({"x": np.zeros((3, 8, 8, 3)), "y": np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]])}, ["0|2", "none", "1"]),
        ({"images": np.zeros((3, 8, 8)), "ids": np.arange(3), "labels": np.array([4, 5, 6])}, ["4", "5", "6"]),
    ],
    ids=["columns of classes", "another array of that length"],
)
def test_each_image_is_saved_once_by_its_labels(tmp_path: Path, found: dict[str, Any], labels: list[str]) -> None:
    images = next(iter(found))
    np.savez_compressed(tmp_path / "a.npz", **found | {images: found[images].astype(np.uint8)})
    folder = unpack_arrays(tmp_path / "a.npz", tmp_path / "data")
    assert [line.split(",")[1] for line in (folder / "labels.csv").read_text().splitlines()[1:]] == labels


def test_folder_with_images_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "1.png").touch()
    np.savez(tmp_path / "a.npz", **arrays())
    assert unpack_arrays(tmp_path, tmp_path / "data") == tmp_path


def test_what_holds_no_images_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **arrays())
    np.savez(tmp_path / "b.npz", features=np.zeros((4, 9)))
    np.savez(tmp_path / "c.npz", train_images=np.zeros((4, 8, 8, 8), dtype=np.uint8), train_labels=np.zeros(4))
    (tmp_path / "d.npz").write_bytes(b"PK none")
    with zipfile.ZipFile(tmp_path / "a.npz") as archive, zipfile.ZipFile(tmp_path / "e.npz", "w") as cut:
        cut.writestr("train_images.npy", archive.read("train_images.npy")[:-70])
        cut.writestr("train_labels.npy", archive.read("train_labels.npy"))
    no_file = "cannot be unpacked"
    reasons = {"": "which file", "b.npz": "wanted arrays", "c.npz": "uint8", "d.npz": no_file, "e.npz": no_file}
    for name, reason in reasons.items():
        with pytest.raises(DataError, match=reason):
            unpack_arrays(tmp_path / name, tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


def test_folder_of_that_name_is_never_replaced(tmp_path: Path) -> None:
    home = tmp_path / "chest"
    home.mkdir()
    np.savez(home / "chest.npz", **arrays())
    assert unpack_arrays(home, tmp_path) == tmp_path / "chest_images"
    assert unpack_arrays(home, tmp_path) == tmp_path / "chest_images"
    assert (home / "chest.npz").exists()
    np.savez(home / "chest.npz", **arrays(classes=2))
    with pytest.raises(DataError, match="hold other files"):
        unpack_arrays(home, tmp_path)
