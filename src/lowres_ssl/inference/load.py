"""A run's encoder with all that is needed to use it elsewhere: of a run's folder, without the run's images."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from torch import Tensor, nn

from lowres_ssl.config.check import BackboneConfig, ExperimentConfig
from lowres_ssl.config.experiment_schema import ImagesConfig
from lowres_ssl.data.decode import DECODER_VERSION
from lowres_ssl.device import DTYPES, DevicePrecision, resolve_device
from lowres_ssl.encoders import weights_file
from lowres_ssl.encoders.base import find_fixed_encoder
from lowres_ssl.encoders.from_config import get_normalisation, init_encoder
from lowres_ssl.errors import CheckpointError, ConfigError
from lowres_ssl.evaluate.features import extract_batch
from lowres_ssl.registry import matches_type
from lowres_ssl.runs.run import RETRAIN_HINT, EncoderChoice, Run

MAX_IMAGE_SIZE = 4096  # a side, as a config may have
Section = TypeVar("Section", BackboneConfig, ImagesConfig)


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
    which: EncoderChoice
    file: Path
    module: nn.Module = field(repr=False)
    width: int
    preprocessing: Preprocessing
    compute: DevicePrecision
    description: Mapping[str, Any] = field(repr=False)

    def features(self, images: Tensor) -> Tensor:
        """Decoded images, uint8 [B, C, R, R] with R the stored size -> float32 [B, width] on the CPU.

        Raises `TrainingError` for features that are NaN or infinite.
        """
        how = self.preprocessing
        return extract_batch(
            self.module, images.to(self.compute.device), how.image_size, how.mean, how.std, self.compute
        )


def load_portable_encoder(
    run: Run, which: EncoderChoice = "selected", device: str = "auto", precision: str = "auto"
) -> PortableEncoder:
    """The encoder of a finished run, `which` of its two. `precision=auto` is that of the run, where the device can.

    Raises `CheckpointError` for a run that is not finished, a missing or damaged encoder, one that was trained on
    images decoded in another way, or a `run.json` that says what no run of ours does; `ConfigError` for a run without
    an encoder, or a device that is not there.
    """
    description = run.read_finished_description()
    config, identity = read_experiment(run, description), description["identity"]
    fixed = find_fixed_encoder(config.method["name"])
    if fixed is not None and fixed.adds_size:
        raise ConfigError(f"{run.name}: method={config.method['name']} has no encoder; name another run=RUN")
    if identity["decoder"] != DECODER_VERSION:
        raise CheckpointError(
            f"{run.folder}: its images were decoded by version {identity['decoder']} of the decoder, this is "
            f"{DECODER_VERSION}; type its pretrain command again"
        )
    check_run_value(description["precision"] in DTYPES, run, "precision")
    preprocessing = read_preprocessing(run, description, config)
    compute = resolve_device(device, precision)
    if precision == "auto" and (description["precision"], compute.device.type) != ("fp16", "cpu"):
        compute = resolve_device(device, description["precision"])
    compute.set_up_process()
    file = run.get_checked_encoder(which)
    module, width = init_encoder(config)
    weights_file.load_encoder_weights(module, weights_file.load_tensors(file)[0], str(file))
    module.to(compute.device).eval().requires_grad_(False)
    return PortableEncoder(run, which, file, module, width, preprocessing, compute, description)


def read_experiment(run: Run, description: Mapping[str, Any]) -> ExperimentConfig:
    """What an encoder is built from, of the config that `run.json` keeps. Raises `CheckpointError` unless all of it is
    there, of the types that a config has."""
    config = description["config"]
    experiment = ExperimentConfig(
        method=config["method"],
        images=read_config_section(ImagesConfig, config["images"], run, "images"),
        backbone=read_config_section(BackboneConfig, config["backbone"], run, "backbone"),
        image_size=config["image_size"],
        seed=config["seed"],
    )
    check_run_value(
        isinstance(experiment.method, dict) and matches_type(experiment.method["name"], str), run, "config.method"
    )
    check_run_value(
        matches_type(experiment.image_size, int) and 0 < experiment.image_size <= MAX_IMAGE_SIZE,
        run,
        "config.image_size",
    )
    check_run_value(matches_type(experiment.seed, int) and 0 <= experiment.seed < 2**32, run, "config.seed")
    mean, std = experiment.images.mean, experiment.images.std
    check_run_value(len(mean) == len(std) == 3 and all(each > 0 for each in std), run, "config.images")
    return experiment


def read_config_section(schema: type[Section], values: Any, run: Run, name: str) -> Section:
    """A section of the config as its dataclass."""
    hints = get_type_hints(schema)
    check_run_value(isinstance(values, dict) and values.keys() <= hints.keys(), run, f"config.{name}")
    for key, hint in hints.items():
        check_run_value(matches_type(values[key], hint), run, f"config.{name}.{key}")
    return schema(**values)


def read_preprocessing(run: Run, description: Mapping[str, Any], config: ExperimentConfig) -> Preprocessing:
    """Raises `CheckpointError` for what no run of ours says."""
    store, dataset = description["identity"]["store"], description["config"]["dataset"]
    check_run_value(
        matches_type(store, list[int]) and len(store) == 4 and min(store) > 0 and store[1] in (1, 3),
        run,
        "identity.store",
    )
    shown = dataset.get("grey_range")  # younger than some runs
    good = shown is None or (matches_type(shown, list[float]) and len(shown) == 2)
    check_run_value(good, run, "config.dataset.grey_range")
    mean, std = get_normalisation(config)
    return Preprocessing(
        *(store[1] == 3, store[2], config.image_size, tuple(mean), tuple(std)),
        grey_range=None if shown is None else (shown[0], shown[1]),
    )


def check_run_value(fit: bool, run: Run, name: str) -> None:
    if not fit:
        raise CheckpointError(f"{run.folder / 'run.json'}: {name} is not what lowres-ssl writes there; {RETRAIN_HINT}")
