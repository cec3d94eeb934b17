"""The schema of the commands that take an encoder elsewhere: export, embed, predict. No I/O, no checks."""

from dataclasses import dataclass
from enum import Enum

from omegaconf import MISSING

from lowres_ssl.schemas.experiment import Device, Precision

Which = Enum("Which", ["selected", "last"])
ExportFormat = Enum("ExportFormat", ["torchvision", "timm", "torchscript", "onnx", "hub"])


@dataclass
class InputConfig:
    """Typed without `input.` (see `command_line/overrides.py`)."""

    images: str | None = MISSING


@dataclass
class PredictInputConfig(InputConfig):
    probe: str | None = MISSING


@dataclass
class FolderConfig:
    """What `embed` and `predict` share: a run's encoder, and every image of a folder."""

    output_dir: str = MISSING
    run: str | None = MISSING
    folder: str | None = MISSING
    formats: list[str] = MISSING
    batch_size: int = MISSING
    skip_unreadable: bool = MISSING
    device: Device = MISSING
    precision: Precision = MISSING


@dataclass
class EmbedConfig(FolderConfig):
    input: InputConfig = MISSING
    which: Which = MISSING


@dataclass
class PredictConfig(FolderConfig):
    input: PredictInputConfig = MISSING


@dataclass
class ExportConfig:
    output_dir: str = MISSING
    run: str | None = MISSING
    format: ExportFormat = MISSING
    which: Which = MISSING
    folder: str | None = MISSING
