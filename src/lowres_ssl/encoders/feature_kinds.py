"""Take other features from a frozen encoder than its pooled ones: the class token, or a vector for each patch."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models import ResNet

from lowres_ssl.errors import ConfigError

FeatureKind = Literal["pooled", "class_token", "patches"]


class ClassToken(nn.Module):
    """float32 [B, 3, S, S] -> [B, D]: the class token after the last norm of a transformer of timm."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder: Any = encoder

    def forward(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.encoder.forward_features(take_channels(self.encoder, images))
        return tokens[:, 0]


class Patches(nn.Module):
    """float32 [B, 3, S, S] -> [B, P, D]: patches of a transformer, or places of a last feature map, row by row."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder: Any = encoder

    def forward(self, images: Tensor) -> Tensor:
        images = take_channels(self.encoder, images)
        if isinstance(self.encoder, ResNet):
            for name, module in self.encoder.named_children():
                if name not in ("avgpool", "fc"):
                    images = module(images)
            return images.flatten(2).transpose(1, 2)
        found: Tensor = self.encoder.forward_features(images)
        if found.ndim == 3:
            return found[:, int(self.encoder.num_prefix_tokens) :]
        channels_first = found.shape[1] == self.encoder.num_features
        return found.flatten(2).transpose(1, 2) if channels_first else found.flatten(1, 2)


def take_channels(encoder: nn.Module, images: Tensor) -> Tensor:
    """Take as many channels as the encoder's first convolution has: `forward_features` passes by its hooks."""
    first = next((each for each in encoder.modules() if isinstance(each, nn.Conv2d)), None)
    return images if first is None else images[:, : first.in_channels]


def select_features(encoder: nn.Module, kind: FeatureKind, image_size: int) -> tuple[nn.Module, tuple[int, ...]]:
    """Return a module with the features of this `kind`, and the shape that they have for one image.

    Raises `ConfigError` for an encoder that has none of that kind.
    """
    module = encoder
    if kind == "class_token":
        if getattr(encoder, "cls_token", None) is None:
            raise ConfigError("features=class_token: this encoder has no class token; type features=pooled or patches")
        module = ClassToken(encoder)
    elif kind == "patches":
        if not (isinstance(encoder, ResNet) or callable(getattr(encoder, "forward_features", None))):
            raise ConfigError("features=patches: this encoder has no patches; type features=pooled")
        module = Patches(encoder)
    device = next(encoder.parameters()).device
    with torch.no_grad():
        shape = module.eval()(torch.zeros(1, 3, image_size, image_size, device=device)).shape[1:]
    return module, tuple(shape)
