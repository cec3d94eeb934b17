"""Build the encoder of a config: its architecture, the weights it starts with, the stages that stay as they are."""

from collections.abc import Sequence
from copy import deepcopy
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision import models

from lowres_ssl.config.experiment_schema import RANDOM_BASELINES, WEIGHTS_METHOD, BackboneConfig, ExperimentConfig
from lowres_ssl.encoders.base import Encoder, build_fixed_encoder, find_fixed_encoder
from lowres_ssl.encoders.fit_weights import load_encoder_weights
from lowres_ssl.encoders.timm_models import build_timm_encoder
from lowres_ssl.errors import ConfigError, did_you_mean
from lowres_ssl.seeding import seed_torch

TIMM_EXAMPLE = "vit_small_patch16_224"
RESNET_STAGES = (("conv1", "bn1"), ("layer1",), ("layer2",), ("layer3",), ("layer4",))
FARTHEST_SIZE = 32  # pixels; the patches of most transformers are smaller
FROZEN_MARK = "is_frozen"  # an attribute, so that copies of a module are frozen as well


def encoder_depends_on_seed(config: ExperimentConfig) -> bool:
    """Whether the encoder of `config` is another one for another seed."""
    name = str(config.method["name"])
    fixed = find_fixed_encoder(name)
    return name != WEIGHTS_METHOD and (fixed is None or fixed.depends_on_seed)


def init_encoder(config: ExperimentConfig) -> Encoder:
    """Build the encoder of `config` as it is initialised, and count its features."""

    def backbone() -> Encoder:
        return build_encoder(config.backbone, config.seed)

    baseline = build_fixed_encoder(config.method)
    return backbone() if baseline is None else baseline.architecture(backbone)


def build_encoder(backbone: BackboneConfig, seed: int) -> Encoder:
    """Build a ResNet of torchvision, or with `name: timm` any model of timm, randomly initialised from `seed`.

    Raises `ConfigError` for keys that do not go together.
    """
    if backbone.name == "timm":
        if backbone.model is None:
            raise ConfigError(f"backbone=timm: wanted a model; type backbone.model={TIMM_EXAMPLE}")
        if backbone.small_stem:
            raise ConfigError("backbone.small_stem=true: is for torchvision's ResNets; leave it out")
        encoder, width = build_timm_encoder(
            backbone.model, drop_path=backbone.drop_path, zero_init_residual=backbone.zero_init_residual, seed=seed
        )
    else:
        if backbone.model is not None or backbone.drop_path:
            raise ConfigError("backbone.model and backbone.drop_path are timm's; type backbone=timm")
        encoder, width = build_backbone(
            backbone.name, small_stem=backbone.small_stem, zero_init_residual=backbone.zero_init_residual, seed=seed
        )
    if backbone.one_channel:
        use_one_channel(encoder, backbone.title)
    return encoder, width


def list_backbones() -> list[str]:
    """List every ResNet, ResNeXt and wide ResNet of torchvision."""
    return [name for name in models.list_models(module=models) if name.startswith(("resnet", "resnext", "wide_resnet"))]


def build_backbone(name: str, *, small_stem: bool, zero_init_residual: bool, seed: int) -> Encoder:
    """Build a ResNet of torchvision, float32 [B, 3, S, S] -> [B, D], randomly initialised from `seed` as there, and D.

    Its keys are torchvision's own, without those of `fc`. `small_stem`: a 3 x 3 first convolution of stride 1 and no
    max-pooling, for small images (SimCLR, 2020, appendix B.9). `zero_init_residual`: each residual branch starts at 0
    (Goyal et al., 2017, arXiv 1706.02677, section 5.1). The global generators are left alone. Raises `ConfigError` for
    an unknown name.
    """
    if name not in list_backbones():
        hint = did_you_mean(name, list_backbones(), "backbone={}")
        hint += f"; a model of timm is typed backbone=timm backbone.model={name}"
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
    """Initialise the encoder with its classification layer, to be copied. `device`, `dtype`: PyTorch's own defaults."""
    with seed_torch(seed, "encoder"):
        encoder: models.ResNet = models.get_model(name, weights=None, zero_init_residual=zero_init_residual)
        if small_stem:
            encoder.conv1 = nn.Conv2d(3, encoder.conv1.out_channels, kernel_size=3, stride=1, padding=1, bias=False)
            nn.init.kaiming_normal_(encoder.conv1.weight, mode="fan_out", nonlinearity="relu")
            encoder.maxpool = nn.Identity()
    return encoder.to(memory_format=torch.channels_last)


def use_one_channel(encoder: nn.Module, name: str) -> None:
    """Give the encoder's first convolution one input channel, the sum of its three, and the first channel of its
    images: of grey images, whose channels are the same, the outputs stay what they were.

    Raises `ConfigError` where the first layer of three inputs is no convolution.
    """
    first = next((each for each in encoder.named_modules() if isinstance(each[1], nn.Conv2d)), None)
    if first is None or first[1].in_channels != 3:
        raise ConfigError(
            f"backbone.one_channel=true: {name} begins with no convolution of three channels; leave it out"
        )
    layer = first[1]
    layer.weight = nn.Parameter(layer.weight.detach().sum(dim=1, keepdim=True))
    layer.in_channels = 1
    encoder.register_forward_pre_hook(take_first_channel)


def take_first_channel(_encoder: nn.Module, inputs: tuple[Tensor, ...]) -> Tensor:
    return inputs[0][:, :1]


def build_starting_encoder(config: ExperimentConfig) -> Encoder:
    """Build the encoder as `init_encoder`, with what the method brings: the weights of a baseline.

    Raises `ConfigError`, `DataError` or `CheckpointError`; also for an encoder that does not take `image_size`.
    """
    encoder, width = init_encoder(config)
    baseline = build_fixed_encoder(config.method)
    weights = None if baseline is None else baseline.weights(config.backbone.name, Path(config.data_dir) / "weights")
    if weights is not None:
        load_encoder_weights(encoder, weights, f"method={config.method['name']}", config.weights_part)
        own = None if baseline is None else baseline.image_size()
        check_encoder_image_size(encoder, config.image_size, str(config.method["name"]), own)
    return encoder, width


def check_encoder_image_size(
    encoder: nn.Module, image_size: int, name: str, own: int | None, *, share: float = 1.0
) -> None:
    """Raise `ConfigError`, before any image is read, for a size that the encoder does not take: some transformers take
    one size only, others multiples of their patches. `own`: the size that the weights were trained with, if known.
    `share`: of the image size, of smaller views."""
    size = max(2, round(share * image_size))
    refusal = explain_refused_size(encoder, size)
    if refusal is None:
        return
    near = (each for step in range(1, FARTHEST_SIZE) for each in (size - step, size + step) if each > 1)
    nearest = next((each for each in near if explain_refused_size(encoder, each) is None), None)
    if share != 1:
        wanted = "other views" if nearest is None else f"method.small_size={nearest / image_size:.4g}"
        raise ConfigError(
            f"image_size={image_size}: this encoder (method={name}) does not take the method's views of {size} px "
            f"({refusal}); type {wanted}, or another image_size"
        )
    if own is not None:
        hint = f"image_size={own}, its own"
    elif nearest is not None:
        hint = f"image_size={nearest}, the nearest that it takes"
    else:
        hint = "image_size=224, or the size it was trained with"
    raise ConfigError(f"image_size={size}: this encoder (method={name}) does not take it ({refusal}); type {hint}")


def explain_refused_size(encoder: nn.Module, size: int) -> str | None:
    """Return the first line of the error for images of `size` px that an encoder does not take, else None."""
    try:
        with torch.no_grad():
            encoder.eval()(torch.zeros(1, 3, size, size))
    except (AssertionError, RuntimeError) as error:
        return str(error).splitlines()[0]
    return None


def get_normalisation(config: ExperimentConfig) -> tuple[list[float], list[float]]:
    """Get mean and standard deviation of the channels: those a baseline's weights were trained with, else the images',
    of which a grey image takes the first, as its views do."""
    baseline = build_fixed_encoder(config.method)
    own = None if baseline is None else baseline.normalisation()
    if own is not None:
        return own
    mean, std = list(config.images.mean), list(config.images.std)
    return (mean, std) if config.images.colour else ([mean[0]] * 3, [std[0]] * 3)


def list_random_baselines(encoder: nn.Module) -> list[str]:
    """List the random encoders that stand beside `encoder` in every table, which has its architecture; the calibrated
    one only beside BatchNorm, which most transformers and ConvNeXt do not have."""
    calibrates = any(isinstance(module, _BatchNorm) for module in encoder.modules())
    return [name for name in RANDOM_BASELINES if name != "random_calibrated" or calibrates]


def list_stages(encoder: nn.Module) -> list[tuple[Sequence[str], Sequence[str]]]:
    """List the names of modules and of parameters of each stage: the stem, then four of a ResNet, or what timm groups
    (the blocks of a transformer). Raises `ConfigError` for a model that timm does not group."""
    if isinstance(encoder, models.ResNet):
        names = [name for name, _ in encoder.named_parameters()]
        return [(own, [each for each in names if each.split(".")[0] in own]) for own in RESNET_STAGES]
    from timm.models import group_modules, group_parameters

    try:
        matcher = encoder.group_matcher(coarse=True)  # type: ignore[operator]  # a method of timm's models
    except (AttributeError, AssertionError) as error:
        raise ConfigError(
            f"frozen_stages: timm has no stages of this encoder ({type(encoder).__name__}); type frozen_stages=0"
        ) from error
    modules, parameters = group_modules(encoder, matcher), group_parameters(encoder, matcher)
    return [(modules.get(key, []), parameters.get(key, [])) for key in sorted({*modules, *parameters})]


def freeze_stages(encoder: nn.Module, count: int) -> None:
    """Leave the first `count` stages as they are: no gradients, evaluation mode in `set_training_mode`.

    Raises `ConfigError` for a count that leaves nothing to train.
    """
    stages = list_stages(encoder)
    if not 0 < count < len(stages):
        raise ConfigError(
            f"frozen_stages={count}: this encoder has {len(stages)} stages, the stem first, wanted from 0 to "
            f"{len(stages) - 1}"
        )
    for modules, parameters in stages[:count]:
        for name in modules:
            setattr(encoder.get_submodule(name), FROZEN_MARK, True)
        for name in parameters:
            encoder.get_parameter(name).requires_grad_(False)


def set_training_mode(model: nn.Module) -> None:
    """Put `model` into training mode, its frozen stages into evaluation mode."""
    model.train()
    for module in model.modules():
        if getattr(module, FROZEN_MARK, False):
            module.eval()
