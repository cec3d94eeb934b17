"""The schema of `lowres-ssl init`. No I/O, no checks."""

from dataclasses import dataclass

from omegaconf import MISSING

from lowres_ssl.schemas.export import InputConfig


@dataclass
class InitInputConfig(InputConfig):
    """`images` is a kind of picture here, not a folder; typed without `input.` (see `command_line/overrides.py`)."""


@dataclass
class InitConfig:
    data_dir: str = MISSING
    output_dir: str = MISSING
    store_dir: str = MISSING
    folder: str | None = MISSING
    name: str | None = MISSING
    input: InitInputConfig = MISSING
    force: bool = MISSING
