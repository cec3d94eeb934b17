"""A maker of trainings that take a moment."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from experiments import Arguments, Encoders, Experiment, Threads
from tiny_training import TRAINING

from lowres_ssl.data.image_store import ImageStore
from lowres_ssl.train.state import TrainingOptions


@pytest.fixture
def experiment(tiny_encoder: Encoders, tiny_store: ImageStore, tmp_path: Path) -> Callable[..., Experiment]:
    """A maker of experiments, each with a checkpoint of its own. `training` holds changes to `TRAINING`; `encoders`
    makes other encoders of 8 features, from a seed."""
    made = 0

    def make(*, training: Arguments | None = None, encoders: Encoders = tiny_encoder, **settings: Any) -> Experiment:
        nonlocal made
        made += 1
        changed = TrainingOptions(**vars(TRAINING) | (training or {}))
        place = tmp_path / str(made) / "checkpoint.pt"
        return Experiment(encoders, tiny_store, place, training=changed, **settings).prepare()

    return make


@pytest.fixture
def threads() -> Iterator[Threads]:
    """Set PyTorch's number of threads, which is reset afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
