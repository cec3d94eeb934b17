"""The package as a benchmark uses it: through its own configs, so that what is measured is what a user gets."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from hydra import compose, initialize_config_module

from lowres_ssl.commands.pretrain import Plan, divide, plan_of
from lowres_ssl.config import PretrainConfig, read_config, register_schemas
from lowres_ssl.overrides import quoted
from lowres_ssl.preparation import Material, prepare


@dataclass(frozen=True)
class Experiment:
    """A plan with its images."""

    plan: Plan
    material: Material


def about_data(data: str | None, work: str) -> list[str]:
    """Overrides for the images in `data`, as X-rays where their folder says so; the phantom where there are none."""
    if data is None:
        return ["dataset=phantom", f"data_dir={quoted(work)}", f"output_dir={quoted(work)}"]
    images = "xray" if "pneumonia" in data else "any"
    root = quoted(str(Path(data).resolve()))
    return [
        "dataset=folder",
        f"dataset.root={root}",
        "dataset.name=images",
        f"images={images}",
        f"output_dir={quoted(work)}",
    ]


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
