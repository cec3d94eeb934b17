"""Build the encoder of a config: its architecture, the weights it starts with, and how its images are normalised."""

from pathlib import Path

import torch
from torch import nn

from lowres_ssl.config.experiment_schema import WEIGHTS_METHOD, ExperimentConfig
from lowres_ssl.encoders.base import Encoder, build_fixed_encoder, find_fixed_encoder
from lowres_ssl.encoders.torchvision import build_backbone
from lowres_ssl.encoders.weights_file import load_encoder_weights
from lowres_ssl.errors import ConfigError


def encoder_depends_on_seed(config: ExperimentConfig) -> bool:
    """Whether the encoder of `config` is another one for another seed."""
    name = str(config.method["name"])
    fixed = find_fixed_encoder(name)
    return name != WEIGHTS_METHOD and (fixed is None or fixed.depends_on_seed)


def init_encoder(config: ExperimentConfig) -> Encoder:
    """The encoder of `config` as it is initialised, and how many features it has."""

    def backbone() -> Encoder:
        return build_backbone(
            config.backbone.name,
            small_stem=config.backbone.small_stem,
            zero_init_residual=config.backbone.zero_init_residual,
            seed=config.seed,
        )

    baseline = build_fixed_encoder(config.method)
    return backbone() if baseline is None else baseline.architecture(backbone)


def build_starting_encoder(config: ExperimentConfig) -> Encoder:
    """As `init_encoder`, with what the method brings: the weights of a baseline.

    Raises `ConfigError`, `DataError` or `CheckpointError`; also for an encoder that does not take `image_size`.
    """
    encoder, width = init_encoder(config)
    baseline = build_fixed_encoder(config.method)
    weights = None if baseline is None else baseline.weights(config.backbone.name, Path(config.data_dir) / "weights")
    if weights is not None:
        load_encoder_weights(encoder, weights, f"method={config.method['name']}")
        own = None if baseline is None else baseline.image_size()
        check_encoder_image_size(encoder, config.image_size, str(config.method["name"]), own)
    return encoder, width


def check_encoder_image_size(encoder: nn.Module, image_size: int, name: str, own: int | None) -> None:
    """Some transformers take images of one size only, others of multiples of their patches; fail before any image is
    read. `own`: the size that the weights were trained with, if known."""
    try:
        with torch.no_grad():
            encoder.eval()(torch.zeros(1, 3, image_size, image_size))
    except (AssertionError, RuntimeError) as error:
        size = "image_size=224, or the size it was trained with" if own is None else f"image_size={own}, its own"
        raise ConfigError(
            f"image_size={image_size}: this encoder (method={name}) does not take it "
            f"({str(error).splitlines()[0]}); type {size}"
        ) from error


def get_normalisation(config: ExperimentConfig) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of the channels: those a baseline's weights were trained with, else the images', of
    which a grey image takes the first, as its views do."""
    baseline = build_fixed_encoder(config.method)
    own = None if baseline is None else baseline.normalisation()
    if own is not None:
        return own
    mean, std = list(config.images.mean), list(config.images.std)
    return (mean, std) if config.images.colour else ([mean[0]] * 3, [std[0]] * 3)
