"""Weights as torchvision and timm read them: safetensors, under their own key names, checked by loading them there.

The classification layer is left out: torchvision's `fc` is an `Identity` before they are loaded, timm's model is made
with `num_classes=0`. Nothing else is missing and nothing is left over, so both load strictly.
"""

from pathlib import Path

from torch import nn
from torchvision import models

from lowres_ssl.checkpoint import save_tensors
from lowres_ssl.errors import ConfigError
from lowres_ssl.exports import check_same, model_name, refuse_small_stem
from lowres_ssl.methods.pretrained import created, timm
from lowres_ssl.portable.encoder import PortableEncoder

FILE = "model.safetensors"


def export_torchvision(encoder: PortableEncoder, folder: Path) -> list[Path]:
    """Raises `ConfigError` for an architecture that torchvision does not have."""
    library, name = model_name(encoder)
    if library != "torchvision":
        raise ConfigError(f"format=torchvision: {encoder.run.name} is timm's {name}; type format=timm")
    refuse_small_stem(encoder, "torchvision")
    model = models.get_model(name, weights=None)
    model.fc = nn.Identity()
    return [keep_weights(encoder, model, folder, "torchvision")]


def export_timm(encoder: PortableEncoder, folder: Path) -> list[Path]:
    """Raises `ConfigError` for an architecture that timm does not have."""
    _, name = model_name(encoder)
    refuse_small_stem(encoder, "timm")
    library = timm("format=timm")
    if not library.is_model(name.split(".")[0]) and not name.startswith("hf-hub:"):
        raise ConfigError(f"format=timm: timm {library.__version__} has no {name}; type format=torchvision")
    return [keep_weights(encoder, created(name), folder, "timm")]


def keep_weights(encoder: PortableEncoder, model: nn.Module, folder: Path, library: str) -> Path:
    """Write the encoder's weights, after the library's own `model` has loaded them and gives the same features."""
    weights = encoder.module.state_dict()
    model.load_state_dict(weights, strict=True)
    check_same(encoder, model.eval(), f"{library}'s {model_name(encoder)[1]}")
    save_tensors(folder / FILE, weights, metadata(encoder))
    return folder / FILE


def metadata(encoder: PortableEncoder) -> dict[str, str]:
    """What the file says of itself."""
    return {"run": encoder.run.name, "encoder": encoder.file.name, "architecture": model_name(encoder)[1]}
