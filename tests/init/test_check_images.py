"""Files that cannot be read are found when a folder is first looked at, damage behind a whole header too."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lowres_ssl.data.image_folder import scan_folder
from lowres_ssl.init.check_images import check_images


def find_problems(root: Path, store_dir: Path) -> dict[str, str]:
    found = check_images([path for path, _ in scan_folder(root).images], root, store_dir)
    return {path.relative_to(root).as_posix(): reason for path, reason in found.problems.items()}


def test_cut_and_other_files_are_found(tmp_path: Path) -> None:
    root, pixels = tmp_path / "set", np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    root.mkdir()
    cut = {f"x.{suffix}" for suffix in ("png", "jpg", "tif", "webp", "bmp")}
    for name in [*cut, "1.jpg", "2.png"]:
        Image.fromarray(pixels).save(root / name)
        if name in cut:
            (root / name).write_bytes((root / name).read_bytes()[: (root / name).stat().st_size // 2])
    (root / "empty.png").touch()
    (root / "page.png").write_text("<html>")
    found = find_problems(root, tmp_path / "store")
    assert found.keys() == cut | {"empty.png", "page.png"}
    assert all(found.values())
    assert found["empty.png"] == "the file is empty"
    assert "its content is none of PNG" in found["page.png"]


def test_dicom_without_pixels_is_found(tmp_path: Path) -> None:
    make = pytest.importorskip("dicom_files", reason="the extra dicom is not installed").make
    make(tmp_path / "x.png", PixelData=None)
    assert find_problems(tmp_path, tmp_path / "store") == {"x.png": "it has no pixels"}
