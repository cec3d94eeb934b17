"""Exports: a run's encoder for other programs. One file a kind of format; this one holds what they share.

What is written is checked first: what the other program makes of it against what the encoder makes of the same images.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.files.atomic import write_json
from lowres_ssl.portable.encoder import PortableEncoder

TOLERANCE = 1e-4  # of a feature, absolute, and of its size where that is above 1
BATCHES = (1, 3)  # sizes to try, neither the one that a graph is traced with
TRACED = 2


def model_name(encoder: PortableEncoder) -> tuple[str, str]:
    """The library and the name of the architecture there: ("torchvision", "resnet50") or ("timm", "vit_small_...")."""
    config = encoder.description["config"]
    if config["method"]["name"] == "pretrained":
        return "timm", str(config["method"]["model"])
    return "torchvision", str(config["backbone"]["name"])


def has_small_stem(encoder: PortableEncoder) -> bool:
    return model_name(encoder)[0] == "torchvision" and bool(encoder.description["config"]["backbone"]["small_stem"])


def refuse_small_stem(encoder: PortableEncoder, library: str) -> None:
    """Raises `ConfigError` for an architecture that the library does not have."""
    if has_small_stem(encoder):
        raise ConfigError(
            f"format={library}: {encoder.run.name} has the small stem (3 x 3 convolution, no max-pooling), which "
            f"{library}'s {model_name(encoder)[1]} has not; type format=hub, onnx or torchscript"
        )


def images_for(encoder: PortableEncoder, count: int) -> Tensor:
    """Made-up input, float32 [count, 3, S, S], the same each time."""
    size = encoder.preprocessing.image_size
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(count))


@torch.no_grad()
def check_same(encoder: PortableEncoder, other: Any, what: str) -> float:
    """The largest difference between the features that the encoder and `other`, a function of images, give.

    Raises `CheckpointError` above `TOLERANCE`.
    """
    found = []
    for count in BATCHES:
        images = images_for(encoder, count)
        wanted, got = encoder.module(images), other(images)
        if got.shape != wanted.shape:
            raise CheckpointError(f"{what}: gives {list(got.shape)}, wanted {list(wanted.shape)}; nothing was written")
        found.append(((got - wanted).abs() / wanted.abs().clamp(min=1)).max())
    worst = float(torch.stack(found).max())  # NaN if any is
    if not worst <= TOLERANCE:
        raise CheckpointError(
            f"{what}: its features are up to {worst:.2g} off, wanted {TOLERANCE:g} at most; nothing was written"
        )
    return worst


def write_preprocessing(encoder: PortableEncoder, folder: Path) -> Path:
    """How an image file becomes the input, for programs in any language."""
    path, how = folder / "preprocessing.json", encoder.preprocessing
    deep = "0 to 65535" if how.grey_range is None else " to ".join(f"{each:g}" for each in how.grey_range)
    window = "the file's own window, or all of its bits where it has none" if how.grey_range is None else deep
    steps = [
        f"turn upright by the EXIF tag; put transparent parts on white; scale 16 bits ({deep}) to 8",
        f"grey DICOM files: rescale by slope and intercept or their table, show {window}; turn MONOCHROME1 round",
        "convert to three channels" if how.colour else "convert to grey (Pillow's L)",
        f"squeeze to {how.stored_size} x {how.stored_size} pixels: antialiased triangle filter (Pillow's BILINEAR)",
        f"resample to {how.image_size} x {how.image_size} pixels by the same filter, divide by 255",
        "subtract mean, divide by std" if how.colour else "repeat as three channels, subtract mean, divide by std",
    ]
    shape = ["batch", 3, how.image_size, how.image_size]
    write_json(path, asdict(how) | {"input": {"type": "float32", "shape": shape}, "steps": steps})
    return path


def bare(module: nn.Module) -> nn.Module:
    """In the layout that every program reads."""
    return module.to(memory_format=torch.contiguous_format)
