"""Trees of tiny images laid out by the real names of the two sets go through data, pretrain and evaluate."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typed import SMALL, Command


def write_tree(root: Path, names: list[str]) -> None:
    """8 px images of a shade that depends on the class folder; a few distinct pictures, or writing would take long."""
    rng = np.random.default_rng(0)
    folders = sorted({str(Path(name).parent) for name in names})
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        shade = 40 + 20 * (folders.index(str(Path(name).parent)) % 9)
        pixels = np.clip(shade + rng.integers(-30, 30, (8, 8, 3)), 0, 255).astype(np.uint8)
        pixels[0, 0] = number % 256, number // 256, 0  # no two files alike
        Image.fromarray(pixels).save(root / name)


@pytest.mark.parametrize(
    ("dataset", "file", "images", "note"),
    [
        ("breast", "breakhis_v1_all_paths.txt", 1768, "malignant: 1180 images, published are 1232"),
        pytest.param("colorectal", "kather2016_tiles.txt", 5000, None, marks=pytest.mark.torture),  # 5,000 files
    ],
)
def test_set_laid_out_by_its_real_names_goes_the_whole_way(
    lowres_ssl: Command, shared: Path, tmp_path: Path, dataset: str, file: str, images: int, note: str | None
) -> None:
    names = (shared / "names" / file).read_text(encoding="utf-8").split()
    if dataset == "breast":  # the other magnifications are passed over, which a sample of them shows
        names = [name for name in names if "/400X/" in name] + [name for name in names if "/40X/" in name][:20]
    write_tree(tmp_path / "data" / dataset, names)
    answer = lowres_ssl("data", f"dataset={dataset}", "split=patient")
    assert answer.code == 0, answer.err
    assert f" {images:,} " in answer.out
    assert "\nleakage " in answer.out
    assert "0 of " in answer.out
    if note:
        assert note in answer.err

    typed = (f"dataset={dataset}", *SMALL, "batch_size=256", "split=patient", "probe=[knn]")
    answer = lowres_ssl("pretrain", *typed, "recipe=tuned")
    assert answer.code == 0, answer.err
    (run,) = (tmp_path / "outputs" / "pretrain").glob(f"{dataset}-simclr-*")
    answer = lowres_ssl("evaluate", f"run={run}", "probe.knn.k=20", "probe.linear.epochs=2")
    assert answer.code == 0, answer.err
    assert "KNN (k=20)" in answer.out
