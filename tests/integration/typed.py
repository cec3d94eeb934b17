"""A command as it is typed, what it answered, and images small enough to train on in a second."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

# ResNet18 on images of 20 px: a run in a second or two.
SMALL = ("backbone=resnet18", "image_size=20", "epochs=1", "batch_size=8", "probe.knn.k=5", "precision=fp32")


@dataclass(frozen=True)
class Answer:
    """What a command printed, and the exit code it ended with."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        return self.err.strip().splitlines()[-1]


Command = Callable[..., Answer]


def paint(path: Path, shade: int, seed: int, size: int = 20) -> None:
    """A noisy square of about one shade: something a classifier can tell apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-30, 30, (size, size, 3))
    Image.fromarray(np.clip(shade + noise, 0, 255).astype(np.uint8)).save(path)
