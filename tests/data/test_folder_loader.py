"""A folder of any size, batch by batch: the store's own bytes, in order, and never more than two batches at once."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from lowres_ssl.data import folder_loader
from lowres_ssl.data.decode import decode_image
from lowres_ssl.data.folder_loader import iter_decoded_batches, list_image_files
from lowres_ssl.errors import DataError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven images in three folders, one of them no image."""
    random = np.random.default_rng(0)
    for name in ("b/2.png", "b/1.png", "a.png", "größe und mehr/x y.tiff", "c.jpg", "d.png"):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (9, 12, 3), dtype=np.uint8)).save(path)
    (tmp_path / "images" / "broken.png").write_text("no image")
    (tmp_path / "images" / "notes.txt").write_text("passed over")
    return tmp_path / "images"


@pytest.mark.parametrize("batch_size", [1, 3, 7, 100])
@pytest.mark.parametrize("colour", [True, False])
def test_every_image_comes_once_as_it_is_decoded(folder: Path, batch_size: int, colour: bool) -> None:
    files = list_image_files(folder)
    batches = list(iter_decoded_batches(files, colour=colour, size=8, batch_size=batch_size))
    assert len(batches) == -(-7 // batch_size)
    ids = [id for batch in batches for id in batch.ids]
    assert ids == ["a.png", "b/1.png", "b/2.png", "c.jpg", "d.png", "größe und mehr/x y.tiff"]
    images = np.concatenate([batch.images for batch in batches])
    wanted = np.stack([decode_image(folder / id, colour=colour, size=8)[0] for id in ids])
    np.testing.assert_array_equal(images, wanted)
    unreadable = [pair for batch in batches for pair in batch.unreadable]
    assert unreadable == [((folder / "broken.png").resolve(), "its content is none of PNG, JPEG, TIFF, BMP, WEBP, GIF")]


def test_no_more_than_two_batches_are_decoded_ahead_of_use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly they are used: it counts images, so it holds for any number of them."""
    done, lock = [0], threading.Lock()

    def counted(path: Path, *, colour: bool, size: int, grey_range: None) -> tuple[NDArray[np.uint8], int, int]:
        with lock:
            done[0] += 1
        return np.zeros((3, size, size), dtype=np.uint8), size, size

    monkeypatch.setattr(folder_loader, "decode_or_explain", counted)
    files, used = list_image_files(folder) * 6, 0
    for batch in iter_decoded_batches(files, colour=True, size=8, batch_size=4):
        time.sleep(0.02)  # time enough to run ahead
        assert done[0] - used <= 2 * 4
        used += len(batch.ids)
    assert used == done[0] == 42


@pytest.mark.parametrize(
    ("name", "message"),
    [("missing", "no such folder"), ("images/a.png", "not a folder"), ("empty", "no images there")],
)
def test_wrong_folder_is_one_line(folder: Path, name: str, message: str) -> None:
    (folder.parent / "empty").mkdir()
    with pytest.raises(DataError, match=message) as refused:
        list_image_files(folder.parent / name)
    assert "type images=FOLDER" in str(refused.value)
    assert "\n" not in str(refused.value)
