"""A maker of trainings that take a moment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from experiments import Arguments, Encoders, Experiment
from tiny_training import TRAINING

from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.train.state import TrainingOptions


@pytest.fixture
def experiment(tiny_encoder: Encoders, tiny_store: ImageStore, tmp_path: Path) -> Callable[..., Experiment]:
    """A maker of experiments, each with a checkpoint of its own. `training` holds changes to `TRAINING`."""
    made = 0

    def make(*, training: Arguments | None = None, **settings: Any) -> Experiment:
        nonlocal made
        made += 1
        changed = TrainingOptions(**vars(TRAINING) | (training or {}))
        place = tmp_path / str(made) / "checkpoint.pt"
        return Experiment(tiny_encoder, tiny_store, place, training=changed, **settings).prepare()

    return make
