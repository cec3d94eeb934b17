"""What was asked of `lowres-ssl benchmark`: what was typed, what that means for each method, which images it is about.

Settings that nobody typed are chosen here, by the rules of `fitting`. Only within a command: Hydra composes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from lowres_ssl.config.check import PretrainConfig, read_config, to_plain
from lowres_ssl.config.duration import parse_duration
from lowres_ssl.config.experiment_schema import BenchmarkConfig
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.splits import Split
from lowres_ssl.device import resolve_device
from lowres_ssl.errors import ConfigError, did_you_mean
from lowres_ssl.init.default_settings import choose_default_settings

# What says which benchmark it is, or where it stands; the rest goes to every training as it was typed.
BENCHMARK_KEYS = frozenset(
    ["budget", "methods", "seeds", "fewer_labels", "chosen_by", "epochs", "output_dir", "store_dir", "dry_run", "force"]
)
REPLACED_KEYS = {
    "method": "methods=[random,dcl,simclr]",
    "seed": "seeds=3, which runs the seeds 0, 1 and 2",
    "label_fraction": "fewer_labels=[0.1]",
    "initial_weights": "nothing: all methods start from the same random weights",
    "evaluate": "nothing: everything is scored",
    "picture": "nothing: the report has the pictures",
}
# Of a training's config, what says nothing of what it is, or is said elsewhere.
IGNORED_KEYS = frozenset(
    [
        "data_dir",
        "output_dir",
        "store_dir",
        "epochs",
        "seed",
        "method",
        "dry_run",
        "force",
        "picture",
        "store",
        "tracker",
    ]
)
DATASET_PATH_KEYS = frozenset(["root", "archive", "unlabelled"])
RANDOM_BASELINE = "random"


@dataclass(frozen=True)
class Request:
    """words: for every training, what was typed and what always belongs to a benchmark. typed: the keys among them.

    epochs: as typed; None if they are to be chosen. budget: seconds. flags: those of Hydra's that say where the data
    set's config is.
    """

    config: BenchmarkConfig
    flags: tuple[str, ...]
    words: tuple[str, ...]
    typed: frozenset[str]
    budget: float
    epochs: int | None


def parse_request(config: BenchmarkConfig) -> Request:
    """Raises `ConfigError` for what cannot be asked."""
    task = list(HydraConfig.get().overrides.task)
    keys = [each.partition("=")[0].lstrip("+~") for each in task]
    for key in keys:
        if key.partition(".")[0] in REPLACED_KEYS:
            raise ConfigError(f"{key}: not of a benchmark; type {REPLACED_KEYS[key.partition('.')[0]]}")
    budget = parse_duration(config.budget)
    check_methods(config.methods)
    if config.seeds is not None and config.seeds < 1:
        raise ConfigError(f"seeds={config.seeds}: wanted at least 1, better 3; or leave it out")
    if config.pretrain_on.name == "all":
        raise ConfigError("pretrain_on=all: the encoders would have seen the test images, wanted training")
    if config.chosen_by not in config.probe:
        raise ConfigError(f"chosen_by={config.chosen_by}: wanted one of the probes, {', '.join(config.probe)}")
    words = [each for each, key in zip(task, keys, strict=True) if key not in BENCHMARK_KEYS]
    words += [] if "recipe" in keys else [f"recipe={config.recipe}"]
    words += [] if "probe" in keys else [f"probe=[{','.join(config.probe)}]"]
    # Compiling takes longer than a short training saves.
    words += [] if "compile" in keys else ["compile=never"]
    epochs = config.epochs if "epochs" in keys else None
    return Request(config, get_typed_flags(), tuple(words), frozenset(keys), budget, epochs)


def get_typed_flags() -> tuple[str, ...]:
    sources = HydraConfig.get().runtime.config_sources
    return tuple(
        flag for each in sources if each.provider == "command-line" for flag in ("--config-dir", str(each.path))
    )


def check_methods(methods: Sequence[str]) -> None:
    known = GlobalHydra.instance().config_loader().get_group_options("method")
    for method in methods:
        if method not in known:
            hint = did_you_mean(method, known)
            raise ConfigError(f"methods={method}: there is no such method; wanted some of {', '.join(known)}{hint}")
    if len(set(methods)) != len(methods):
        raise ConfigError(f"methods=[{','.join(methods)}]: wanted each once")
    if RANDOM_BASELINE not in methods or len(methods) < 2:
        raise ConfigError(
            f"methods=[{','.join(methods)}]: wanted {RANDOM_BASELINE}, "
            "which the others are compared with, and another; type "
            f"methods=[{','.join(dict.fromkeys([RANDOM_BASELINE, *methods, 'dcl']))}]"
        )


def compose_training_config(words: Sequence[str], method: str) -> PretrainConfig:
    """A training's config as these words make it; nothing of it is to be run from here."""
    return read_config(compose("pretrain", overrides=[*words, f"method={method}", "dry_run=true"]), PretrainConfig)


def choose_settings(question: Request, catalogue: Catalogue, split: Split, *, large: bool) -> tuple[str, ...]:
    """What nobody typed: encoder, image size, batch size and neighbours that fit the images. `large`: as in the paper,
    ResNet50 at 224 px, which takes a GPU; else ResNet18 at 64 px. Nothing is above what the recipe says."""
    config, typed = question.config, question.typed
    fitting = choose_default_settings(catalogue, split, gpu=large)
    words = []
    if not any(key.partition(".")[0] == "backbone" for key in typed):
        words.append(f"backbone={'resnet50' if large else 'resnet18'}")
    if "image_size" not in typed:
        words.append(f"image_size={fitting.image_size}")
    if "batch_size" not in typed:
        words.append(f"batch_size={min(config.batch_size, fitting.batch_size)}")
    if "knn" in config.probe and "probe.knn.k" not in typed:
        words.append(f"probe.knn.k={min(config.probe['knn']['k'], fitting.k)}")
    return tuple(words)


def describe_request(question: Request, config: PretrainConfig, catalogue: Catalogue) -> dict[str, Any]:
    """Everything that the plan depends on but for what is measured: plain data. `config`: a training's, as typed."""
    compute = resolve_device(config.device.name, config.precision.name)
    causes = {key: value for key, value in to_plain(config).items() if key not in IGNORED_KEYS}
    causes["dataset"] = {key: value for key, value in causes["dataset"].items() if key not in DATASET_PATH_KEYS}
    own = question.config
    return {
        "dataset": config.dataset.name,
        "images": catalogue.digest,
        "device": compute.device.type,
        "precision": compute.precision,
        "budget": question.budget,
        "methods": list(own.methods),
        "seeds": own.seeds,
        "epochs": question.epochs,
        "fewer_labels": list(own.fewer_labels),
        "chosen_by": own.chosen_by,
        "config": causes,
    }


def get_linear_settings(words: Sequence[str], probes: Mapping[str, Any], method: str) -> dict[str, Any] | None:
    """Those of the MLP probe as an extra; None where it is among the probes anyway."""
    if "linear" in probes:
        return None
    others = [word for word in words if word.partition("=")[0] != "probe"]
    cfg = compose("pretrain", overrides=[*others, f"probe=[{','.join([*probes, 'linear'])}]", f"method={method}"])
    settings: Any = OmegaConf.to_container(cfg.probe.linear, resolve=True)
    return dict(settings)
