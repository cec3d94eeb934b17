"""Encoders without their classification layer: torchvision's ResNets, by name."""

from copy import deepcopy
from functools import lru_cache

import torch
from torch import nn
from torchvision import models

from lowres_ssl.errors import ConfigError, did_you_mean
from lowres_ssl.seeding import seed_torch


def list_backbones() -> list[str]:
    """Every torchvision ResNet, ResNeXt and wide ResNet."""
    return [name for name in models.list_models(module=models) if name.startswith(("resnet", "resnext", "wide_resnet"))]


def build_backbone(name: str, *, small_stem: bool, zero_init_residual: bool, seed: int) -> tuple[nn.Module, int]:
    """The encoder, float32 [B, 3, S, S] -> [B, D], and D. Randomly initialised from `seed`, as torchvision does it.

    Its keys are torchvision's own, without those of `fc`. `small_stem`: a 3 x 3 first convolution of stride 1 and no
    max-pooling, for small images (SimCLR, 2020, appendix B.9). `zero_init_residual`: each residual branch starts at 0
    (Goyal et al., 2017, arXiv 1706.02677, section 5.1). The global generators are left alone. Raises `ConfigError` for
    an unknown name.
    """
    if name not in list_backbones():
        hint = did_you_mean(name, list_backbones(), "backbone={}")
        raise ConfigError(f"backbone={name}: wanted one of {', '.join(list_backbones())}{hint}")
    made_as = torch.get_default_device(), torch.get_default_dtype()
    encoder: models.ResNet = deepcopy(init_backbone(name, small_stem, zero_init_residual, seed, *made_as))
    features = encoder.fc.in_features
    encoder.fc = nn.Identity()
    return encoder, features


@lru_cache(maxsize=1)  # a run has two alike, its own and that of the row beside it, and so have jobs of one seed
def init_backbone(
    name: str, small_stem: bool, zero_init_residual: bool, seed: int, device: torch.device, dtype: torch.dtype
) -> models.ResNet:
    """The encoder with its classification layer, to be copied. `device`, `dtype`: PyTorch's own defaults."""
    with seed_torch(seed, "encoder"):
        encoder: models.ResNet = models.get_model(name, weights=None, zero_init_residual=zero_init_residual)
        if small_stem:
            encoder.conv1 = nn.Conv2d(3, encoder.conv1.out_channels, kernel_size=3, stride=1, padding=1, bias=False)
            nn.init.kaiming_normal_(encoder.conv1.weight, mode="fan_out", nonlinearity="relu")
            encoder.maxpool = nn.Identity()
    return encoder.to(memory_format=torch.channels_last)
