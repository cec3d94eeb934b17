"""Run `lowres-ssl embed`: compute the features of images by a finished run's encoder."""

import re
from pathlib import Path
from typing import cast

from omegaconf import DictConfig

from lowres_ssl.config.check import read_config
from lowres_ssl.config.command_schemas import EmbedConfig
from lowres_ssl.console import format_path_size, format_table, pluralise
from lowres_ssl.encoders.timm_models import FeatureKind
from lowres_ssl.errors import ConfigError
from lowres_ssl.inference.api import embed
from lowres_ssl.inference.given_images import list_given_images
from lowres_ssl.inference.load import PortableEncoder, load_portable_encoder
from lowres_ssl.inference.output_files import WrittenFiles
from lowres_ssl.runs.run import MAX_LABEL_LENGTH, EncoderChoice, find_run


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, EmbedConfig)
    run, images = check_run_and_images(config.run, config.input.images)
    stored = find_run(Path(config.output_dir), run)
    encoder = load_portable_encoder(
        stored, cast(EncoderChoice, config.which.name), config.device.name, config.precision.name
    ).take_features(cast(FeatureKind, config.features.name))
    folder = get_output_folder(config.folder, Path(config.output_dir) / "embed" / encoder.run.name, images)
    written = embed(
        encoder,
        list_given_images(images, choose_exclude(config.input.exclude, encoder)),
        folder=folder,
        formats=config.formats,
        batch_size=config.batch_size,
        skip_unreadable=config.skip_unreadable,
        progress=True,
    )
    print_written_files(written, f"{encoder.width} features of each of {pluralise(written.images, 'image')}")


def check_run_and_images(run: str | None, images: str | None) -> tuple[str, list[str]]:
    """Return the run, and each folder or file of images. Raises `ConfigError` if either was not typed."""
    if not run:
        raise ConfigError("run: got none, wanted one: type run=FOLDER (see lowres-ssl runs)")
    if not images:
        raise ConfigError("images: got none, wanted a folder with images, or files: type images=FOLDER")
    # `images` is a path to the command line, so that a list of them comes as it was typed.
    is_list = images.startswith("[") and images.endswith("]") and not Path(images).exists()
    return run, [each.strip() for each in images[1:-1].split(",")] if is_list else [images]


def choose_exclude(typed: list[str] | None, encoder: PortableEncoder) -> list[str]:
    """Choose the names to leave out of folders: those that were typed, else those of the run's data set."""
    return encoder.record.config.dataset.exclude if typed is None else typed


def get_output_folder(folder: str | None, below: Path, images: list[str]) -> Path:
    """Choose where the files go."""
    named = re.sub(r"[*?\[\]]", "_", "+".join(Path(each).resolve().name for each in images))
    return Path(folder) if folder is not None else below / named[:MAX_LABEL_LENGTH]


def print_written_files(written: WrittenFiles, what: str) -> None:
    """Print what was written and what was left out."""
    print(what)
    print(format_table(None, [[str(path), format_path_size(path)] for path in (*written.files, written.record)]))
    if written.unreadable:
        print(f"{pluralise(len(written.unreadable), 'image')} left out, named in {written.record}", flush=True)
