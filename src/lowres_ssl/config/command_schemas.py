"""Define the config of each command that pre-trains nothing, and of the files in `conf/table/`. No I/O, no checks."""

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from omegaconf import MISSING

from lowres_ssl.config.experiment_schema import (
    BenchmarkConfig,
    DatasetConfig,
    DeviceChoice,
    EvaluateConfig,
    Fact,
    ImagesConfig,
    PrecisionChoice,
    PretrainConfig,
    SplitKind,
    TuneConfig,
    has_fact,
    iter_keys,
    setting,
)

TableKind = Enum("TableKind", ["scores", "recipes", "tuned"])


@dataclass
class FiltersConfig:
    """Which results are meant, see `runs.filters.ResultFilters`; typed without `filters.` (`config/overrides.py`)."""

    entry: Any = None
    dataset: str | None = None
    probe: str | None = None
    recipe: str | None = None
    backbone: str | None = None
    image_size: int | None = None
    storage_size: int | None = None
    epochs: int | None = None
    optimiser: str | None = None
    split: str | None = None
    split_seed: int | None = None
    split_digest: str | None = None
    precision: str | None = None
    settings: str | None = setting("text", default=None)
    seed: Any = None
    untrained_seed: Any = None


@dataclass
class RowConfig:
    """A row of a table. What may be left out has its value here, so that a table's file stays short."""

    entries: list[str] = MISSING
    in_recipe: dict[str, str] = field(default_factory=dict)  # by recipe, the one to ask for instead of the first
    label: str | None = None
    probe: str | None = None
    compared: bool = True  # false: never bold
    optional: bool = False
    paper: dict[str, dict[str, float]] = field(default_factory=dict)


@dataclass
class TableConfig:
    """What a file of `conf/table/` holds."""

    title: str = MISSING
    kind: TableKind = MISSING
    probe: list[str] = MISSING
    datasets: list[str] = MISSING
    metrics: list[str] = MISSING
    batch_size: Any = MISSING
    rows: dict[str, RowConfig] = MISSING
    recipes: list[str] = field(default_factory=list)
    splits: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass
class TablesConfig:
    output_dir: str = setting("path")
    folder: str = setting("path")
    batch_size: Any = MISSING
    strict: bool = MISSING
    filters: FiltersConfig = MISSING
    table: dict[str, TableConfig] = MISSING  # last: the help text shows it whole


OutputFormat = Enum("OutputFormat", ["table", "csv", "json"])
# Those of `CONFUSION_METRICS`, which a config need not load.
MetricChoice = Enum("MetricChoice", ["accuracy", "weighted_f1", "macro_f1", "balanced_accuracy"])


@dataclass
class CompareConfig:
    output_dir: str = setting("path")
    filters: FiltersConfig = MISSING
    metric: MetricChoice = MISSING
    batch_size: Any = MISSING
    reference: Any = MISSING
    imagenet: str = setting("text")
    draws: int = MISSING
    format: OutputFormat = MISSING


WhichEncoder = Enum("WhichEncoder", ["selected", "last"])
FeatureChoice = Enum("FeatureChoice", ["pooled", "class_token", "patches"])
ExportFormat = Enum("ExportFormat", ["torchvision", "timm", "torchscript", "onnx", "hub"])


@dataclass
class InputConfig:
    """Typed without `input.` (see `config/overrides.py`)."""

    images: str | None = setting("path")


@dataclass
class ReadInputConfig(InputConfig):
    exclude: list[str] | None = MISSING


@dataclass
class PredictInputConfig(ReadInputConfig):
    probe: str | None = MISSING


@dataclass
class InferenceConfig:
    """What `embed` and `predict` share: a run's encoder, and every image of a folder."""

    output_dir: str = setting("path")
    run: str | None = setting("path")
    folder: str | None = setting("path")
    formats: list[str] = MISSING
    batch_size: int = MISSING
    skip_unreadable: bool = MISSING
    device: DeviceChoice = MISSING
    precision: PrecisionChoice = MISSING


@dataclass
class EmbedConfig(InferenceConfig):
    input: ReadInputConfig = MISSING
    which: WhichEncoder = MISSING
    features: FeatureChoice = MISSING


@dataclass
class PredictConfig(InferenceConfig):
    input: PredictInputConfig = MISSING


@dataclass
class ExportConfig:
    output_dir: str = setting("path")
    run: str | None = setting("path")
    format: ExportFormat = MISSING
    which: WhichEncoder = MISSING
    folder: str | None = setting("path")


@dataclass
class FiguresConfig:
    output_dir: str = setting("path")
    store_dir: str = setting("path")
    folder: str = setting("path")
    figure: dict[str, Any] = MISSING
    run: str | None = setting("path")
    filters: FiltersConfig = MISSING


@dataclass
class FolderInputConfig(InputConfig):
    """What `init` would guess otherwise. `images` is a kind of picture here, not a folder."""

    table: str | None = setting("path")
    path: str | None = setting("text")
    label: str | None = setting("text")
    patient: str | None = setting("text")
    split: str | None = setting("text")
    split_words: str | None = setting("text")
    class_level: int | None = MISSING
    top: str | None = MISSING
    labelled: bool | None = MISSING
    exclude: list[str] = MISSING


@dataclass
class InitConfig:
    data_dir: str = setting("path")
    output_dir: str = setting("path")
    store_dir: str = setting("path")
    folder: str | None = setting("path")
    name: str | None = MISSING
    input: FolderInputConfig = MISSING
    force: bool = MISSING


@dataclass
class ReportConfig:
    output_dir: str = setting("path")
    store_dir: str = setting("path")
    file: str = setting("path")
    thumbnails: bool = MISSING
    file_names: bool = MISSING
    thumbnail_size: int = MISSING
    gallery: int = MISSING
    preface: str | None = setting("path")
    filters: FiltersConfig = MISSING
    figure: dict[str, Any] = MISSING
    table: dict[str, TableConfig] = MISSING  # last: the help text shows it whole


@dataclass
class DataConfig:
    data_dir: str = setting("path")
    output_dir: str = setting("path")
    store_dir: str = setting("path")
    dataset: DatasetConfig | None = None  # none chosen: all are listed
    images: ImagesConfig | None = MISSING
    split: SplitKind = MISSING
    split_seed: int = MISSING
    image_size: int = MISSING
    fetch: bool = MISSING
    prepare: bool = MISSING


@dataclass
class RunsConfig:
    output_dir: str = setting("path")
    store_dir: str = setting("path")
    format: OutputFormat = MISSING
    prune: bool = MISSING


@dataclass
class DoctorConfig:
    data_dir: str = setting("path")
    output_dir: str = setting("path")
    device: DeviceChoice = MISSING
    precision: PrecisionChoice = MISSING


SCHEMAS: dict[str, type] = {
    "init": InitConfig,
    "pretrain": PretrainConfig,
    "evaluate": EvaluateConfig,
    "tune": TuneConfig,
    "data": DataConfig,
    "runs": RunsConfig,
    "figures": FiguresConfig,
    "doctor": DoctorConfig,
    "tables": TablesConfig,
    "compare": CompareConfig,
    "report": ReportConfig,
    "export": ExportConfig,
    "embed": EmbedConfig,
    "predict": PredictConfig,
    "benchmark": BenchmarkConfig,
}


def find_keys(fact: Fact) -> frozenset[str]:
    """Find the keys of all commands that have a fact, as they are typed."""
    return frozenset(key for schema in SCHEMAS.values() for key, _, each in iter_keys(schema) if has_fact(each, fact))


# Keys whose values are quoted when they are typed. What sections without a schema have of paths is listed by hand.
PATH_KEYS = find_keys("path") | {"method.weights", "dataset.options.table", "figure.samples.root"}
TEXT_KEYS = find_keys("text")
