"""The schema of `lowres-ssl figures`. No I/O, no checks. What a file of `conf/figure/` holds, its constructor says."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING


@dataclass
class FiltersConfig:
    """The fields of `selection.Filters`, but for the probe. They are typed without `filters.` (see `overrides.py`)."""

    dataset: str | None = MISSING
    recipe: str | None = MISSING
    backbone: str | None = MISSING
    image_size: int | None = MISSING
    epochs: int | None = MISSING
    split: str | None = MISSING
    split_seed: int | None = MISSING
    split_digest: str | None = MISSING
    precision: str | None = MISSING
    settings: str | None = MISSING


@dataclass
class FiguresConfig:
    output_dir: str = MISSING
    store_dir: str = MISSING
    figure: dict[str, Any] = MISSING
    run: str | None = MISSING
    filters: FiltersConfig = MISSING
