"""Build the encoder of a config: its architecture, the weights it starts with, the stages that stay as they are."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models import ResNet

from lowres_ssl.config.experiment_schema import RANDOM_BASELINES, WEIGHTS_METHOD, BackboneConfig, ExperimentConfig
from lowres_ssl.encoders.base import Encoder, build_fixed_encoder, find_fixed_encoder
from lowres_ssl.encoders.fit_weights import load_encoder_weights
from lowres_ssl.encoders.timm_models import build_timm_encoder
from lowres_ssl.encoders.torchvision import build_backbone
from lowres_ssl.errors import ConfigError

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
    """The encoder of `config` as it is initialised, and how many features it has."""

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
        encoder, width = build_timm_encoder(backbone.model, drop_path=backbone.drop_path, seed=seed)
    else:
        if backbone.model is not None or backbone.drop_path:
            raise ConfigError("backbone.model and backbone.drop_path are timm's; type backbone=timm")
        encoder, width = build_backbone(
            backbone.name, small_stem=backbone.small_stem, zero_init_residual=backbone.zero_init_residual, seed=seed
        )
    if backbone.one_channel:
        use_one_channel(encoder, backbone.title)
    return encoder, width


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
    """As `init_encoder`, with what the method brings: the weights of a baseline.

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
    """Some transformers take images of one size only, others of multiples of their patches; fail before any image is
    read. `own`: the size that the weights were trained with, if known. `share`: of the image size, of smaller views."""
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
    """Mean and standard deviation of the channels: those a baseline's weights were trained with, else the images', of
    which a grey image takes the first, as its views do."""
    baseline = build_fixed_encoder(config.method)
    own = None if baseline is None else baseline.normalisation()
    if own is not None:
        return own
    mean, std = list(config.images.mean), list(config.images.std)
    return (mean, std) if config.images.colour else ([mean[0]] * 3, [std[0]] * 3)


def has_batch_norm(encoder: nn.Module) -> bool:
    """Whether there is anything to calibrate: most transformers and ConvNeXt have no BatchNorm."""
    return any(isinstance(module, _BatchNorm) for module in encoder.modules())


def list_random_baselines(encoder: nn.Module) -> list[str]:
    """List the random encoders that stand beside `encoder` in every table, which has its architecture."""
    return [name for name in RANDOM_BASELINES if name != "random_calibrated" or has_batch_norm(encoder)]


def list_stages(encoder: nn.Module) -> list[tuple[Sequence[str], Sequence[str]]]:
    """List the names of modules and of parameters of each stage: the stem, then four of a ResNet, or what timm groups
    (the blocks of a transformer)."""
    if isinstance(encoder, ResNet):
        names = [name for name, _ in encoder.named_parameters()]
        return [(own, [each for each in names if each.split(".")[0] in own]) for own in RESNET_STAGES]
    from timm.models import group_modules, group_parameters

    matcher = encoder.group_matcher(coarse=True)  # type: ignore[operator]  # a method of timm's models
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
