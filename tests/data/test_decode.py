"""Decoding: every kind of file becomes the same kind of square."""

from pathlib import Path

import numpy as np
import pytest
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


def test_transparency_becomes_white(tmp_path: Path) -> None:
    clear = np.zeros((4, 4, 4), dtype=np.uint8)
    clear[:, :2] = (200, 0, 0, 255)
    Image.fromarray(clear).save(tmp_path / "x.png")
    pixels, _, _ = decode_image(tmp_path / "x.png", colour=True, size=4)
    assert pixels[:, 0, 0].tolist() == [200, 0, 0]
    assert pixels[:, 0, 3].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_usual_mode_is_decoded_to_the_same_grey(tmp_path: Path, mode: str) -> None:
    level = 65535 if mode == "I;16" else 255
    white = Image.fromarray(np.full((5, 5), level, np.uint16)) if mode == "I;16" else Image.new("L", (5, 5), 255)
    image = white if mode == "I;16" else white.convert("RGB").convert(mode)
    image.save(tmp_path / "x.tif")
    for colour in (True, False):
        pixels, _, _ = decode_image(tmp_path / "x.tif", colour=colour, size=3)
        assert pixels.shape == (3 if colour else 1, 3, 3)
        assert (pixels == 255).all()


def test_palettes_are_resolved_before_resizing(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[[255, 0, 0], [0, 0, 255]]] * 2, dtype=np.uint8))
    picture.convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "x.png")
    pixels, _, _ = decode_image(tmp_path / "x.png", colour=True, size=2)
    np.testing.assert_array_equal(pixels[:, 0].T, [[255, 0, 0], [0, 0, 255]])


def test_images_are_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its left side
    Image.fromarray(np.repeat([[0], [255]], [10, 10], axis=0).repeat(30, axis=1).astype(np.uint8)).save(
        tmp_path / "x.jpg", exif=exif, quality=95
    )
    pixels, height, width = decode_image(tmp_path / "x.jpg", colour=False, size=10)
    assert (height, width) == (30, 20)
    assert pixels[0, :, 0].mean() > 200
    assert pixels[0, :, -1].mean() < 55


def test_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), level) for level in (10, 200)]
    frames[0].save(tmp_path / "x.tif", save_all=True, append_images=frames[1:])
    pixels, _, _ = decode_image(tmp_path / "x.tif", colour=False, size=4)
    assert (pixels == 10).all()


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
