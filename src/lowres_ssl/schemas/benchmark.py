"""The schema of `lowres-ssl benchmark`: that of `pretrain`, and what is to be compared in which time. No checks."""

from dataclasses import dataclass

from omegaconf import MISSING

from lowres_ssl.schemas.experiment import PretrainConfig


@dataclass
class BenchmarkConfig(PretrainConfig):
    budget: str = MISSING
    methods: list[str] = MISSING
    seeds: int | None = MISSING
    fewer_labels: list[float] = MISSING
    chosen_by: str = MISSING
