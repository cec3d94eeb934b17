"""Build timm's models without their classifier, fetch their weights, and take other features than the pooled ones."""

from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchvision.models import ResNet

from lowres_ssl.encoders.weights_file import save_tensors
from lowres_ssl.errors import ConfigError, DataError, did_you_mean
from lowres_ssl.registry import import_extra
from lowres_ssl.seeding import seed_torch

HUB_PREFIX = "hf-hub:"


def import_timm(wanted: str = "method=pretrained") -> ModuleType:
    """Import the library. Raises `ConfigError` if it is not installed; `wanted` needs it."""
    return import_extra("timm", "timm", wanted)


def is_timm_name(model: str) -> bool:
    """Whether timm is installed and knows the architecture of `model`, with or without the name of its weights."""
    try:
        library = import_timm()
    except ConfigError:
        return False
    return model.startswith(HUB_PREFIX) or bool(library.is_model(model.split(".")[0]))


def check_timm_name(model: str, key: str) -> None:
    """Raise `ConfigError` for an architecture that timm does not know; `key`: what the user types for it."""
    library = import_timm(key)
    if not is_timm_name(model):
        hint = did_you_mean(model.split(".")[0], library.list_models(), f"{key}={{}}")
        raise ConfigError(f"{key}={model}: timm {library.__version__} has no such model{hint}")


def create_timm_model(model: str, **asked: Any) -> nn.Module:
    """Build timm's `model` without its classifier. A transformer whose positions are for images of one size resamples
    them to the images it gets, where timm can do that; its weights are the same."""
    try:
        encoder: nn.Module = import_timm().create_model(model, num_classes=0, dynamic_img_size=True, **asked)
    except TypeError:  # no such argument
        encoder = import_timm().create_model(model, num_classes=0, **asked)
    return encoder


def build_timm_encoder(model: str, *, drop_path: float, zero_init_residual: bool, seed: int) -> tuple[nn.Module, int]:
    """Build an encoder to be trained, float32 [B, 3, S, S] -> [B, D], and D, randomly initialised from `seed` as timm
    does it. Its pooling is the model's own, D is the width after whatever follows it, as in MobileNetV3.

    `drop_path`: the probability that a residual branch is left out in training (Huang et al., 2016, arXiv 1603.09382):
    it rises to this with depth. At 0 none is left out, even of a model that drops some by default, as Swin does.
    `zero_init_residual`: as of torchvision's ResNets, for the models with such a choice (ResNets and their kin).
    Raises `ConfigError` for an unknown model, or one without it where it is above 0.
    """
    check_timm_name(model, "backbone.model")
    bare = model.split(".")[0]
    drops, starts = {"drop_path_rate": drop_path}, {"zero_init_last": zero_init_residual}
    for asked in (drops | starts, drops, starts, {}):
        if drop_path and "drop_path_rate" not in asked:
            raise ConfigError(f"backbone.drop_path={drop_path}: {model} has none; type backbone.drop_path=0")
        try:
            with seed_torch(seed, "encoder"):
                encoder: Any = create_timm_model(bare, **asked)
            break
        except TypeError:  # no such argument
            if not asked:
                raise
    return encoder, int(encoder.head_hidden_size)


def read_timm_weights(model: str, cache: Path, key: str, by_hand: str) -> dict[str, Tensor]:
    """Fetch the weights of `model` into `cache`, once. Raises `DataError` with `by_hand`, what else to do."""
    try:
        encoder = create_timm_model(model, pretrained=True, cache_dir=str(cache))
    except Exception as error:  # timm asks a hub, which fails in many ways
        raise DataError(
            f"{key}={model}: its weights cannot be fetched ({get_first_line(error)}); fetch {name_timm_source(model)} "
            f"by other means and {by_hand}"
        ) from error
    return encoder.state_dict()


def get_timm_path(model: str, cache: Path) -> Path:
    """Name the place where `fetch_timm_file` puts the weights of `model`."""
    return cache / f"timm-{model.replace('/', '-').replace(':', '-')}.safetensors"


def name_timm_source(model: str) -> str:
    """Name the file that the weights of `model` are published in, as far as timm knows."""
    if model.startswith(HUB_PREFIX):
        return f"model.safetensors of https://huggingface.co/{model.removeprefix(HUB_PREFIX)}"
    known = import_timm().get_pretrained_cfg(model)
    if known is not None and known.hf_hub_id:
        return f"model.safetensors of https://huggingface.co/{known.hf_hub_id}"
    return "them" if known is None or not known.url else str(known.url)


def fetch_timm_file(model: str, cache: Path) -> Path:
    """Return the file in `cache` with the weights of `model`, fetched and written there if it is not there yet."""
    path = get_timm_path(model, cache)
    if not path.exists():
        is_safe = name_timm_source(model).startswith("model.safetensors")
        by_hand = f"{f'put it at {path}, or ' if is_safe else ''}type initial_weights=FILE"
        save_tensors(path, read_timm_weights(model, cache, "initial_weights", by_hand), {"model": model})
    return path


def get_first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


FeatureKind = Literal["pooled", "class_token", "patches"]


class ClassToken(nn.Module):
    """Take float32 [B, 3, S, S] to [B, D]: the class token after the last norm of a transformer of timm."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder: Any = encoder

    def forward(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.encoder.forward_features(take_channels(self.encoder, images))
        return tokens[:, 0]


class Patches(nn.Module):
    """Take float32 [B, 3, S, S] to [B, P, D]: patches of a transformer, or places of a last feature map, row by row."""

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
        module = Patches(encoder)
    device = next(encoder.parameters()).device
    with torch.no_grad():
        try:
            shape = module.eval()(torch.zeros(1, 3, image_size, image_size, device=device)).shape[1:]
        except AttributeError as error:  # no `forward_features`, one that gives a list, or no `num_prefix_tokens`
            if kind == "pooled":
                raise
            wanted = "features=pooled" if kind == "patches" else "features=pooled or patches"
            raise ConfigError(
                f"features={kind}: this encoder ({type(encoder).__name__}) does not tell them from its other outputs; "
                f"type {wanted}"
            ) from error
    return module, tuple(shape)
