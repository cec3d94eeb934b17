"""`lowres-ssl embed`: the features of every image in a folder, by a finished run's encoder."""

from pathlib import Path
from typing import cast

from omegaconf import DictConfig

from lowres_ssl.config.check import read_config
from lowres_ssl.config.command_schemas import EmbedConfig
from lowres_ssl.console import format_path_size, format_table, pluralise
from lowres_ssl.encoders.feature_kinds import FeatureKind
from lowres_ssl.errors import ConfigError
from lowres_ssl.inference.api import embed
from lowres_ssl.inference.load import load_portable_encoder
from lowres_ssl.inference.output_files import WrittenFiles
from lowres_ssl.runs.run import EncoderChoice, find_run


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
        images,
        folder=folder,
        formats=config.formats,
        batch_size=config.batch_size,
        skip_unreadable=config.skip_unreadable,
        progress=True,
    )
    print_written_files(written, f"{encoder.width} features of each of {pluralise(written.images, 'image')}")


def check_run_and_images(run: str | None, images: str | None) -> tuple[str, str]:
    """Raises `ConfigError` if either was not typed."""
    if not run:
        raise ConfigError("run: got none, wanted one: type run=FOLDER (see lowres-ssl runs)")
    if not images:
        raise ConfigError("images: got none, wanted a folder with images: type images=FOLDER")
    return run, images


def get_output_folder(folder: str | None, below: Path, images: str) -> Path:
    """Where the files go."""
    return Path(folder) if folder is not None else below / Path(images).resolve().name


def print_written_files(written: WrittenFiles, what: str) -> None:
    """What was written, and what was left out, on standard output."""
    print(what)
    print(format_table(None, [[str(path), format_path_size(path)] for path in (*written.files, written.record)]))
    if written.unreadable:
        print(f"{pluralise(len(written.unreadable), 'image')} left out, named in {written.record}", flush=True)
