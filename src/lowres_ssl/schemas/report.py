"""The schema of `lowres-ssl report`. No I/O, no checks."""

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from lowres_ssl.schemas.table import FiltersConfig, TableConfig


@dataclass
class ReportConfig:
    output_dir: str = MISSING
    store_dir: str = MISSING
    file: str = MISSING
    thumbnails: bool = MISSING
    file_names: bool = MISSING
    thumbnail_size: int = MISSING
    gallery: int = MISSING
    preface: str | None = MISSING
    filters: FiltersConfig = MISSING
    figure: dict[str, Any] = MISSING
    table: dict[str, TableConfig] = MISSING  # last: the help text shows it whole
