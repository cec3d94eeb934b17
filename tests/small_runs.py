"""Words of commands that train in a second, and the images for them."""

from pathlib import Path

import numpy as np
from PIL import Image

# A ResNet of half a million weights on images of 20 px, scored by KNN alone: a second, of which ResNet18 takes three.
SCORED = ("image_size=20", "probe=[knn]", "probe.knn.k=5", "precision=fp32")
UNTRAINED = ("backbone=timm", "backbone.model=test_resnet", *SCORED)  # for methods without training
SMALL = (*UNTRAINED, "epochs=1", "batch_size=8", "picture=false")
RESNET18 = ("backbone=resnet18", *SCORED, "epochs=1", "batch_size=8", "picture=false")
WITH_LINEAR = ("probe=[knn,linear]", "probe.linear.epochs=2")


def paint(path: Path, shade: int, seed: int, size: int = 20) -> None:
    """A noisy square of about one shade: something a classifier can tell apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-30, 30, (size, size, 3))
    Image.fromarray(np.clip(shade + noise, 0, 255).astype(np.uint8)).save(path)


def paint_cells(root: Path) -> Path:
    """Two classes of 20 images, two of each patient."""
    for place, label in enumerate(("dark", "light")):
        for number in range(20):
            paint(root / label / f"p{number // 2}_{number}.png", 80 + 90 * place, seed=100 * place + number)
    return root
