"""The schema of `lowres-ssl compare`, and the formats of what it and `lowres-ssl runs` print. No I/O, no checks."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from omegaconf import MISSING

from lowres_ssl.schemas.table import FiltersConfig

Format = Enum("Format", ["table", "csv", "json"])
# Those of `uncertainty.METRICS`, which a config need not load.
Metric = Enum("Metric", ["accuracy", "weighted_f1", "macro_f1", "balanced_accuracy"])


@dataclass
class CompareConfig:
    output_dir: str = MISSING
    filters: FiltersConfig = MISSING
    metric: Metric = MISSING
    batch_size: Any = MISSING
    reference: Any = MISSING
    imagenet: str = MISSING
    draws: int = MISSING
    format: Format = MISSING
