"""Load a run's encoder with its preprocessing from the run's folder, without the run's images; embed files with it."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from lowres_ssl.console import ImageProgress, log_info
from lowres_ssl.data.decode import DECODER_VERSION, ImageFiles, iter_decoded_batches
from lowres_ssl.device import DevicePrecision, choose_stored_precision, resolve_device
from lowres_ssl.encoders import weights_file
from lowres_ssl.encoders.base import find_fixed_encoder
from lowres_ssl.encoders.from_config import get_normalisation, init_encoder
from lowres_ssl.errors import CheckpointError, ConfigError, DataError
from lowres_ssl.evaluate.features import extract_batch
from lowres_ssl.runs.records import RunRecord
from lowres_ssl.runs.run import EncoderChoice, Run

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
    weights_file.load_encoder_weights(module, weights_file.load_tensors(file)[0], str(file))
    module.to(compute.device).eval().requires_grad_(False)
    return PortableEncoder(run, which, file, module, width, preprocessing, compute, record)


@dataclass(frozen=True)
class EmbeddedBatch:
    """Hold `ids` and features, float32 [B, D] on the CPU, of a batch's readable images; `unreadable`: the others."""

    ids: list[str]
    features: Tensor
    unreadable: UnreadableFiles


def iter_embedded_batches(
    encoder: PortableEncoder, files: ImageFiles, *, batch_size: int, skip_unreadable: bool, progress: bool
) -> Generator[EmbeddedBatch, None, None]:
    """Compute the features of the files in order. An unreadable image is named on standard error and left out.

    Raises `DataError` for it unless `skip_unreadable`, and at the end if there was none that could be read.
    """
    how, readable, name = encoder.preprocessing, 0, f"{encoder.run.name}: features"
    batches = iter_decoded_batches(
        files, colour=how.colour, size=how.stored_size, batch_size=batch_size, grey_range=how.grey_range
    )
    first = f"{name} of {len(files):,} images"
    with closing(batches), ImageProgress(name, len(files), first=first, wanted=progress) as shown:
        for batch in batches:
            for path, why in batch.unreadable:
                if not skip_unreadable:
                    raise DataError(f"{path}: not a readable image: {why}; skip_unreadable=true leaves it out")
                log_info(f"{path}: not a readable image: {why}; left out")
            readable += len(batch.ids)
            empty = torch.empty(0, encoder.width)
            features = encoder.features(torch.from_numpy(batch.images)) if batch.ids else empty
            yield EmbeddedBatch(batch.ids, features, batch.unreadable)
            shown.add(len(batch.ids) + len(batch.unreadable))
    if not readable:
        raise DataError(f"none of the images can be read ({len(files):,}), for one {files[0][0]}; type images=FOLDER")
