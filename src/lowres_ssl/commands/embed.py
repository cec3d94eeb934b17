"""`lowres-ssl embed`: the features of every image in a folder, by a finished run's encoder."""

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import cast

from omegaconf import DictConfig

from lowres_ssl.api import Written, embed
from lowres_ssl.config import read_config, require
from lowres_ssl.errors import ConfigError
from lowres_ssl.portable.encoder import open_encoder
from lowres_ssl.runs import Which, find_run
from lowres_ssl.schemas.export import EmbedConfig
from lowres_ssl.terminal import columns, count, size_of


def main(cfg: DictConfig) -> None:
    config = read_config(cfg, EmbedConfig)
    run, images = named(config.run, config.input.images)
    check(config.formats, ("parquet", "npz"), config.batch_size)
    stored = find_run(Path(config.output_dir), run)
    encoder = open_encoder(stored, cast(Which, config.which.name), config.device.name, config.precision.name)
    folder = destination(config.folder, Path(config.output_dir) / "embed" / encoder.run.name, images, "embed")
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


def check(formats: Sequence[str], known: Collection[str], batch_size: int) -> None:
    """Raises `ConfigError` for a value that is out of its range."""
    require(len(formats) > 0, "formats", "[]", f"some of {', '.join(known)}")
    for each in formats:
        require(each in known, "formats", each, f"some of {', '.join(known)}")
    require(len(set(formats)) == len(formats), "formats", list(formats), "each once")
    require(batch_size >= 1, "batch_size", batch_size, "at least 1 image")


def destination(folder: str | None, below: Path, images: str, name: str) -> Path:
    """Where the files go. Raises `ConfigError` where what is there was made of other images: it would be lost."""
    place = Path(folder) if folder is not None else below / Path(images).resolve().name
    try:
        before = Path(json.loads((place / f"{name}.json").read_text(encoding="utf-8"))["folder"])
    except (OSError, ValueError, KeyError, TypeError):
        return place
    if before.resolve() != Path(images).resolve():
        raise ConfigError(
            f"{place}: holds what was made of {before}, got images={images}; type folder=FOLDER for another place"
        )
    return place


def show(written: Written, what: str) -> None:
    """What was written, and what was left out, on standard output."""
    print(what)
    print(columns(None, [[str(path), size_of(path)] for path in (*written.files, written.record)]))
    if written.unreadable:
        print(f"{count(len(written.unreadable), 'image')} left out, named in {written.record}", flush=True)
