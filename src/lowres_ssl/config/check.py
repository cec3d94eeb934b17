"""Read a composed config into the dataclass of its command, with the checks that need no data.

Defaults stand once, in `conf/*.yaml`. Hydra merges those into these dataclasses, so that an unknown key or a wrong type
is refused before anything runs. What a method, a probe or a source of images takes is checked against its constructor
(see `registry.py`), so that a new one needs no line here. A user's own folder of configs is searched after ours: it
adds choices, and a choice of ours is never replaced by one of the same name.
"""

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, is_dataclass
from importlib.resources import files
from operator import attrgetter
from pathlib import Path
from typing import Any, Generic, TypeVar, cast, get_type_hints

from hydra import compose
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import DictConfig, OmegaConf

from lowres_ssl.config.command_schemas import SCHEMAS
from lowres_ssl.config.experiment_schema import (
    ORIGINAL_SIZE,
    PAPER_ORIGIN,
    RANDOM_BASELINES,
    SETTINGS_ORIGIN,
    TUNABLE_KEYS,
    TUNED_ORIGIN,
    TYPED_ORIGIN,
    WEIGHTS_METHOD,
    BackboneConfig,
    DatasetConfig,
    ExperimentConfig,
    PretrainConfig,
    iter_keys,
    to_plain,
)
from lowres_ssl.config.overrides import check_url, get_short_keys, is_utf8, quote_value
from lowres_ssl.errors import ConfigError

Config = TypeVar("Config")
Own = TypeVar("Own", bound=ExperimentConfig)
CONF_FOLDER = "lowres_ssl_conf"
# Folders may look up the environment. No other value does: it is written down with the results.
ENV_KEYS = ("data_dir", "output_dir", "store_dir", "folder")
# What any value may look up: another key, or the paper's settings of the linear probe.
ALLOWED_INTERPOLATION = re.compile(r"\$\{(oc\.select:table_1\.\$\{method\.name\}\.\$\{dataset\.name\}\.\w+,)?[\w.]+\}")


@dataclass(frozen=True)
class Experiment(Generic[Own]):
    """A command's config, those of the fixed encoders beside it by their method's name, and the settings of the probes
    as composed, in which those of the paper's Table 1 are still looked up by method and data set."""

    config: Own
    fixed: dict[str, Own]
    probe_settings: dict[str, Any]


def get_user_conf() -> Path:
    """Return `lowres_ssl_conf` in the working folder, or the folder of LOWRES_SSL_CONF; it may not exist."""
    return Path(os.environ.get("LOWRES_SSL_CONF") or CONF_FOLDER)


class UserConfPlugin(SearchPathPlugin):
    """Add the user's folder to Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        folder = get_user_conf().absolute()
        if folder.is_dir():
            search_path.append(provider="own", path=f"file://{folder}")


def register_schemas(*commands: str) -> None:
    """Put schemas where `defaults` find them; only those to be composed: `--help` copies all a hundred times."""
    for command in commands:
        ConfigStore.instance().store(name=f"{command}_schema", node=SCHEMAS[command])


def list_datasets(data_dir: str) -> tuple[list[tuple[str, DatasetConfig]], list[str]]:
    """List each choice of the group `dataset` with its config, and a line for each that cannot be composed.

    Only within a command, since Hydra has to have been started.
    """
    register_schemas("data")
    sets, problems = [], []
    for choice in GlobalHydra.instance().config_loader().get_group_options("dataset"):
        try:
            cfg = compose("data", overrides=[f"dataset={choice}", f"data_dir={quote_value(data_dir)}"])
            sets.append((choice, cast(DatasetConfig, OmegaConf.to_object(cfg.dataset))))
        except Exception as error:  # whatever is wrong with one file, the other sets are there
            reason = " ".join(str(error.__cause__ or error).split())
            problems.append(f"conf/dataset/{choice}.yaml: cannot be composed ({reason})")
    return sets, problems


def read_experiment(cfg: DictConfig, schema: type[Own]) -> Experiment[Own]:
    """Read a config, and the same experiment with each fixed encoder that it may be compared with."""
    config, probe = read_config(cfg, schema), cast(dict[str, Any], OmegaConf.to_container(cfg.probe))
    fixed = {name: read_config(switch_to_fixed(cfg, name), schema) for name in (*RANDOM_BASELINES, WEIGHTS_METHOD)}
    return Experiment(config, fixed, probe)


def switch_to_fixed(cfg: DictConfig, method: str) -> DictConfig:
    """Return the same experiment with an encoder that is not trained; settings looked up by method find `method`."""
    copy = cfg.copy()
    OmegaConf.update(copy, "method", {"name": method}, merge=False)
    OmegaConf.update(copy, "force", False)
    if "initial_weights" in copy:
        OmegaConf.update(copy, "initial_weights", "random")
    if method != WEIGHTS_METHOD:
        OmegaConf.update(copy, "weights_part", None)
    return copy


def read_config(cfg: DictConfig, schema: type[Config]) -> Config:
    """Read the composed config into its dataclass: everything resolved, ranges checked.

    Raise `ConfigError` for a key that is unknown, a value that is missing, out of its range, or looked up elsewhere
    than in another key.
    """
    check_keys(cfg, schema)
    check_lookups(cfg)
    config = cast(Config, OmegaConf.to_object(cfg))
    for name, text in list_texts(to_plain(config)):
        fits = is_utf8(text) and text.isprintable()
        require(fits or name.startswith("probe."), name, repr(text), "plain text, without control characters")
    for key in ENV_KEYS:
        require(getattr(config, key, None) != "", key, "", "a folder, got nothing (an empty variable?)")
    if isinstance(dataset := getattr(config, "dataset", None), DatasetConfig):
        check_dataset(dataset)
    if isinstance(config, ExperimentConfig):
        # A recipe may have settings of a probe that was not chosen; only a chosen one has its name.
        for key, arguments in config.probe.items():
            known = files("lowres_ssl.conf").joinpath("probe", f"{key}.yaml").is_file()
            if not isinstance(arguments, dict) or ("name" not in arguments and not known):
                raise ConfigError(f"unknown key 'probe.{key}': wanted a probe, such as probe=[knn,linear]")
        config.probe = {key: arguments for key, arguments in config.probe.items() if "name" in arguments}
        record_settings_origin(cfg, config)
        check_experiment(config)
    if isinstance(config, PretrainConfig):
        check_pretraining(config)
    return config


def check_keys(cfg: DictConfig, schema: type, prefix: str = "") -> None:
    """Raise `ConfigError` for a key that `+key=` added, which nothing would read, and for one that `~key` took out."""
    hints = get_type_hints(schema)
    for key in map(str, cfg):
        if key not in hints:
            raise ConfigError(f"unknown key {f'{prefix}{key}'!r}: --help lists the keys")
        if not OmegaConf.is_missing(cfg, key) and is_dataclass(inner := OmegaConf.get_type(cfg, key)):
            check_keys(cfg[key], cast(type, inner), f"{prefix}{key}.")
    for key in hints.keys() - set(map(str, cfg)):
        raise ConfigError(f"{prefix}{key}: got no value, wanted {prefix}{key}=VALUE")


def list_keys(command: str) -> list[str]:
    """List every key of a command as it is typed, those of a section with a dot."""
    return [*sorted(get_short_keys(command)[1]), *(key for key, _, _ in iter_keys(SCHEMAS[command]))]


def check_lookups(cfg: DictConfig) -> None:
    """Raise `ConfigError` for a value that looks up anything but another key, such as the environment."""
    for name, text in list_texts(OmegaConf.to_container(cfg)):
        looked_up = ALLOWED_INTERPOLATION.sub("", re.sub(r"\\\$\{", "", text))
        if "${" in looked_up and name not in ENV_KEYS:
            raise ConfigError(
                f"{name}: got {looked_up}, which may write the environment down with the results; wanted a plain "
                f"value; only {', '.join(ENV_KEYS)} may look it up"
            )


def record_settings_origin(cfg: DictConfig, config: ExperimentConfig) -> None:
    """Record where the linear probe's settings come from: numbers in `cfg` were typed, the paper's are looked up."""
    if "linear" not in config.probe:
        return
    linear, composed = config.probe["linear"], cfg.probe.linear
    key, origin = f"probe.linear.{SETTINGS_ORIGIN}", linear.get(SETTINGS_ORIGIN)
    typed = [name for name in TUNABLE_KEYS if name in composed and not OmegaConf.is_interpolation(composed, name)]
    require(origin in (PAPER_ORIGIN, TUNED_ORIGIN), key, origin, f"{PAPER_ORIGIN} or {TUNED_ORIGIN}")
    if typed and origin == TUNED_ORIGIN:
        raise ConfigError(f"{key}=tuned: got probe.linear.{typed[0]} as well, wanted one of the two; leave one out")
    linear[SETTINGS_ORIGIN] = TYPED_ORIGIN if typed else origin


def list_texts(value: object, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield each text in a plain config, keys of sections among them, with its own key."""
    if isinstance(value, str):
        yield name, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield name, str(key)
            yield from list_texts(inner, f"{name}.{key}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from list_texts(inner, name)


def require(ok: bool, key: str, got: object, wanted: str) -> None:
    if not ok:
        raise ConfigError(f"{key}={got}: wanted {wanted}")


def check_rules(config: object, *rules: tuple[str, bool, str]) -> None:
    """Raise `ConfigError` for the first broken rule, which is: the key, whether its value is right, what is wanted."""
    for key, is_kept, wanted in rules:
        require(is_kept, key, attrgetter(key)(config), wanted)


def check_experiment(config: ExperimentConfig) -> None:
    least, fractions = get_min_image_size(config.backbone), config.label_fraction
    sizes = f"at least {least} pixels" + ("" if config.backbone.small_stem else ", or backbone.small_stem=true")
    subset, mean, std = config.dataset.subset, config.images.mean, config.images.std
    scored = config.scored_size
    check_rules(
        config,
        ("seed", 0 <= config.seed < 2**32, "a whole number from 0 to 4294967295"),
        ("split_seed", 0 <= config.split_seed < 2**32, "a whole number from 0 to 4294967295"),
        ("label_fraction", len(fractions) > 0, "at least one, such as [0.1,1.0]"),
        ("label_fraction", all(0 < each <= 1 for each in fractions), "numbers above 0, at most 1"),
        ("label_fraction", len(set(fractions)) == len(fractions), "each once"),
        ("label_draws", config.label_draws >= 1, "at least 1"),
        ("image_size", config.image_size <= 4096, "at most 4096 pixels"),
        ("image_size", config.image_size >= least, sizes),
        ("scored_size", scored is None or least <= scored <= 4096, f"null, or {sizes}, at most 4096"),
        ("dataset.subset", subset is None or subset >= 1, "at least 1 image, or null for all"),
        ("images.mean", len(mean) == 3, "three numbers, one a colour channel"),
        ("images.std", len(std) == 3 and all(each > 0 for each in std), "three numbers above 0, one a colour channel"),
    )


def check_dataset(dataset: DatasetConfig) -> None:
    given, size = dataset.grey_range, dataset.storage_size
    is_ordered = given is None or (len(given) == 2 and all(map(math.isfinite, given)) and given[0] < given[1])
    is_size = size in (None, ORIGINAL_SIZE) or (type(size) is int and size >= 1)
    sizes = f"at least 1 pixel, {ORIGINAL_SIZE}, or null for twice the training size"
    require(dataset.root != "", "dataset.root", "", "a folder, got nothing (an empty variable?)")
    require(dataset.name.strip() != "", "dataset.name", "", "a name for the runs, such as cells")
    require(is_ordered, "dataset.grey_range", given, "two numbers, the darkest first, such as [0,4095], or null")
    require(is_size, "dataset.storage_size", size, sizes)
    check_url(dataset.url or "")


def get_min_image_size(backbone: BackboneConfig) -> int:
    """A ResNet halves the image five times: up to 16 px its last stage would see a single pixel (and oneDNN's bf16
    gradient of that was measured to be garbage). The small stem leaves two of the halvings out."""
    return 2 if backbone.model else 8 if backbone.small_stem else 17


def check_view_settings(config: PretrainConfig, sizes: Sequence[float], *, is_pair: bool, has_predictor: bool) -> None:
    """Raise `ConfigError` for views too small for the encoder, or keys that the method has no use for.

    `sizes`: of its views, as shares of the image size; `is_pair`: two whole views without labels.
    """
    name, least = config.method["name"], get_min_image_size(config.backbone)
    share = min(sizes) * min(scale for _, scale in config.image_size_schedule)
    smallest = round(share * config.image_size)
    if smallest < least:
        raise ConfigError(
            f"image_size={config.image_size}: method={name} has views of {smallest} px there, wanted at least {least}; "
            f"type image_size={math.ceil(least / share)}"
        )
    if config.frozen_stages and config.sync_batch_norm:
        raise ConfigError("frozen_stages: not with sync_batch_norm=true; leave one of them out")
    if config.predictor_rate.name == "constant" and not has_predictor:
        raise ConfigError(f"predictor_rate=constant: method={name} has no predictor; type predictor_rate=scheduled")
    if config.positives.name == "patient" and not is_pair:
        raise ConfigError(
            f"positives=patient: is for methods that bring two views together, got method={name}; type positives=image"
        )


def check_pretraining(config: PretrainConfig) -> None:
    rate, decay, epochs = config.learning_rate, config.weight_decay, config.epochs
    has_weights = config.initial_weights != "random" or WEIGHTS_METHOD in (config.method["name"], *config.method)
    check_rules(
        config,
        ("batch_size", config.batch_size >= 2, "at least 2, since methods compare the images of a batch; try 64"),
        ("epochs", epochs >= 1, "at least 1"),
        ("weights_part", config.weights_part is None or has_weights, "null, since no file of weights is named"),
        ("checkpoint_seconds", config.checkpoint_seconds >= 0, "a number of at least 0"),
        ("learning_rate", math.isfinite(rate) and rate > 0, "a number above 0"),
        ("momentum", 0 <= config.momentum < 1, "a number from 0 to below 1"),
        ("backbone.drop_path", 0 <= config.backbone.drop_path < 1, "a number from 0 to below 1"),
        ("weight_decay", math.isfinite(decay) and decay >= 0, "a number of at least 0"),
        ("warmup_epochs", 0 <= config.warmup_epochs <= epochs, f"from 0 to epochs={epochs}"),
    )
