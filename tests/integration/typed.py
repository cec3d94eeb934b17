"""A command as it is typed, what it answered, and images small enough to train on in a second."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

# A ResNet of half a million weights on images of 20 px, scored by KNN alone: a second, of which ResNet18 takes three.
SCORED = ("image_size=20", "probe=[knn]", "probe.knn.k=5", "precision=fp32")
UNTRAINED = ("backbone=timm", "backbone.model=test_resnet", *SCORED)  # for methods without training
SMALL = (*UNTRAINED, "epochs=1", "batch_size=8", "picture=false")
RESNET18 = ("backbone=resnet18", *SCORED, "epochs=1", "batch_size=8", "picture=false")
WITH_LINEAR = ("probe=[knn,linear]", "probe.linear.epochs=2")


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


def take_first_job(words: Sequence[str]) -> list[str]:
    """The words of a sweep's first job: without what a sweep alone understands, and with the first of its values."""
    of_a_sweep = re.compile(r"-m$|hydra[/.]|.*interval\(")
    words = [word for word in words if not of_a_sweep.match(word)]
    return [re.sub(r"^([\w.]+=(?:\[[^\[\]]*\]|[^\[,]*)),.*$", r"\1", word) for word in words]


def paint(path: Path, shade: int, seed: int, size: int = 20) -> None:
    """A noisy square of about one shade: something a classifier can tell apart."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(-30, 30, (size, size, 3))
    Image.fromarray(np.clip(shade + noise, 0, 255).astype(np.uint8)).save(path)
