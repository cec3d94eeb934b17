"""The package as a benchmark uses it: through its own configs, so that what is measured is what a user gets."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_module
from numpy.typing import NDArray
from torch import Tensor, nn

from lowres_ssl.config.check import read_config, register_schemas
from lowres_ssl.config.experiment_schema import PretrainConfig
from lowres_ssl.config.overrides import quote_value
from lowres_ssl.data.prepare import PreparedData, make_configured_split, prepare_data
from lowres_ssl.evaluate.features import EvaluationView, extract_features
from lowres_ssl.experiment.plan import TrainingSetup, build_training_setup, make_checked_split
from lowres_ssl.train.batches import BatchReader


@dataclass(frozen=True)
class Experiment:
    """A plan with its images."""

    plan: TrainingSetup
    material: PreparedData

    def extract(self, encoder: nn.Module, rows: NDArray[np.int64]) -> Tensor:
        """The features of some rows of the store, float32 [n, D] on the CPU."""
        take = BatchReader(self.material.store, self.plan.compute.device, "host")
        return extract_features(encoder, take, rows, EvaluationView.from_config(self.plan.config), self.plan.compute)


def about_data(data: str | None, work: str, images: str = "any") -> list[str]:
    """Overrides for the images in `data`, pictures of the kind `images`; the phantom where there are none."""
    if data is None:
        return ["dataset=phantom", f"data_dir={quote_value(work)}", f"output_dir={quote_value(work)}"]
    root = quote_value(str(Path(data).resolve()))
    return [
        "dataset=folder",
        f"dataset.root={root}",
        "dataset.name=images",
        f"images={images}",
        f"output_dir={quote_value(work)}",
    ]


def build_overrides(given: argparse.Namespace, *others: str) -> tuple[str, ...]:
    """Overrides of `lowres-ssl pretrain` for the options that all trainings share, and others."""
    own = (f"backbone={given.backbone}", f"image_size={given.image_size}", f"device={given.device}")
    return (*about_data(given.data, given.work, given.images), *own, *others)


def images_of(overrides: Sequence[str]) -> tuple[PretrainConfig, PreparedData]:
    """Config and images for whoever trains with nothing else of this package, its allocator's settings included."""
    config = configured(overrides)
    return config, prepare_data(config, partial(make_configured_split, config))


def device_of(name: str) -> torch.device:
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def experiment(overrides: Sequence[str]) -> Experiment:
    """What `lowres-ssl pretrain OVERRIDES` would train, and its images, prepared."""
    config = configured(overrides)
    plan = build_training_setup(config)
    return Experiment(plan, prepare_data(config, partial(make_checked_split, plan)))


def configured(overrides: Sequence[str]) -> PretrainConfig:
    register_schemas("pretrain")
    with initialize_config_module("lowres_ssl.conf", version_base="1.3"):
        return read_config(compose("pretrain", overrides=list(overrides)), PretrainConfig)


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
