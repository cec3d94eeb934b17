"""`lowres-ssl embed`: the features of every image in a folder, by a finished run's encoder."""

from pathlib import Path
from typing import cast

from omegaconf import DictConfig

from lowres_ssl.api import embed
from lowres_ssl.config import read_config
from lowres_ssl.errors import ConfigError
from lowres_ssl.portable.destination import Written
from lowres_ssl.portable.encoder import open_encoder
from lowres_ssl.portable.request import EMBED_FORMATS, check_batch_size, check_formats
from lowres_ssl.runs import Which, find_run
from lowres_ssl.schemas.export import EmbedConfig
from lowres_ssl.terminal import columns, count, size_of


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, EmbedConfig)
    run, images = named(config.run, config.input.images)
    check_formats(config.formats, EMBED_FORMATS)
    check_batch_size(config.batch_size)
    stored = find_run(Path(config.output_dir), run)
    encoder = open_encoder(stored, cast(Which, config.which.name), config.device.name, config.precision.name)
    folder = place_of(config.folder, Path(config.output_dir) / "embed" / encoder.run.name, images)
    written = embed(
        encoder,
        images,
        folder=folder,
        formats=config.formats,
        batch_size=config.batch_size,
        skip_unreadable=config.skip_unreadable,
        progress=True,
    )
    show(written, f"{encoder.width} features of each of {count(written.images, 'image')}")


def named(run: str | None, images: str | None) -> tuple[str, str]:
    """Raises `ConfigError` if either was not typed."""
    if not run:
        raise ConfigError("run: got none, wanted one: type run=FOLDER (see lowres-ssl runs)")
    if not images:
        raise ConfigError("images: got none, wanted a folder with images: type images=FOLDER")
    return run, images


def place_of(folder: str | None, below: Path, images: str) -> Path:
    """Where the files go."""
    return Path(folder) if folder is not None else below / Path(images).resolve().name


def show(written: Written, what: str) -> None:
    """What was written, and what was left out, on standard output."""
    print(what)
    print(columns(None, [[str(path), size_of(path)] for path in (*written.files, written.record)]))
    if written.unreadable:
        print(f"{count(len(written.unreadable), 'image')} left out, named in {written.record}", flush=True)
