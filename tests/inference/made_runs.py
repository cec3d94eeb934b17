"""A run made by the commands, and encoders of runs that are on no disk."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from stored_runs import made_up_config, made_up_record
from torch import nn

from lowres_ssl.device import resolve_device
from lowres_ssl.encoders.from_config import build_backbone
from lowres_ssl.inference.export import make_inputs
from lowres_ssl.inference.load import PortableEncoder, Preprocessing
from lowres_ssl.runs.run import Run


@dataclass(frozen=True)
class Made:
    """`images`: the folder of the set's own images; `outputs`: of the runs; `run`: the folder of the one to take."""

    images: Path
    outputs: Path
    run: Path


def fake_encoder(name: str, *, small_stem: bool = False, method: dict[str, Any] | None = None) -> PortableEncoder:
    """An encoder of a run that is on no disk, as initialised but with the statistics of one that has been trained."""
    module, width = build_backbone(name, small_stem=small_stem, zero_init_residual=False, seed=0)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            layer.running_mean.normal_(0, 0.1)
    config = made_up_config()
    backbone = replace(config.backbone, name=name, small_stem=small_stem)
    config = replace(config, method=method or {"name": "dcl"}, backbone=backbone)
    return PortableEncoder(
        run=Run(Path("nowhere") / "made-up"),
        which="selected",
        file=Path("nowhere") / "encoder.safetensors",
        module=module.eval().requires_grad_(False),
        width=width,
        preprocessing=Preprocessing(True, 48, 24, (0.5, 0.4, 0.3), (0.2, 0.2, 0.2)),
        compute=resolve_device("cpu", "fp32"),
        record=made_up_record(config=config),
    )


def difference(encoder: PortableEncoder, model: nn.Module, batch: int = 2) -> float:
    """The largest, as a share of the largest feature."""
    images = make_inputs(encoder, batch)
    with torch.no_grad():
        wanted = encoder.module(images)
        return float((model.eval()(images) - wanted).abs().max() / wanted.abs().max())
