"""Every odd kind of image has a stated outcome: these values, or this line. docs/images.md is the table of it."""

import io
import os
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import putchunk
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from lowres_ssl.data.decode import decode_image, decode_or_explain
from lowres_ssl.data.image_metadata import read_file_metadata

DOCS = Path(__file__).resolve().parents[2] / "docs" / "images.md"
SIZE = 4
RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def halves(left: Any = RED, right: Any = BLUE, mode: str = "RGB", size: tuple[int, int] = (8, 8)) -> Image.Image:
    image = Image.new(mode, size, left)
    image.paste(right, (size[0] // 2, 0, *size))
    return image


def saved(image: Image.Image, suffix: str = "png", **how: Any) -> Callable[[Path], Path]:
    def save(folder: Path) -> Path:
        image.save(folder / f"x.{suffix}", **how)
        return folder / f"x.{suffix}"

    return save


def wrote(content: bytes, suffix: str = "png") -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / f"x.{suffix}").write_bytes(content)
        return folder / f"x.{suffix}"

    return write


def png(width: int, height: int, depth: int, kind: int, rows: bytes) -> bytes:
    """A PNG of these scan lines, each begun by a zero; Pillow writes no 16-bit colour, and no picture this large."""
    file = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    file.seek(0, io.SEEK_END)
    putchunk(file, b"IHDR", struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0))
    putchunk(file, b"IDAT", zlib.compress(rows))
    putchunk(file, b"IEND")
    return file.getvalue()


def tiff(values: NDArray[np.uint16], order: str) -> bytes:
    """A TIFF of [H, W, C] values of 16 bits in one strip, "<" or ">" first; Pillow writes none in colour."""
    height, width, channels = values.shape
    directory = ImageFileDirectory_v2(b"II*\0\0\0\0\0" if order == "<" else b"MM\0*\0\0\0\0")
    tags: dict[int, Any] = {256: width, 257: height, 258: (16,) * channels, 259: 1, 262: 2 if channels > 2 else 1}
    tags |= {273: 0, 277: channels, 278: height, 279: values.nbytes} | ({338: 2} if channels in (2, 4) else {})
    for tag, value in tags.items():
        directory[tag] = value
    file = io.BytesIO()
    directory.save(file)
    return file.getvalue() + values.astype(f"{order}u2").tobytes()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # what is stored left is up
    return exif


def cut(folder: Path) -> Path:
    path = saved(Image.effect_noise((64, 64), 50))(folder)
    os.truncate(path, path.stat().st_size // 2)
    return path


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "x.png")
    return folder / "x.png"


SIXTEEN = np.repeat(np.array([[0] * 4 + [65535] * 4], dtype=np.uint16), 8, axis=0)
COLOURS = np.stack([SIXTEEN, np.where(SIXTEEN > 0, 32767, 65535), 0 * SIXTEEN], axis=-1).astype(np.uint16)
CLEAR_ROW = b"\0" + struct.pack(">HHHH", 65535, 0, 0, 0) * 4 + struct.pack(">HHHH", 65535, 0, 0, 65535) * 4
GREY_CLEAR_ROW = b"\0" + struct.pack(">HH", 0, 0) * 4 + struct.pack(">HH", 0, 65535) * 4
DEEP_ROW = b"\0" + struct.pack(">HHH", 65535, 128, 0) * 8
FRAMES = {"save_all": True, "append_images": [Image.new("RGB", (8, 8), BLUE)]}
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n"

# Kind -> how it is made, and its left and right edge as RGB, or what the error says.
KINDS: dict[str, tuple[Callable[[Path], Path], Any]] = {
    "zero bytes": (wrote(b""), "the file is empty"),
    "truncated": (cut, "truncated"),
    "a pipe in an image's name": (pipe, "a pipe, a socket or a device"),
    "text in an image's name": (wrote(b"no image at all"), "its content is none of PNG"),
    "PostScript in an image's name": (wrote(EPS), "its content is none of PNG"),
    "wrong suffix": (lambda folder: saved(halves(), "bmp")(folder).rename(folder / "x.jpg"), (RED, BLUE)),
    "decompression bomb": (wrote(png(60_000, 60_000, 8, 0, bytes(100))), "more pixels than Pillow's limit"),
    "less data than its size": (wrote(png(8, 8, 8, 2, bytes(10))), "truncated|broken|not enough"),
    "grey": (saved(halves(0, 255, "L")), ((0, 0, 0), WHITE)),
    "black and white": (saved(halves(0, 1, "1")), ((0, 0, 0), WHITE)),
    "grey, 16 bit": (saved(Image.fromarray(SIXTEEN)), ((0, 0, 0), WHITE)),
    "grey, 16 bit, TIFF": (saved(Image.fromarray(SIXTEEN), "tif"), ((0, 0, 0), WHITE)),
    "grey, 16 bit, TIFF of the other byte order": (wrote(tiff(SIXTEEN[..., None], ">"), "tif"), ((0, 0, 0), WHITE)),
    "grey, 32 bit": (saved(Image.fromarray(SIXTEEN.astype(np.int32) - 9), "tif"), ((0, 0, 0), WHITE)),
    "colour, 16 bit": (wrote(png(8, 8, 16, 2, DEEP_ROW * 8)), ((255, 0, 0), (255, 0, 0))),
    "colour, 16 bit, TIFF": (wrote(tiff(COLOURS, "<"), "tif"), ((0, 255, 0), (255, 127, 0))),
    "colour, 16 bit, TIFF of the other byte order": (wrote(tiff(COLOURS, ">"), "tif"), ((0, 255, 0), (255, 127, 0))),
    "colour and alpha, 16 bit": (wrote(png(8, 8, 16, 6, CLEAR_ROW * 8)), (WHITE, (255, 0, 0))),
    "grey and alpha, 16 bit": (wrote(png(8, 8, 16, 4, GREY_CLEAR_ROW * 8)), (WHITE, (0, 0, 0))),
    "grey and alpha, 16 bit, TIFF": (wrote(tiff(COLOURS[..., :2], "<"), "tif"), "its content is none of PNG"),
    "floats, 0 to 1": (saved(Image.fromarray((SIXTEEN / 65535).astype(np.float32)), "tif"), ((0, 0, 0), WHITE)),
    "palette": (saved(halves().convert("P", palette=Image.Palette.ADAPTIVE)), (RED, BLUE)),
    "palette with a clear colour": (
        saved(halves().quantize(2), transparency=bytes([0, 0])),
        (WHITE, WHITE),
    ),
    "alpha": (saved(halves((255, 0, 0, 255), (0, 0, 255, 0), "RGBA")), (RED, WHITE)),
    "grey and alpha": (saved(halves((0, 255), (0, 0), "LA")), ((0, 0, 0), WHITE)),
    "CMYK": (saved(halves((0, 255, 255, 0), (255, 255, 0, 0), "CMYK"), "tif"), (RED, BLUE)),
    "CMYK, JPEG by Adobe": (
        saved(halves((0, 255, 255, 0), (255, 255, 0, 0), "CMYK", (32, 32)), "jpg", quality=100),
        (RED, BLUE),
    ),
    "EXIF rotation": (
        saved(halves(size=(32, 32)).rotate(90), "jpg", exif=turned(), quality=100, subsampling=0),
        (RED, BLUE),
    ),
    "several pages, TIFF": (saved(halves(), "tif", **FRAMES), (RED, BLUE)),
    "animated PNG": (saved(halves(), "png", **FRAMES), (RED, BLUE)),
    "animated WebP": (saved(halves(), "webp", lossless=True, **FRAMES), (RED, BLUE)),
    "animated GIF in a PNG's name": (
        lambda folder: saved(halves(), "gif", **FRAMES)(folder).rename(folder / "x.png"),
        (RED, BLUE),
    ),
    "1 x 1": (saved(Image.new("RGB", (1, 1), RED)), (RED, RED)),
    "20000 x 1": (saved(halves(size=(20_000, 1))), (RED, BLUE)),
    "1 x 20000": (saved(Image.new("RGB", (1, 20_000), RED)), (RED, RED)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_odd_image_has_its_stated_outcome(kind: str, tmp_path: Path) -> None:
    make, wanted = KINDS[kind]
    path = make(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = read_file_metadata(path)
        if isinstance(wanted, str):
            # Where its header is whole, decoding finds it.
            reason = image if isinstance(image, str) else decode_or_explain(path, colour=True, size=SIZE)
            assert isinstance(reason, str)
            assert re.search(wanted, reason)
            assert "\n" not in reason
            return
        assert not isinstance(image, str)
        pixels, height, width, _ = decode_image(path, colour=True, size=SIZE)
        grey, *_ = decode_image(path, colour=False, size=SIZE)
    assert (height, width) == (image.height, image.width)
    assert grey.shape == (1, SIZE, SIZE)
    np.testing.assert_allclose(pixels[:, 0, 0], wanted[0], atol=3)
    np.testing.assert_allclose(pixels[:, -1, -1], wanted[1], atol=3)


def test_table_in_the_docs_has_a_line_for_each_kind() -> None:
    told = re.findall(r"^\| ([^|]+?) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert [kind for kind in told if kind not in ("the file is", "---")] == list(KINDS)
