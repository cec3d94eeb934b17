"""Files that cannot be read are found when a folder is first looked at, damage behind a whole header too."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowres_ssl.data.image_folder import scan_folder
from lowres_ssl.init.check_images import check_images


@pytest.fixture
def damaged(tmp_path: Path) -> Callable[[str, bytes | None], dict[str, str]]:
    """What is found of two classes of images, one with a file of this name: cut short, or with this content."""

    def make(name: str, content: bytes | None) -> dict[str, str]:
        root = tmp_path / "set"
        for label in "ab":
            for number in range(4):
                path = root / label / (name if (label, number) == ("b", 3) else f"{number}.jpg")
                path.parent.mkdir(parents=True, exist_ok=True)
                pixels = np.random.default_rng(number).integers(0, 256, (160, 160, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] if content is None else content)
        files = [path for path, _ in scan_folder(root).images]
        found = check_images(files, root, tmp_path / "store")
        return {each.relative_to(root).as_posix(): reason for each, reason in found.problems.items()}

    return make


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif", "x.webp", "x.bmp"])
def test_cut_files_are_found(damaged: Callable[..., dict[str, str]], name: str) -> None:
    (only,) = damaged(name, None).items()
    assert only[0] == f"b/{name}"
    assert only[1]


def test_files_of_other_content_are_found(damaged: Callable[..., dict[str, str]]) -> None:
    assert damaged("x.png", b"") == {"b/x.png": "the file is empty"}
    (reason,) = damaged("x.png", b"<html>").values()
    assert "its content is none of PNG" in reason


def test_dicom_without_pixels_is_found(damaged: Callable[..., dict[str, str]], tmp_path: Path) -> None:
    make = pytest.importorskip("dicom_files", reason="the extra dicom is not installed").make
    report = make(tmp_path / "report.dcm", PixelData=None).read_bytes()
    assert damaged("x.png", report) == {"b/x.png": "it has no pixels"}
