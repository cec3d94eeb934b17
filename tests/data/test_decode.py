"""Every kind of file becomes the same kind of square; a folder of any size comes batch by batch, in order."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowres_ssl.data import decode
from lowres_ssl.data.decode import DecodedImage, decode_image, iter_decoded_batches, map_in_threads
from lowres_ssl.data.image_folder import list_image_files


def test_sixteen_bits_and_floats_are_scaled_to_eight(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257, 65535, 32768]] * 4, dtype=np.uint16)).save(tmp_path / "x.png")
    pixels, height, width, _ = decode_image(tmp_path / "x.png", colour=False, size=4)
    assert (height, width) == (4, 4)
    assert pixels[0, 0].tolist() == [0, 1, 255, 128]
    Image.fromarray(np.array([[0, 0.5, 1, 0.25]] * 4, dtype=np.float32)).save(tmp_path / "x.tif")
    pixels, *_ = decode_image(tmp_path / "x.tif", colour=True, size=4)
    assert pixels[:, 0].tolist() == [[0, 128, 255, 64]] * 3


def test_grey_range_is_what_becomes_black_and_white(tmp_path: Path) -> None:
    """Twelve bits in files of sixteen: without it, nearly black. Files of eight bits are as they are."""
    values = np.array([[0, 1000], [2000, 4095]], dtype=np.uint16)
    for name in ("x.png", "x.tif"):
        Image.fromarray(values).save(tmp_path / name)
        dark, *_ = decode_image(tmp_path / name, colour=False, size=2)
        assert dark.max() == 16
        pixels, *_ = decode_image(tmp_path / name, colour=False, size=2, grey_range=(1000, 3000))
        assert pixels[0].tolist() == [[0, 0], [128, 255]]
    Image.fromarray(np.full((2, 2), 200, np.uint8)).save(tmp_path / "8.png")
    assert decode_image(tmp_path / "8.png", colour=False, size=2, grey_range=(0, 4095))[0].max() == 200
    Image.fromarray(np.array([[-1000.0, 0.0, 500.0, 3000.0]], dtype=np.float32)).save(tmp_path / "x.tif")
    pixels, *_ = decode_image(tmp_path / "x.tif", colour=False, size=4, grey_range=(-1000, 1000))
    assert pixels[0, 0].tolist() == [0, 128, 191, 255]


@pytest.fixture
def folder(tmp_path: Path, write_image: Callable[..., Path]) -> Path:
    """Seven images in three folders, one of them no image."""
    for name in ("b/2.png", "b/1.png", "a.png", "größe und mehr/x y.tiff", "c.jpg", "d.png"):
        write_image(tmp_path / "images" / name, size=(12, 9))
    (tmp_path / "images" / "broken.png").write_text("no image")
    (tmp_path / "images" / "notes.txt").write_text("passed over")
    return tmp_path / "images"


@pytest.mark.parametrize(("batch_size", "colour"), [(1, True), (3, False), (7, True), (100, False)])
def test_every_image_comes_once_as_it_is_decoded(folder: Path, batch_size: int, colour: bool) -> None:
    files = list_image_files(folder)
    batches = list(iter_decoded_batches(files, colour=colour, size=8, batch_size=batch_size))
    assert len(batches) == -(-7 // batch_size)
    ids = [id for batch in batches for id in batch.ids]
    assert ids == ["a.png", "b/1.png", "b/2.png", "c.jpg", "d.png", "größe und mehr/x y.tiff"]
    wanted = np.stack([decode_image(folder / id, colour=colour, size=8)[0] for id in ids])
    np.testing.assert_array_equal(np.concatenate([batch.images for batch in batches]), wanted)
    unreadable = [pair for batch in batches for pair in batch.unreadable]
    assert unreadable == [((folder / "broken.png").resolve(), "its content is none of PNG, JPEG, TIFF, BMP, WEBP, GIF")]


def test_no_more_than_two_batches_are_decoded_ahead_of_use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly they are used: it counts images, so it holds for any number of them."""
    done, lock = [0], threading.Lock()

    def counted(path: Path, *, colour: bool, size: int, grey_range: None) -> DecodedImage:
        with lock:
            done[0] += 1
        return DecodedImage(np.zeros((3, size, size), dtype=np.uint8), size, size, None)

    monkeypatch.setattr(decode, "decode_or_explain", counted)
    files, used = list_image_files(folder) * 6, 0
    for batch in iter_decoded_batches(files, colour=True, size=8, batch_size=4):
        time.sleep(0.02)  # time enough to run ahead
        assert done[0] - used <= 2 * 4
        used += len(batch.ids)
    assert used == done[0] == 42


def test_results_come_in_order_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(map_in_threads(lambda n: n * n, range(50), label="Squaring")) == [n * n for n in range(50)]
    assert capsys.readouterr().err == "Squaring: 50\n"
    assert list(map_in_threads(lambda n: n, range(3), ahead=1)) == [0, 1, 2]
    assert capsys.readouterr().err == ""


def test_work_not_begun_is_dropped_when_the_caller_stops() -> None:
    begun: list[int] = []
    go_on = threading.Event()

    def work(number: int) -> int:
        begun.append(number)
        if number:
            go_on.wait(5)
        return number

    results = map_in_threads(work, range(1000), ahead=500)
    assert next(results) == 0
    threading.Timer(0.05, go_on.set).start()
    results.close()
    assert len(begun) < 500
