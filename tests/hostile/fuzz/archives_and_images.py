"""Fuzzed: archives and images that came from elsewhere."""

import io
import tarfile
import warnings
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image
from watching import ODD_TEXT, Target, damaged_bytes, watched

from lowres_ssl.config.overrides import is_utf8
from lowres_ssl.data.archives import unpack_archive
from lowres_ssl.data.decode import decode_image, format_image_error
from lowres_ssl.data.image_metadata import read_file_metadata

NAMES = st.one_of(
    ODD_TEXT.filter(is_utf8),
    st.sampled_from(
        ["a/1.png", "A/1.png", "a", "a/", "/x", "../x", "a/../../x", "C:/x", "a\\..\\..\\x", ".", "./a", "//"]
    ),
)
KINDS = st.sampled_from(
    [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, b"S", b"L"]
)


@cache
def archives_written() -> tuple[bytes, ...]:
    """A zip and tars of each kind."""
    files = {"top/a/1.png": b"one" * 50, "top/b/2.png": bytes(range(256))}
    written = []
    for mode in ("w", "w:gz", "w:bz2", "w:xz"):
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode=mode) as file:
            for name, own in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(own)
                file.addfile(info, io.BytesIO(own))
        written.append(content.getvalue())
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, own in files.items():
            zipped.writestr(name, own)
    return (*written, content.getvalue())


@st.composite
def odd_tars(draw: st.DrawFn) -> bytes:
    content = io.BytesIO()
    kind = draw(st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
    with tarfile.open(fileobj=content, mode="w", format=kind, errors="surrogateescape") as file:
        for _ in range(draw(st.integers(1, 3))):
            info = tarfile.TarInfo(draw(NAMES).replace("\0", ""))
            info.type, info.linkname, info.size = draw(KINDS), draw(NAMES).replace("\0", ""), draw(st.integers(0, 3))
            file.addfile(info, io.BytesIO(b"xyz"))
    return content.getvalue()


@st.composite
def odd_zips(draw: st.DrawFn) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(content, "w") as file:
        warnings.simplefilter("ignore")  # a name that is there twice is meant
        for _ in range(draw(st.integers(1, 3))):
            info = zipfile.ZipInfo(draw(NAMES))
            info.external_attr = draw(st.sampled_from([0, 0o100644, 0o120777, 0o40755, 0o20666])) << 16
            file.writestr(info, b"xyz")
    return content.getvalue()


def unpack_it(content: bytes, folder: Path) -> None:
    (folder / "x.archive").write_bytes(content)
    (folder / "deep" / "into").mkdir(parents=True)
    with watched(folder / "deep" / "into"):
        unpack_archive(folder / "x.archive", folder / "deep" / "into")
    assert not [path for path in folder.rglob("*") if path.is_symlink() or not (path.is_file() or path.is_dir())]


@cache
def images_written() -> dict[str, bytes]:
    """An image in each format that is read, and in each of its modes."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    written = {}

    def save(suffix: str, image: Image.Image, **how: Any) -> None:
        file = io.BytesIO()
        image.save(file, suffix.split("-")[0], **how)
        written[suffix] = file.getvalue()

    for suffix in ("png", "jpeg", "tiff", "bmp", "webp", "gif"):
        save(suffix, picture)
    for suffix, mode in (("png-p", "P"), ("png-la", "LA"), ("jpeg-cmyk", "CMYK"), ("tiff-1", "1")):
        save(suffix, picture.convert(mode))
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        save(f"tiff-{compression}", picture, compression=compression)
    save("png-16", deep)
    save("tiff-16", deep)
    exif = Image.Exif()
    exif[0x0112] = 6
    save("jpeg-turned", picture, exif=exif)
    return written


def decode_it(example: tuple[str, bytes], folder: Path) -> None:
    """As the index and the store do: whatever a decoder says of it becomes a few words."""
    name, content = example
    path = folder / f"x.{name.split('-')[0]}"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with watched(folder):
            assert "\n" not in str(read_file_metadata(path))
            try:
                pixels, height, width, _ = decode_image(path, colour=True, size=8)
            except TimeoutError:
                raise
            except Exception as error:
                reason = format_image_error(error)
            else:
                reason = ""
                assert (pixels.shape, pixels.dtype) == ((3, 8, 8), np.uint8)
                assert min(height, width) > 0
            assert "\n" not in reason


TARGETS = {
    "archives": Target(
        unpack_it, st.one_of(odd_tars(), odd_zips(), *(damaged_bytes(each) for each in archives_written())), enough=120
    ),
    "images": Target(
        decode_it,
        st.one_of(
            *(
                damaged_bytes(content).map(lambda content, name=name: (name, content))
                for name, content in images_written().items()
            )
        ),
        enough=150,
    ),
}
