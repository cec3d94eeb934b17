"""A pre-training of a second or two, and the images for it."""

from pathlib import Path

import numpy as np
from PIL import Image

PRETRAIN = [
    "pretrain",
    "dataset=folder",
    "backbone=timm",
    "backbone.model=test_resnet",
    "image_size=20",
    "epochs=3",
    "batch_size=8",
    "probe=[knn]",
    "probe.knn.k=5",
    "precision=fp32",
    "checkpoint_seconds=0",
]


def paint(folder: Path) -> None:
    """Two classes of 20 images."""
    noise = np.random.default_rng(0)
    for shade, label in ((80, "dark"), (170, "light")):
        (folder / label).mkdir(parents=True)
        for number in range(20):
            image = np.clip(shade + noise.integers(-30, 30, (20, 20, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(image).save(folder / label / f"{number}.png")
