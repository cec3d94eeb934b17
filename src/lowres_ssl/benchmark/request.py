"""Read what was asked of `lowres-ssl benchmark`, measure this machine and make the plan. Only within a command, since
Hydra composes the configs of the trainings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from lowres_ssl.benchmark.cost_estimate import CostRequest, measure_in_subprocess
from lowres_ssl.benchmark.plan import BenchmarkCall, BenchmarkPlan, PlanQuestion, PlanSettings
from lowres_ssl.benchmark.schedule import TypedChoices, compute_schedule
from lowres_ssl.config.check import read_config
from lowres_ssl.config.experiment_schema import (
    RANDOM_BASELINES,
    BenchmarkConfig,
    DatasetConfig,
    PretrainConfig,
    list_keys_with,
    to_plain,
)
from lowres_ssl.config.overrides import parse_duration, quote_value
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.splits import Split
from lowres_ssl.device import resolve_device
from lowres_ssl.encoders.from_config import build_encoder, has_batch_norm
from lowres_ssl.errors import ConfigError, did_you_mean
from lowres_ssl.init.guesses import choose_default_settings
from lowres_ssl.io.checksummed_json import hash_content

# The keys that are of the benchmark alone; all others go to every training as they were typed.
OWN_KEYS = {each.name for each in fields(BenchmarkConfig)} - {each.name for each in fields(PretrainConfig)}
BENCHMARK_KEYS = OWN_KEYS | {"epochs", "output_dir", "store_dir", "dry_run", "force"}
REPLACED_KEYS = frozenset(["method", "seed", "label_fraction", "initial_weights", "evaluate", "picture"])
# The keys of a training that change no number, or are in `PlanQuestion` already.
IGNORED_KEYS = frozenset(["data_dir", "epochs", "seed", "method", "picture", "store", "tracker", *BENCHMARK_KEYS])
DATASET_PATH_KEYS = frozenset(list_keys_with(DatasetConfig, "path"))
RANDOM_BASELINE, CALIBRATED_BASELINE = RANDOM_BASELINES


@dataclass(frozen=True)
class Request:
    """typed: the keys that were typed. budget: seconds. epochs: as typed; None if they are to be chosen."""

    config: BenchmarkConfig
    call: BenchmarkCall
    typed: frozenset[str]
    budget: float
    epochs: int | None

    @property
    def typed_settings(self) -> tuple[str, ...]:
        """The keys of `PlanSettings` that were typed; any key of the backbone's section makes it typed."""
        keys = self.typed | {"backbone" for key in self.typed if key.startswith("backbone.")}
        return tuple(key for key in ("backbone", "image_size", "batch_size", "probe.knn.k") if key in keys)


def parse_request(config: BenchmarkConfig) -> Request:
    """Raises `ConfigError` for what cannot be asked."""
    hydra = HydraConfig.get()
    task = list(hydra.overrides.task)
    keys = [each.partition("=")[0].lstrip("+~") for each in task]
    if replaced := [key for key in keys if key.partition(".")[0] in REPLACED_KEYS]:
        raise ConfigError(
            f"{replaced[0]}: not of a benchmark, whose trainings differ in it or need none; type methods=[random,dcl], "
            "seeds=3 or fewer_labels=[0.1], or leave it out"
        )
    budget = parse_duration(config.budget)
    is_of_timm = config.backbone.model is not None  # all others have BatchNorm
    if is_of_timm and "methods" not in keys and not has_batch_norm(build_encoder(config.backbone, config.seed)[0]):
        config = replace(config, methods=[name for name in config.methods if name != CALIBRATED_BASELINE])
    check_methods(config.methods)
    if config.seeds is not None and config.seeds < 1:
        raise ConfigError(f"seeds={config.seeds}: wanted at least 1, better 3; or leave it out")
    if config.pretrain_on.name == "all":
        raise ConfigError("pretrain_on=all: the encoders would have seen the test images, wanted training")
    if config.chosen_by not in config.probe:
        raise ConfigError(f"chosen_by={config.chosen_by}: wanted one of the probes, {', '.join(config.probe)}")
    words = [each for each, key in zip(task, keys, strict=True) if key not in BENCHMARK_KEYS]
    # Compiling takes longer than a short training saves.
    defaults = {"recipe": config.recipe, "probe": f"[{','.join(config.probe)}]", "compile": "never"}
    words += [f"{key}={value}" for key, value in defaults.items() if key not in keys]
    sources = [each for each in hydra.runtime.config_sources if each.provider == "command-line"]
    flags = tuple(flag for each in sources for flag in ("--config-dir", str(each.path)))
    call = BenchmarkCall(Path(config.output_dir), Path(config.store_dir), flags, tuple(words))
    return Request(config, call, frozenset(keys), budget, config.epochs if "epochs" in keys else None)


def check_methods(methods: Sequence[str]) -> None:
    known, typed = GlobalHydra.instance().config_loader().get_group_options("method"), f"methods=[{','.join(methods)}]"
    for method in methods:
        if method not in known:
            hint = did_you_mean(method, known)
            raise ConfigError(f"methods={method}: there is no such method; wanted some of {', '.join(known)}{hint}")
    if len(set(methods)) != len(methods):
        raise ConfigError(f"{typed}: wanted each once")
    if RANDOM_BASELINE not in methods or len(methods) < 2:
        better = ",".join(dict.fromkeys([RANDOM_BASELINE, *methods, "dcl"]))
        raise ConfigError(
            f"{typed}: wanted {RANDOM_BASELINE}, which the others are compared with, and another; "
            f"type methods=[{better}]"
        )


def compose_training_config(words: Sequence[str], method: str) -> PretrainConfig:
    """Compose a training's config from these words; nothing of it is run here."""
    return read_config(compose("pretrain", overrides=[*words, f"method={method}", "dry_run=true"]), PretrainConfig)


def build_question(request: Request, config: PretrainConfig, catalogue: Catalogue) -> PlanQuestion:
    """Collect what the plan depends on; config: a training's, as typed."""
    compute = resolve_device(config.device.name, config.precision.name)
    causes = {key: value for key, value in to_plain(config).items() if key not in IGNORED_KEYS}
    causes["dataset"] = {key: value for key, value in causes["dataset"].items() if key not in DATASET_PATH_KEYS}
    return PlanQuestion(
        dataset=config.dataset.name,
        images=catalogue.digest,
        device=compute.device.type,
        precision=compute.precision,
        settings=hash_content(causes),
        typed=request.typed_settings,
        budget=request.budget,
        methods=tuple(request.config.methods),
        seeds=request.config.seeds,
        epochs=request.epochs,
        fewer_labels=tuple(request.config.fewer_labels),
        chosen_by=request.config.chosen_by,
    )


def make_plan(
    request: Request, asked: PlanQuestion, catalogue: Catalogue, split: Split, *, spent: Callable[[], float]
) -> BenchmarkPlan:
    """Measure this machine and make a plan; spent: the clock of the budget.

    On a GPU the paper's encoder and size are taken where they fit into memory and budget, else the small ones.
    """
    config, call = request.config, request.call
    for large in [True, False] if asked.device == "cuda" else [False]:
        settings = choose_settings(request, catalogue, split, large=large)
        words = (*call.words, *settings.format_overrides(asked.typed))
        places = [f"{key}={quote_value(getattr(config, key))}" for key in ("store_dir", "output_dir")]
        configs = {method: compose_training_config([*words, *places], method) for method in config.methods}
        linear = None
        if "linear" not in config.probe:
            others = [word for word in words if word.partition("=")[0] != "probe"]
            probes = f"probe=[{','.join([*config.probe, 'linear'])}]"
            linear = compose_training_config([*others, probes], asked.methods[-1]).probe["linear"]
        try:
            costs = measure_in_subprocess(CostRequest(configs, linear, asked.fewer_labels))
            costs = replace(costs, prepare=costs.prepare + spent())
            # All methods with the small encoder before some of them with the large one.
            optional = () if large or "methods" in request.typed else tuple(costs.epoch)
            typed = TypedChoices(config.epochs, optional, epochs=asked.epochs, seeds=asked.seeds)
            schedule = compute_schedule(costs, asked.budget, typed)
        except ConfigError:
            if large:
                continue
            raise
        settings = replace(settings, backbone=configs[asked.methods[-1]].backbone.title)
        return BenchmarkPlan(asked, settings, costs, schedule)
    raise AssertionError("the last size either fits or raises")


def choose_settings(request: Request, catalogue: Catalogue, split: Split, *, large: bool) -> PlanSettings:
    """Choose what was not typed to fit the images: ResNet50 at 224 px, as in the paper, if `large`, else ResNet18 at
    64 px. Nothing is above the recipe's settings."""
    config, typed = request.config, request.typed_settings
    fitting = choose_default_settings(catalogue, split, gpu=large)
    k = config.probe["knn"]["k"] if "knn" in config.probe else None
    return PlanSettings(
        backbone="resnet50" if large else "resnet18",
        image_size=config.image_size if "image_size" in typed else fitting.image_size,
        batch_size=config.batch_size if "batch_size" in typed else min(config.batch_size, fitting.batch_size),
        k=k if k is None or "probe.knn.k" in typed else min(k, fitting.k),
    )
