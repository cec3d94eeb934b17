"""Take torchvision's supervised ImageNet weights, frozen: no training on your images. The paper's ImgNet+TL."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torchvision import models

from lowres_ssl.encoders.base import FixedEncoder
from lowres_ssl.encoders.weights_file import load_weights
from lowres_ssl.errors import ConfigError, DataError, did_you_mean


class ImageNetEncoder(FixedEncoder):
    """Read weights of `backbone` by torchvision's name, such as IMAGENET1K_V1, fetched once; or those in a file.

    The images are normalised with `mean` and `std`, as the weights were trained, whatever the data set's own are.
    """

    depends_on_seed: ClassVar[bool] = False

    def __init__(self, weights: str, mean: list[float], std: list[float]) -> None:
        self.named = weights
        self.mean, self.std = mean, std
        if Path(weights).suffix or Path(weights).exists():
            self.file = Path(weights)

    def weights(self, backbone: str, cache: Path) -> Mapping[str, Tensor]:
        if self.file is not None:
            return load_weights(self.file)
        return load_weights(fetch_weights(find_imagenet_url(backbone, "method.weights", self.named), cache))

    def normalisation(self) -> tuple[list[float], list[float]]:
        return self.mean, self.std


def find_imagenet_url(backbone: str, key: str, named: str = "IMAGENET1K_V1") -> str:
    """Find the address of torchvision's weights of `backbone`. `key`: what names a file instead, for the messages.

    Raises `ConfigError` for a backbone or a name that torchvision does not have.
    """
    if backbone not in models.list_models():
        raise ConfigError(
            f"backbone={backbone}: torchvision has no weights of it, wanted one of its ResNets; "
            "for a model of timm type method=pretrained method.model=NAME"
        )
    known = models.get_model_weights(backbone)
    if named not in known.__members__:
        names = list(known.__members__)
        hint = did_you_mean(named, names, f"{key}={{}}")
        raise ConfigError(f"{key}={named}: {backbone} has {', '.join(names) or 'none'}; or name a file{hint}")
    return str(known[named].url)


def get_cached_path(url: str, cache: Path) -> Path:
    """Name the place where `fetch_weights` puts the file of `url`."""
    return cache / url.rsplit("/", 1)[1]


def fetch_weights(url: str, cache: Path, key: str = "method.weights") -> Path:
    """Return the file of `url` in `cache`, downloaded if it is not there, its bytes those that its name claims
    (torchvision's names end in the first digits of their SHA-256). Raises `DataError`."""
    path = get_cached_path(url, cache)
    found = re.search(r"-([0-9a-f]{8,})\.", path.name)
    wanted = found.group(1) if found else ""
    if not path.exists():
        try:
            cache.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), hash_prefix=wanted, progress=False)
        except (OSError, RuntimeError) as error:  # no network; other bytes than promised
            raise DataError(
                f"{url}: cannot be fetched ({error}); fetch it by other means and put it at {path}, or type {key}=FILE"
            ) from error
    with path.open("rb") as file:
        got = hashlib.file_digest(file, "sha256").hexdigest()
    if not got.startswith(wanted):
        raise DataError(f"{path}: damaged, got SHA-256 {got[:8]}, wanted {wanted}; remove it to have it fetched again")
    return path
