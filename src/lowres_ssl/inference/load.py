"""Load a run's encoder and its fitted probes from the run's folder, without the run's images; embed files with it."""

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lowres_ssl.console import CountProgress, log_info, log_warning, pluralise
from lowres_ssl.data.decode import DECODER_VERSION, ImageFiles, count_used_bits, iter_decoded_batches
from lowres_ssl.device import DevicePrecision, choose_stored_precision, resolve_device
from lowres_ssl.encoders.base import find_fixed_encoder
from lowres_ssl.encoders.fit_weights import load_encoder_weights
from lowres_ssl.encoders.from_config import get_normalisation, init_encoder
from lowres_ssl.encoders.timm_models import FeatureKind, select_features
from lowres_ssl.encoders.weights_file import load_tensors
from lowres_ssl.errors import CheckpointError, ConfigError, DataError
from lowres_ssl.evaluate.evaluate import SupervisedHead
from lowres_ssl.evaluate.features import EvaluationView, digest_features, extract_batch
from lowres_ssl.probes.base import FittedProbe, build_probe
from lowres_ssl.runs.records import ResultRecord, RunRecord
from lowres_ssl.runs.result_io import PROBE_FILE, get_fitted_file, read_predictions
from lowres_ssl.runs.run import CLASSIFIER_PROBE, EncoderChoice, Run
from lowres_ssl.stats.calibration import ProbeCalibration, calibrate

UnreadableFiles = list[tuple[Path, str]]  # the path of each image that cannot be read, and why


@dataclass(frozen=True)
class Preprocessing:
    """Describe how an image file becomes the encoder's input, as for the run's own features.

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
    """Hold a frozen encoder that stands alone.

    `module`: float32 [B, 3, S, S] -> [B, width], in evaluation mode, on the device of `compute`. `file` is where its
    weights are, `record` its `run.json`.
    """

    run: Run
    which: EncoderChoice
    file: Path
    module: nn.Module = field(repr=False)
    width: int
    preprocessing: Preprocessing
    compute: DevicePrecision
    record: RunRecord = field(repr=False)
    patches: int | None = None  # vectors of an image, where its features are not one vector

    @property
    def library(self) -> str:
        """Return the library that has the architecture: "torchvision" or "timm"."""
        config = self.record.config
        return "timm" if config.method["name"] == "pretrained" or config.backbone.model is not None else "torchvision"

    @property
    def architecture(self) -> str:
        """Return the architecture's name in its library."""
        config = self.record.config
        return str(config.method["model"]) if config.method["name"] == "pretrained" else config.backbone.title

    @property
    def has_small_stem(self) -> bool:
        return self.library == "torchvision" and self.record.config.backbone.small_stem

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of an image's features: (width,), or (patches, width)."""
        return (self.width,) if self.patches is None else (self.patches, self.width)

    def take_features(self, kind: FeatureKind) -> "PortableEncoder":
        """Return the encoder with features of this `kind` in place of the pooled ones, which the probes were fitted to.

        Raises `ConfigError` for an encoder that has none of that kind.
        """
        if kind == "pooled":
            return self
        module, (*patches, width) = select_features(self.module, kind, self.preprocessing.image_size)
        return replace(self, module=module, width=width, patches=patches[0] if patches else None)

    def at_size(self, image_size: int | None) -> "PortableEncoder":
        """Return the encoder for images of this many pixels a side; None: of the training's."""
        if image_size is None:
            return self
        return replace(self, preprocessing=replace(self.preprocessing, image_size=image_size))

    def features(self, images: Tensor) -> Tensor:
        """Compute features, float32 [B, *shape] on the CPU, of decoded images, uint8 [B, C, R, R], R the stored size.

        Raises `TrainingError` for features that are NaN or infinite.
        """
        view = EvaluationView(self.preprocessing.image_size, self.preprocessing.mean, self.preprocessing.std)
        return extract_batch(self.module, images.to(self.compute.device), view, self.compute)


def load_portable_encoder(
    run: Run, which: EncoderChoice = "selected", device: str = "auto", precision: str = "auto"
) -> PortableEncoder:
    """Load the encoder of a finished run, `which` of its two. `precision=auto`: the run's, where the device can.

    Raises `CheckpointError` for a run that is not finished, a missing or damaged encoder, or one that was trained on
    images decoded in another way; `ConfigError` for a run without an encoder, or a device that is not there.
    """
    record = run.read_finished()
    config, identity = record.config, record.identity
    fixed = find_fixed_encoder(config.method["name"])
    if fixed is not None and fixed.adds_size:
        raise ConfigError(f"{run.name}: method={config.method['name']} has no encoder; name another run=RUN")
    if identity.decoder != DECODER_VERSION:
        raise CheckpointError(
            f"{run.folder}: its images were decoded by version {identity.decoder} of the decoder, this is "
            f"{DECODER_VERSION}; type its pretrain command again"
        )
    _, channels, stored_size, _ = identity.store
    mean, std = get_normalisation(config)
    shown = config.dataset.grey_range
    grey_range = None if shown is None else (shown[0], shown[1])
    preprocessing = Preprocessing(channels == 3, stored_size, config.image_size, tuple(mean), tuple(std), grey_range)
    if precision == "auto":
        precision = choose_stored_precision(device, identity.precision)
    compute = resolve_device(device, precision)
    compute.set_up_process()
    file = run.get_checked_encoder(which)
    module, width = init_encoder(config)
    load_encoder_weights(module, load_tensors(file)[0], str(file))
    module.to(compute.device).eval().requires_grad_(False)
    return PortableEncoder(run, which, file, module, width, preprocessing, compute, record)


@dataclass(frozen=True)
class EmbeddedBatch:
    """Hold `ids` and features, float32 [B, D] or [B, P, D] on the CPU, of a batch; `unreadable`: the others."""

    ids: list[str]
    features: Tensor
    unreadable: UnreadableFiles


def iter_embedded_batches(
    encoder: PortableEncoder, files: ImageFiles, batch_size: int, skip_unreadable: bool, progress: bool
) -> Generator[EmbeddedBatch, None, None]:
    """Compute the features of the files in order. An unreadable image is named on standard error and left out.
    Warns at the end of grey files of 16 bits that use fewer, if the run has no `grey_range`.

    Raises `DataError` for it unless `skip_unreadable`, and at the end if there was none that could be read.
    """
    how, readable, name = encoder.preprocessing, 0, f"{encoder.run.name}: features"
    deep_images, deepest, max_grey = 0, "", -1
    batches = iter_decoded_batches(
        files, colour=how.colour, size=how.stored_size, batch_size=batch_size, grey_range=how.grey_range
    )
    first = f"{name} of {len(files):,} images"
    with closing(batches), CountProgress(name, len(files), first=first, wanted=progress) as shown:
        for batch in batches:
            for path, why in batch.unreadable:
                if not skip_unreadable:
                    raise DataError(f"{path}: not a readable image: {why}; skip_unreadable=true leaves it out")
                log_info(f"{path}: not a readable image: {why}; left out")
            readable += len(batch.ids)
            for id, highest in batch.max_greys.items():
                deep_images += 1
                if highest > max_grey:
                    deepest, max_grey = id, highest
            empty = torch.empty(0, *encoder.shape)
            features = encoder.features(torch.from_numpy(batch.images)) if batch.ids else empty
            yield EmbeddedBatch(batch.ids, features, batch.unreadable)
            shown.add(len(batch.ids) + len(batch.unreadable))
    if not readable:
        raise DataError(f"none of the images can be read ({len(files):,}), for one {files[0][1]}; type images=FOLDER")
    if deep_images and how.grey_range is None and (bits := count_used_bits(max_grey)) is not None:
        log_warning(
            f"{bits} of 16 bits are in use in {pluralise(deep_images, 'image')}, for one {deepest}, and the run has no "
            "grey_range: they are read as almost black, and what is computed of them means little unless the run's own "
            f"images are as dark; multiply their values by {2 ** (16 - bits)}, or take a run with "
            f"dataset.grey_range=[0,{2**bits - 1}]"
        )


@dataclass(frozen=True)
class StoredProbe:
    """Hold a fitted probe with its calibration, and the result that it is of, by folder and content."""

    folder: Path
    result: ResultRecord
    fitted: FittedProbe
    calibration: ProbeCalibration

    @property
    def classes(self) -> list[str]:
        return list(self.result.classes)

    def __call__(self, features: Tensor) -> tuple[NDArray[np.int64], NDArray[np.floating[Any]]]:
        """Predict the class of each of the features, float32 [n, D], a place in `classes`, and calibrated probabilities
        [n, C]."""
        scores = self.fitted.scores(features)
        return scores.argmax(axis=1), self.calibration.apply(scores)


def choose_stored_result(run: Run, asked: str | None, precision: str) -> tuple[Path, ResultRecord]:
    """Choose the result that `asked` means, a probe's name or the name of a result's folder; None: the only one.

    Only results of all labels at this precision count. Raises `ConfigError` if there is none, or several.
    """
    stored = [(folder, result) for folder, result in run.results() if result.labels.is_full]
    found = [
        (folder, result)
        for folder, result in stored
        if result.precision == precision and asked in (None, result.probe, folder.name)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        names = [result.probe for _, result in found]
        if len(set(names)) < len(names):
            names = [f"{folder.name}{format_distinct_settings(result, found)}" for folder, result in found]
        raise ConfigError(
            f"{run.name}: several results would do; type the one that is meant: probe={' or '.join(names)}"
        )
    there = ", ".join(sorted(f"{folder.name} (precision={result.precision})" for folder, result in stored)) or "none"
    raise ConfigError(
        f"{run.name}: no stored result of {asked or 'any probe'} at precision={precision}; there is {there}; type one "
        f"of these with its precision, or lowres-ssl evaluate run={run.name} precision={precision} probe=[PROBE]"
    )


def format_distinct_settings(result: ResultRecord, found: Sequence[tuple[Path, ResultRecord]]) -> str:
    """ " (learning_rate=0.1)": the settings that other results of the same probe have otherwise."""
    others = [other.settings for _, other in found if other.probe == result.probe]
    mine = [
        f"{key}={value}" for key, value in result.settings.items() if any(other.get(key) != value for other in others)
    ]
    return f" ({', '.join(mine)})" if mine else ""


def load_stored_probe(run: Run, folder: Path, result: ResultRecord) -> StoredProbe:
    """Load the probe of a result. Raises `CheckpointError` if it was not stored, is not of the run's encoder, or the
    training features that it needs are gone."""
    fitted_again = "" if result.probe == CLASSIFIER_PROBE else f" probe=[{result.probe}]"
    repair = f"type lowres-ssl evaluate run={run.name}{fitted_again} force=true"
    if not (folder / PROBE_FILE).exists():
        raise CheckpointError(f"{folder}: its fitted probe is not there; {repair}")
    tensors, known = load_tensors(get_fitted_file(folder, result))
    if known["encoder"] != run.get_encoder_hash(run.folder / result.encoder):
        raise CheckpointError(f"{folder / PROBE_FILE}: not of the encoder that the run has now; {repair}")

    def train() -> Tensor:
        path = run.features(run.get_scored_encoder(result), result.precision, result.scored_size)
        features = load_tensors(path, ["train"])[0]["train"]
        if digest_features(features) != known["train"]:
            raise CheckpointError(
                f"{folder}: the run's training features are not those that it was fitted to; {repair}"
            )
        return features

    is_head = result.probe == CLASSIFIER_PROBE
    probe = SupervisedHead(run.classifier) if is_head else build_probe(result.probe, result.settings)
    fitted = probe.restore(tensors, train, len(result.classes))
    return StoredProbe(folder, result, fitted, calibrate(read_predictions(folder, result)))
