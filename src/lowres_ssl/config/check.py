"""What a config may hold: the schema of each command, and the checks that need no data. No I/O, no defaults.

Defaults stand once, in `conf/*.yaml`. Hydra merges those into these dataclasses, so that an unknown key or a wrong type
is refused before anything runs. What a method, a probe or a source of images takes is checked against its constructor
(see `build.py`), so that a new one needs no line here.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from enum import Enum, EnumMeta
from importlib.resources import files
from typing import Any, TypeVar, cast, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from lowres_ssl.config.command_schemas import (
    CompareConfig,
    EmbedConfig,
    ExportConfig,
    FiguresConfig,
    InitConfig,
    OutputFormat,
    PredictConfig,
    ReportConfig,
    TablesConfig,
)
from lowres_ssl.config.composing import cache_config_reads
from lowres_ssl.config.experiment_schema import (
    ORIGINAL_SIZE,
    PAPER_ORIGIN,
    SETTINGS_ORIGIN,
    TUNABLE_KEYS,
    TUNED_ORIGIN,
    TYPED_ORIGIN,
    BackboneConfig,
    BenchmarkConfig,
    DatasetConfig,
    DeviceChoice,
    EvaluateConfig,
    ExperimentConfig,
    ImagesConfig,
    PrecisionChoice,
    PretrainConfig,
    SplitKind,
    TuneConfig,
)
from lowres_ssl.config.keys import ENV_KEYS, find_unknown_keys, is_key_deleted, list_schema_keys, restrict_env_lookups
from lowres_ssl.config.overrides import check_url, is_utf8
from lowres_ssl.errors import ConfigError

__all__ = [
    "TUNABLE_KEYS",
    "BackboneConfig",
    "DatasetConfig",
    "EvaluateConfig",
    "ExperimentConfig",
    "PretrainConfig",
    "TuneConfig",
    "from_plain",
    "read_config",
    "register_schemas",
    "require",
    "to_plain",
]


@dataclass
class DataConfig:
    data_dir: str = MISSING
    output_dir: str = MISSING
    store_dir: str = MISSING
    dataset: DatasetConfig | None = None  # none chosen: all are listed
    images: ImagesConfig | None = MISSING
    split: SplitKind = MISSING
    split_seed: int = MISSING
    image_size: int = MISSING
    fetch: bool = MISSING
    prepare: bool = MISSING


@dataclass
class RunsConfig:
    output_dir: str = MISSING
    store_dir: str = MISSING
    format: OutputFormat = MISSING
    prune: bool = MISSING


@dataclass
class DoctorConfig:
    data_dir: str = MISSING
    output_dir: str = MISSING
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

Config = TypeVar("Config")


def register_schemas() -> None:
    """Put each command's schema where the first line of its `defaults` finds it."""
    cache_config_reads()
    store = ConfigStore.instance()
    for command, schema in SCHEMAS.items():
        if f"{command}_schema.yaml" not in store.repo:
            store.store(name=f"{command}_schema", node=schema)


def read_config(cfg: DictConfig, schema: type[Config]) -> Config:
    """The composed config as its dataclass, everything resolved, ranges checked.

    Raises `ConfigError` for a value that is missing, out of its range, or looked up in the environment without being a
    place.
    """
    unknown = next(find_unknown_keys(cfg), None)
    if unknown is not None:
        command = next(command for command, known in SCHEMAS.items() if known is schema)
        raise ConfigError(f"unknown key {unknown!r}: `lowres-ssl {command} --help` lists the keys")
    deleted = next((name for name in list_schema_keys(schema) if is_key_deleted(cfg, name)), None)
    if deleted is not None:
        raise ConfigError(f"{deleted}: got no value, wanted {deleted}=VALUE, or nothing typed of it for the default")
    with restrict_env_lookups():
        config = cast(Config, OmegaConf.to_object(cfg))
    for name, text in list_texts(to_plain(config)):
        fits = is_utf8(text) and text.isprintable()
        require(fits or name.startswith("probe."), name, repr(text), "plain text, without control characters")
    assert isinstance(config, schema)
    for key in ENV_KEYS:
        require(getattr(config, key, None) != "", key, "", "a folder, got nothing (an empty variable?)")
    dataset = getattr(config, "dataset", None)
    if isinstance(dataset, DatasetConfig):
        require(dataset.root != "", "dataset.root", "", "a folder, got nothing (an empty variable?)")
        require(dataset.name.strip() != "", "dataset.name", "", "a name for the runs, such as cells")
        if dataset.url is not None:
            check_url(dataset.url)
        check_grey_range(dataset.grey_range)
        check_storage_size(dataset.storage_size)
    if isinstance(config, ExperimentConfig):
        # A recipe may speak of a probe that was not chosen; only a chosen one has its name.
        for key, arguments in config.probe.items():
            if not isinstance(arguments, dict) or ("name" not in arguments and not is_probe_name(key)):
                raise ConfigError(f"unknown key 'probe.{key}': wanted a probe, such as probe=[knn,linear]")
        config.probe = {key: arguments for key, arguments in config.probe.items() if "name" in arguments}
        record_settings_origin(cfg, config)
        check_experiment(config)
    if isinstance(config, PretrainConfig):
        check_pretraining(config)
    return config


def is_probe_name(name: str) -> bool:
    return files("lowres_ssl.conf").joinpath("probe", f"{name}.yaml").is_file()


def record_settings_origin(cfg: DictConfig, config: ExperimentConfig) -> None:
    """Settings of the linear probe that are numbers in `cfg` were typed: those of the paper's Table 1 are looked up."""
    if "linear" not in config.probe:
        return
    linear, composed = config.probe["linear"], cfg.probe.linear
    key, origin = f"probe.linear.{SETTINGS_ORIGIN}", linear.get(SETTINGS_ORIGIN)
    typed = [name for name in TUNABLE_KEYS if name in composed and not OmegaConf.is_interpolation(composed, name)]
    require(origin in (PAPER_ORIGIN, TUNED_ORIGIN), key, origin, f"{PAPER_ORIGIN} or {TUNED_ORIGIN}")
    if typed and origin == TUNED_ORIGIN:
        raise ConfigError(f"{key}=tuned: got probe.linear.{typed[0]} as well, wanted one of the two; leave one out")
    linear[SETTINGS_ORIGIN] = TYPED_ORIGIN if typed else origin


def switch_to_baseline(cfg: DictConfig, method: str) -> DictConfig:
    """The same experiment, its encoder as it starts. Settings that look up the method's name find `method` there."""
    copy = cfg.copy()
    OmegaConf.update(copy, "method", {"name": method}, merge=False)
    OmegaConf.update(copy, "force", False)
    if "initial_weights" in copy:
        OmegaConf.update(copy, "initial_weights", "random")
    return copy


def to_plain(config: Any) -> dict[str, Any]:
    """A config dataclass as nested dicts, lists, strings and numbers, as it is stored."""

    def named(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key: value.name if isinstance(value, Enum) else value for key, value in pairs}

    return asdict(config, dict_factory=named)


def list_texts(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Each text in a plain config, keys of sections among them, with its own key."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield name, str(key)
            yield from list_texts(inner, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from list_texts(inner, name)


def from_plain(schema: type[Config], values: Mapping[str, Any]) -> Config:
    """What `plain` made of a config, as its dataclass again: as it was stored, nothing resolved or checked.

    A key that is younger than the run is None.
    """

    def revived(hint: Any, value: Any) -> Any:
        if is_dataclass(hint):
            return from_plain(cast(type, hint), value)
        return hint[value] if isinstance(hint, EnumMeta) else value

    return schema(**{key: revived(hint, values.get(key)) for key, hint in get_type_hints(schema).items()})


def require(ok: bool, key: str, got: object, wanted: str) -> None:
    if not ok:
        raise ConfigError(f"{key}={got}: wanted {wanted}")


def check_experiment(config: ExperimentConfig) -> None:
    require(0 <= config.seed < 2**32, "seed", config.seed, "a whole number from 0 to 4294967295")
    require(0 <= config.split_seed < 2**32, "split_seed", config.split_seed, "a whole number from 0 to 4294967295")
    check_labels(config.label_fraction, config.label_draws)
    least = get_min_image_size(config.backbone)
    require(config.image_size <= 4096, "image_size", config.image_size, "at most 4096 pixels")
    wanted = f"at least {least} pixels" + ("" if config.backbone.small_stem else ", or backbone.small_stem=true")
    require(config.image_size >= least, "image_size", config.image_size, wanted)
    subset = config.dataset.subset
    require(subset is None or subset >= 1, "dataset.subset", subset, "at least 1 image, or null for all")
    for key in ("mean", "std"):
        values = getattr(config.images, key)
        require(len(values) == 3, f"images.{key}", values, "three numbers, one a colour channel")
    require(all(s > 0 for s in config.images.std), "images.std", config.images.std, "numbers above 0")


def check_grey_range(given: list[float] | None) -> None:
    good = given is None or (len(given) == 2 and all(map(math.isfinite, given)) and given[0] < given[1])
    require(good, "dataset.grey_range", given, "two numbers, the darkest first, such as [0,4095], or null")


def check_storage_size(given: object) -> None:
    good = given is None or given == ORIGINAL_SIZE or (type(given) is int and given >= 1)
    require(
        good, "dataset.storage_size", given, f"at least 1 pixel, {ORIGINAL_SIZE}, or null for twice the training size"
    )


def check_labels(fractions: list[float], draws: int) -> None:
    require(len(fractions) > 0, "label_fraction", fractions, "at least one, such as [0.1,1.0]")
    require(all(0 < each <= 1 for each in fractions), "label_fraction", fractions, "numbers above 0, at most 1")
    require(len(set(fractions)) == len(fractions), "label_fraction", fractions, "each once")
    require(draws >= 1, "label_draws", draws, "at least 1")


def get_min_image_size(backbone: BackboneConfig) -> int:
    """A ResNet halves the image five times: up to 16 px its last stage would see a single pixel (and oneDNN's bf16
    gradient of that was measured to be garbage). The small stem leaves two of the halvings out."""
    return 8 if backbone.small_stem else 17


def check_pretraining(config: PretrainConfig) -> None:
    if config.batch_size == 1:
        raise ConfigError("batch_size=1: these methods compare the images of a batch, so wanted at least 2; try 64")
    require(config.batch_size >= 2, "batch_size", config.batch_size, "at least 2")
    require(config.epochs >= 1, "epochs", config.epochs, "at least 1")
    seconds = config.checkpoint_seconds
    require(seconds >= 0, "checkpoint_seconds", seconds, "a number of at least 0")
    rate = config.learning_rate
    require(math.isfinite(rate) and rate > 0, "learning_rate", rate, "a number above 0")
    require(0 <= config.momentum < 1, "momentum", config.momentum, "a number from 0 to below 1")
    decay = config.weight_decay
    require(math.isfinite(decay) and decay >= 0, "weight_decay", decay, "a number of at least 0")
    warmup = config.warmup_epochs
    require(0 <= warmup <= config.epochs, "warmup_epochs", warmup, f"from 0 to epochs={config.epochs}")
