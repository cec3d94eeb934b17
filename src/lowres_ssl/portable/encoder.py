"""A run's encoder with all that is needed to use it elsewhere: of a run's folder, without the run's images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from lowres_ssl import checkpoint
from lowres_ssl.config import BackboneConfig, Experiment
from lowres_ssl.data.decode import DECODER_VERSION
from lowres_ssl.device import Compute, resolve
from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.features import features_of_batch
from lowres_ssl.methods import find_method
from lowres_ssl.planning.encoders import new_encoder, normalisation
from lowres_ssl.runs import Run, Which
from lowres_ssl.schemas.experiment import ImagesConfig


@dataclass(frozen=True)
class Preprocessing:
    """How an image file becomes what the encoder takes, as for the run's own features.

    Decoded (grey or in three channels), squeezed to a square of `stored_size` pixels by an antialiased triangle filter,
    resampled to `image_size` likewise, divided by 255, then less `mean` and divided by `std`, three numbers each. Grey
    values of more than 8 bits are shown from the first of `grey_range`, black, to the second, if there is one.
    """

    colour: bool
    stored_size: int
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    grey_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class PortableEncoder:
    """A frozen encoder that stands alone.

    `module`: float32 [B, 3, S, S] -> [B, width], in evaluation mode, on the device of `compute`. `file` is where its
    weights are, `description` what `run.json` says of its run.
    """

    run: Run
    which: Which
    file: Path
    module: nn.Module
    width: int
    preprocessing: Preprocessing
    compute: Compute
    description: Mapping[str, Any]

    def features(self, images: Tensor) -> Tensor:
        """Decoded images, uint8 [B, C, R, R] with R the stored size -> float32 [B, width] on the CPU.

        Raises `TrainingError` for features that are NaN or infinite.
        """
        how = self.preprocessing
        return features_of_batch(
            self.module, images.to(self.compute.device), how.image_size, how.mean, how.std, self.compute
        )


def open_encoder(run: Run, which: Which = "selected", device: str = "auto", precision: str = "auto") -> PortableEncoder:
    """The encoder of a finished run, `which` of its two. `precision=auto` is that of the run, where the device can.

    Raises `CheckpointError` for a run that is not finished, a missing or damaged encoder, or one that was trained on
    images decoded in another way; `ConfigError` for a run without an encoder, or a device that is not there.
    """
    description = run.description()
    if not description["finished"]:
        raise CheckpointError(
            f"{run.folder}: this run is not finished; type its pretrain command again to go on with it"
        )
    config, identity = experiment_of(description), description["identity"]
    if config.method["name"] != "weights" and getattr(find_method(config.method["name"]), "adds_size", False):
        raise ConfigError(f"{run.name}: method={config.method['name']} has no encoder; name another run=RUN")
    if identity["decoder"] != DECODER_VERSION:
        raise CheckpointError(
            f"{run.folder}: its images were decoded by version {identity['decoder']} of the decoder, this is "
            f"{DECODER_VERSION}; type its pretrain command again"
        )
    compute = resolve(device, precision)
    if precision == "auto" and (description["precision"], compute.device.type) != ("fp16", "cpu"):
        compute = resolve(device, description["precision"])
    file = run.checked_encoder(which)
    module, width = new_encoder(config)
    checkpoint.load_encoder(module, checkpoint.load_tensors(file)[0], str(file))
    module.to(compute.device).eval().requires_grad_(False)
    mean, std = normalisation(config)
    _, channels, stored_size, _ = identity["store"]
    shown = description["config"]["dataset"].get("grey_range")  # younger than some runs
    preprocessing = Preprocessing(
        *(channels == 3, stored_size, config.image_size, tuple(mean), tuple(std)),
        grey_range=None if shown is None else (shown[0], shown[1]),
    )
    return PortableEncoder(run, which, file, module, width, preprocessing, compute, description)


def experiment_of(description: Mapping[str, Any]) -> Experiment:
    """What an encoder is built from, of the config that `run.json` keeps."""
    config = description["config"]
    return Experiment(
        method=config["method"],
        images=ImagesConfig(**config["images"]),
        backbone=BackboneConfig(**config["backbone"]),
        image_size=config["image_size"],
        seed=config["seed"],
    )
