"""The package as a benchmark uses it: through its own configs, so that what is measured is what a user gets."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from hydra import compose, initialize_config_module

from lowres_ssl.command_line.overrides import quoted
from lowres_ssl.config import PretrainConfig, read_config, register_schemas
from lowres_ssl.planning.plan import Plan, divide, plan_of
from lowres_ssl.planning.preparation import Material, prepare, split_of


@dataclass(frozen=True)
class Experiment:
    """A plan with its images."""

    plan: Plan
    material: Material


def about_data(data: str | None, work: str, images: str = "any") -> list[str]:
    """Overrides for the images in `data`, pictures of the kind `images`; the phantom where there are none."""
    if data is None:
        return ["dataset=phantom", f"data_dir={quoted(work)}", f"output_dir={quoted(work)}"]
    root = quoted(str(Path(data).resolve()))
    return [
        "dataset=folder",
        f"dataset.root={root}",
        "dataset.name=images",
        f"images={images}",
        f"output_dir={quoted(work)}",
    ]


def images_of(overrides: Sequence[str]) -> tuple[PretrainConfig, Material]:
    """Config and images for whoever trains with nothing else of this package, its allocator's settings included."""
    config = configured(overrides)
    return config, prepare(config, partial(split_of, config))


def device_of(name: str) -> torch.device:
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def experiment(overrides: Sequence[str]) -> Experiment:
    """What `lowres-ssl pretrain OVERRIDES` would train, and its images, prepared."""
    config = configured(overrides)
    plan = plan_of(config)
    return Experiment(plan, prepare(config, partial(divide, plan)))


def configured(overrides: Sequence[str]) -> PretrainConfig:
    register_schemas()
    with initialize_config_module("lowres_ssl.conf", version_base="1.3"):
        return read_config(compose("pretrain", overrides=list(overrides)), PretrainConfig)


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
