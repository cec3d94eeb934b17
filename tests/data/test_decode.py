"""Decoding: every kind of file becomes the same kind of square."""

from pathlib import Path

import numpy as np
from PIL import Image

from lowres_ssl.data.decode import decode_image


def test_sixteen_bits_are_scaled_to_eight(tmp_path: Path) -> None:
    values = np.array([[0, 257, 65535, 32768]] * 4, dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "x.png")
    pixels, height, width = decode_image(tmp_path / "x.png", colour=False, size=4)
    assert (height, width) == (4, 4)
    assert pixels[0, 0].tolist() == [0, 1, 255, 128]


def test_floats_are_scaled_to_bytes(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 0.5, 1, 0.25]] * 4, dtype=np.float32)).save(tmp_path / "x.tif")
    pixels, _, _ = decode_image(tmp_path / "x.tif", colour=True, size=4)
    assert pixels[:, 0].tolist() == [[0, 128, 255, 64]] * 3


def test_grey_range_is_what_becomes_black_and_white(tmp_path: Path) -> None:
    """Twelve bits in files of sixteen: without it, nearly black."""
    values = np.array([[0, 1000], [2000, 4095]], dtype=np.uint16)
    for name in ("x.png", "x.tif"):
        Image.fromarray(values).save(tmp_path / name)
        dark, *_ = decode_image(tmp_path / name, colour=False, size=2)
        assert dark.max() == 16
        pixels, *_ = decode_image(tmp_path / name, colour=False, size=2, grey_range=(1000, 3000))
        assert pixels[0].tolist() == [[0, 0], [128, 255]]
    Image.fromarray(np.full((2, 2), 200, np.uint8)).save(tmp_path / "8.png")
    assert decode_image(tmp_path / "8.png", colour=False, size=2, grey_range=(0, 4095))[0].max() == 200


def test_floats_and_negative_numbers_have_a_grey_range_as_well(tmp_path: Path) -> None:
    Image.fromarray(np.array([[-1000.0, 0.0, 500.0, 3000.0]], dtype=np.float32)).save(tmp_path / "x.tif")
    pixels, *_ = decode_image(tmp_path / "x.tif", colour=False, size=4, grey_range=(-1000, 1000))
    assert pixels[0, 0].tolist() == [0, 128, 191, 255]
