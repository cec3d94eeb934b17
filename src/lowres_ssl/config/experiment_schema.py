"""Define the config of the commands that work on one data set with one encoder, and how a config is stored."""

from collections.abc import Iterator
from dataclasses import MISSING as NO_DEFAULT
from dataclasses import Field, asdict, dataclass, field, fields, is_dataclass
from enum import Enum
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from omegaconf import MISSING

# What `lowres-ssl tune` chooses of the linear probe.
TUNABLE_KEYS = ("batch_size", "learning_rate")
SETTINGS_ORIGIN = "settings_from"  # the key that names where the two come from
SCORED_SIZE = "scored_size"  # the key of a probe's settings that a size other than the training's is stored under
SETTINGS_ORIGINS = PAPER_ORIGIN, TUNED_ORIGIN, TYPED_ORIGIN = "paper", "tuned", "typed"
# What a trained encoder is compared with, and what it started as: nothing is learnt in either. The better is the bar.
RANDOM_BASELINES = ("random", "random_calibrated")
WEIGHTS_METHOD = "weights"  # the method of an encoder of which no more is known than its backbone
RANDOM_SEEDS = 10  # they cost no training, so their mean need not be left to the luck of three seeds

ORIGINAL_SIZE = "original"  # for `dataset.storage_size`: as large as the images are

SplitKind = Enum("SplitKind", ["auto", "random", "stratified", "patient", "official", "official_test"])
DeviceChoice = Enum("DeviceChoice", ["auto", "cuda", "cpu"])
PrecisionChoice = Enum("PrecisionChoice", ["auto", "fp32", "bf16", "fp16"])
RateSchedule = Enum("RateSchedule", ["constant", "cosine"])
BatchNormOver = Enum("BatchNormOver", ["joint", "per_view"])
PretrainOn = Enum("PretrainOn", ["training", "half", "all"])
Positives = Enum("Positives", ["image", "patient"])
PredictorRate = Enum("PredictorRate", ["scheduled", "constant"])
SelectEncoder = Enum("SelectEncoder", ["last", "best_validation_knn"])
RotationPadding = Enum("RotationPadding", ["zeros", "reflection"])
ImageStoreOn = Enum("ImageStoreOn", ["auto", "device", "host"])
CompileChoice = Enum("CompileChoice", ["auto", "always", "never"])
PreemptionSignal = Enum("PreemptionSignal", ["none", "USR1", "USR2", "HUP", "XCPU"])
SearchRule = Enum("SearchRule", ["full", "quarter", "eighth"])

# What other modules have to know of a key. "numbers": it changes the numbers of a run, so it is part of the run's hash.
# "path": a place on this machine. "text": free text, in which `~` is a letter like any other. "request": how a run was
# asked for, not what it is. "private": hidden from trackers. "run": a finished run decides it for the commands that
# score or tune that run.
Fact = Literal["numbers", "path", "text", "request", "private", "run"]


def setting(*facts: Fact, default: Any = MISSING) -> Any:
    """Define a key of a config with facts, which hold for all keys below it as well. A default here is a value at which
    the key changes nothing: it is left out of the hash of a run, so that a new key orphans no finished run."""
    metadata = {"facts": frozenset(facts)}
    if isinstance(default, dict | list):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def get_default(key: "Field[Any]") -> Any:
    """Return the value at which a key changes nothing, `MISSING` where there is none."""
    return key.default if key.default_factory is NO_DEFAULT else key.default_factory()


def has_fact(key: "Field[Any]", fact: Fact) -> bool:
    return fact in key.metadata.get("facts", ())


def list_keys_with(schema: type, fact: Fact) -> list[str]:
    """List the keys of a schema that have a fact, without those of its sections."""
    return [each.name for each in fields(schema) if has_fact(each, fact)]


def iter_keys(schema: type, prefix: str = "") -> Iterator[tuple[str, Any, "Field[Any]"]]:
    """Yield each key of a schema as it is typed, those of a section with a dot, with its annotation and its field."""
    hints = get_type_hints(schema)
    for each in fields(schema):
        hint, name = hints[each.name], f"{prefix}{each.name}"
        yield name, hint, each
        for section in () if get_origin(hint) is dict else (hint, *get_args(hint)):
            if is_dataclass(section):
                yield from iter_keys(cast(type, section), f"{name}.")


@dataclass
class DatasetConfig:
    """A set of images: where it lies, where it comes from, what should be in it."""

    name: str = setting("text")
    title: str = setting("text")
    source: str = MISSING
    root: str = setting("path")
    archive: str | None = setting("path")
    unlabelled: str | None = setting("path")
    url: str | None = MISSING
    sha256: str | None = MISSING
    instructions: str = MISSING
    licence: str = MISSING
    storage_size: Any = MISSING  # int, "original" or None: OmegaConf 2.3 fails at such a union
    subset: int | None = MISSING
    exclude: list[str] = setting(default=[])
    exclude_classes: list[str] = setting(default=[])
    min_class_images: int = setting(default=1)
    skip_unreadable: bool = MISSING
    grey_range: list[float] | None = MISSING
    expected: dict[str, int] = MISSING
    options: dict[str, Any] = MISSING


@dataclass
class ImagesConfig:
    """What kind of picture it is: channels and normalisation; a recipe may have a section for each kind."""

    name: str = MISSING
    colour: bool = MISSING
    mean: list[float] = setting("numbers")
    std: list[float] = setting("numbers")


@dataclass
class BackboneConfig:
    name: str = MISSING
    small_stem: bool = MISSING
    zero_init_residual: bool = MISSING
    model: str | None = setting(default=None)
    drop_path: float = setting(default=0.0)
    one_channel: bool = setting(default=False)

    @property
    def title(self) -> str:
        """Return the architecture's name: of `name: timm` that of its model."""
        return self.model or self.name


@dataclass
class ViewsConfig:
    """The constructor arguments of `augment.augmentation.Augmentation`, which checks their ranges."""

    crop_scale: list[float] = MISSING
    crop_ratio: list[float] = MISSING
    horizontal_flip: float = MISSING
    vertical_flip: float = MISSING
    right_angles: bool = MISSING
    rotation_degrees: float = MISSING
    rotation_padding: RotationPadding = MISSING
    jitter: float = MISSING
    brightness: float = MISSING
    contrast: float = MISSING
    saturation: float = MISSING
    hue: float = MISSING
    grey: float = MISSING
    blur: float = MISSING
    blur_kernel_fraction: float = MISSING
    blur_sigma_fraction: list[float] = MISSING
    solarise: float = MISSING
    solarise_threshold: int = MISSING
    elastic: float = setting(default=0.0)
    elastic_strength: float = setting(default=0.05)
    stain: float = setting(default=0.0)
    stain_strength: float = setting(default=0.05)
    gamma: float = setting(default=0.0)
    gamma_strength: float = setting(default=0.5)


@dataclass
class ExperimentConfig:
    """What pre-training and evaluation share."""

    data_dir: str = setting("path")
    output_dir: str = setting("path", "request")
    store_dir: str = setting("path", "request")
    method: dict[str, Any] = setting("numbers", "run")
    dataset: DatasetConfig = setting("private", "run")
    images: ImagesConfig = setting("run")
    backbone: BackboneConfig = setting("numbers", "run")
    probe: dict[str, Any] = MISSING
    table_1: dict[str, Any] = setting("private", "request")
    recipe: str = setting("run")
    split: SplitKind = setting("run")
    split_seed: int = setting("run")
    seed: int = setting("numbers", "run")
    image_size: int = setting("numbers", "run")
    weights_part: str | None = setting("numbers", "run", default=None)
    device: DeviceChoice = MISSING
    precision: PrecisionChoice = MISSING
    scored_size: int | None = setting(default=None)
    label_fraction: list[float] = MISSING
    label_draws: int = MISSING
    hash_ids: bool = setting("private")
    force: bool = setting("private", "request")


@dataclass
class PretrainConfig(ExperimentConfig):
    epochs: int = setting("numbers")
    batch_size: int = setting("numbers")
    keep_last_batch: bool = setting("numbers")
    forward: BatchNormOver = setting("numbers")
    optimiser: dict[str, Any] = setting("numbers", default={"name": "sgd"})
    learning_rate: float = setting("numbers")
    momentum: float = setting("numbers")
    weight_decay: float = setting("numbers")
    decay_norm_and_bias: bool = setting("numbers")
    schedule: RateSchedule = setting("numbers")
    warmup_epochs: float = setting("numbers")
    image_size_schedule: list[list[float]] = MISSING
    store: ImageStoreOn = MISSING
    compile: CompileChoice = MISSING
    deterministic: bool = MISSING
    sync_batch_norm: bool = MISSING
    views: ViewsConfig = setting("numbers")
    initial_weights: str = setting("path")
    frozen_stages: int = setting("numbers", default=0)
    pretrain_on: PretrainOn = setting("numbers")
    positives: Positives = setting("numbers", default=Positives.image)
    predictor_rate: PredictorRate = setting("numbers", default=PredictorRate.scheduled)
    select_encoder: SelectEncoder = setting("numbers")
    checkpoint_seconds: float = MISSING
    preemption_signal: PreemptionSignal = setting("private")
    tracker: dict[str, Any] = setting("private", "request")
    evaluate: bool = setting("private", "request")
    baselines: bool = setting("private", "request", default=True)
    picture: bool = setting("request")
    dry_run: bool = setting("private", "request")


@dataclass
class EvaluateConfig(ExperimentConfig):
    run: str | None = setting("path")
    weights: str | None = setting("path")


@dataclass
class RunFiltersConfig:
    """Which finished runs are meant: a value or a list of values each."""

    dataset: Any = MISSING
    method: Any = MISSING
    entry: Any = MISSING
    recipe: Any = MISSING
    backbone: Any = MISSING
    image_size: Any = MISSING
    batch_size: Any = MISSING
    epochs: Any = MISSING
    precision: Any = MISSING
    split: Any = MISSING
    split_seed: Any = MISSING
    seed: Any = MISSING


@dataclass
class TuneConfig(ExperimentConfig):
    run: str | None = setting("path")
    filters: RunFiltersConfig = MISSING
    batch_size: list[int] = MISSING
    learning_rate: list[float] = MISSING
    seeds: int = MISSING
    rule: SearchRule = MISSING


@dataclass
class BenchmarkConfig(PretrainConfig):
    budget: str = MISSING
    methods: list[str] = MISSING
    continued: list[str] = MISSING
    pretrained: list[str] = MISSING
    seeds: int | None = MISSING
    chosen_by: str = MISSING


def to_plain(config: Any) -> dict[str, Any]:
    """Turn a config into nested dicts, lists, strings and numbers, as it is stored."""

    def named(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key: value.name if isinstance(value, Enum) else value for key, value in pairs}

    return asdict(config, dict_factory=named)
