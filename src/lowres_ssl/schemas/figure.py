"""The schema of `lowres-ssl figures`. No I/O, no checks. What a file of `conf/figure/` holds, its constructor says."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from lowres_ssl.schemas.table import FiltersConfig


@dataclass
class FiguresConfig:
    output_dir: str = MISSING
    store_dir: str = MISSING
    folder: str = MISSING
    figure: dict[str, Any] = MISSING
    run: str | None = MISSING
    filters: FiltersConfig = MISSING
