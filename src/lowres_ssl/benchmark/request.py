"""Read what was asked of `lowres-ssl benchmark`, find the pre-trained encoders, and make the plan.

Only within a command, since Hydra composes the configs of the trainings.
"""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import torch
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from lowres_ssl.benchmark.plan import BenchmarkPlan, PlanQuestion, PlanSettings, PretrainedEncoder, Request
from lowres_ssl.benchmark.schedule import Race
from lowres_ssl.config.check import check_rules, read_config, register_schemas
from lowres_ssl.config.experiment_schema import (
    BenchmarkConfig,
    DatasetConfig,
    PretrainConfig,
    list_keys_with,
)
from lowres_ssl.config.overrides import parse_duration
from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.prepare import select_pretraining_images
from lowres_ssl.data.splits import Split
from lowres_ssl.device import DevicePrecision
from lowres_ssl.encoders.base import list_fixed_encoders
from lowres_ssl.encoders.from_config import list_backbones
from lowres_ssl.encoders.timm_models import check_timm_name, import_timm, is_timm_name
from lowres_ssl.errors import ConfigError, did_you_mean
from lowres_ssl.init.default_settings import choose_default_settings
from lowres_ssl.io.checksummed_json import hash_content
from lowres_ssl.runs.run_hash import list_numeric_settings
from lowres_ssl.train.state import count_views

# The keys that are of the benchmark alone; all others go to every training as they were typed.
OWN_KEYS = {each.name for each in fields(BenchmarkConfig)} - {each.name for each in fields(PretrainConfig)}
BENCHMARK_KEYS = OWN_KEYS | {"epochs", "output_dir", "store_dir", "dry_run", "force"}
REPLACED_KEYS = frozenset(["method", "seed", "label_fraction", "initial_weights", "evaluate", "picture", "baselines"])
# The keys of a training that change no number, or are in `PlanQuestion` already.
IGNORED_KEYS = frozenset(["data_dir", "epochs", "seed", "method", "picture", "store", "tracker", *BENCHMARK_KEYS])
DATASET_PATH_KEYS = frozenset(f"dataset.{key}" for key in list_keys_with(DatasetConfig, "path"))
MIN_BUDGET = 60.0  # seconds
MAX_UNEQUAL_SHARE = 0.1  # of the images: so far from half may half of them be, as patients allow
LARGE_BUDGET = 600.0  # from which on a GPU trains the paper's encoder at its size


def parse_request(config: BenchmarkConfig) -> Request:
    """Raises `ConfigError` for what cannot be asked."""
    hydra = HydraConfig.get()
    task = list(hydra.overrides.task)
    keys = [each.partition("=")[0].lstrip("+~") for each in task]
    if replaced := [key for key in keys if key.partition(".")[0] in REPLACED_KEYS]:
        raise ConfigError(
            f"{replaced[0]}: not of a benchmark, whose trainings differ in it or need none; type methods=[dcl,simclr], "
            "seeds=3 or pretrained=[MODEL@FILE], or leave it out"
        )
    budget = parse_duration(config.budget)
    check_rules(
        config,
        ("budget", budget >= MIN_BUDGET, "at least 60s, which untrained encoders take; type budget=30min"),
        ("methods", len(config.methods) > 0, "some to train; type methods=[dcl,simclr]"),
        ("seeds", config.seeds is None or config.seeds >= 1, "at least 1, better 3; or leave it out"),
        ("chosen_by", config.chosen_by in config.probe, f"one of the probes, {', '.join(config.probe)}"),
    )
    check_methods("methods", config.methods)
    check_methods("continued", config.continued)
    if (images := config.pretrain_on.name) != "training":
        raise ConfigError(
            f"pretrain_on={images}: wanted training, since the test images must be new to an encoder, and half of the "
            "images are tried in the end; leave it out"
        )
    words = [each for each, key in zip(task, keys, strict=True) if key not in BENCHMARK_KEYS]
    # Compiling takes longer than a short training saves.
    defaults = {"recipe": config.recipe, "probe": f"[{','.join(config.probe)}]", "compile": "never"}
    words += [f"{key}={value}" for key, value in defaults.items() if key not in keys]
    sources = [each for each in hydra.runtime.config_sources if each.provider == "command-line"]
    flags = tuple(flag for each in sources for flag in ("--config-dir", str(each.path)))
    return Request(config, flags, tuple(words), frozenset(keys), budget, config.epochs if "epochs" in keys else None)


def check_methods(key: str, methods: Sequence[str]) -> None:
    """Raise `ConfigError` for a name that is no method that trains, or comes twice."""
    fixed = list_fixed_encoders()
    known = sorted(set(GlobalHydra.instance().config_loader().get_group_options("method")) - set(fixed))
    for method in methods:
        if method in fixed:
            raise ConfigError(
                f"{key}={method}: nothing is trained for it; random encoders, mean colour and what pretrained= names "
                "are always scored; leave it out"
            )
        if method not in known:
            hint = did_you_mean(method, known)
            raise ConfigError(f"{key}={method}: there is no such method; wanted some of {', '.join(known)}{hint}")
    if len(set(methods)) != len(methods):
        raise ConfigError(f"{key}=[{','.join(methods)}]: wanted each once")


def compose_training_config(words: Sequence[str], method: str) -> PretrainConfig:
    """Compose a training's config from these words; nothing of it is run here."""
    register_schemas("pretrain")
    return read_config(compose("pretrain", overrides=[*words, f"method={method}", "dry_run=true"]), PretrainConfig)


def build_question(
    request: Request, config: PretrainConfig, catalogue: Catalogue, compute: DevicePrecision
) -> PlanQuestion:
    """Collect what the plan depends on; config: a training's, as typed."""
    settings = dict(list_numeric_settings(config, PretrainConfig, is_counted=True))
    causes = {
        key: value
        for key, value in settings.items()
        if key.partition(".")[0] not in IGNORED_KEYS and key not in DATASET_PATH_KEYS
    }
    return PlanQuestion(
        dataset=config.dataset.name,
        images=catalogue.digest,
        device=compute.device.type,
        precision=compute.precision,
        settings=hash_content(causes),
        typed=request.typed_settings,
        budget=request.budget,
        methods=tuple(request.config.methods),
        continued=tuple(request.config.continued),
        pretrained=tuple(request.config.pretrained),
        seeds=request.config.seeds,
        epochs=request.epochs,
        chosen_by=request.config.chosen_by,
    )


def make_plan(request: Request, asked: PlanQuestion, catalogue: Catalogue, split: Split) -> BenchmarkPlan:
    """Make a plan; nothing is measured yet. On a GPU the paper's encoder and size are taken if the budget is not
    small, and the small ones where they need more memory than there is."""
    large = asked.device == "cuda" and asked.budget >= LARGE_BUDGET
    settings = choose_settings(request, catalogue, split, large=large)
    pretrained = find_pretrained(asked.pretrained, Path(request.config.data_dir), settings.backbone)
    images, half = (len(select_pretraining_images(catalogue, split, name)) for name in ("training", "half"))
    batch = settings.batch_size
    is_half = abs(2 * half - images) <= MAX_UNEQUAL_SHARE * images and half >= batch

    def count_epoch_views(number: int) -> int:
        """Count the views of an epoch on so many images; one that fills no batch is refused where it begins."""
        return count_views(number, batch, keep_last_batch=request.config.keep_last_batch) or 2 * number

    return BenchmarkPlan(
        asked=asked,
        settings=settings,
        smaller=choose_settings(request, catalogue, split, large=False) if large else None,
        pretrained=tuple(pretrained),
        race=Race(
            asked.methods,
            count_epoch_views(images),
            asked.epochs,
            asked.seeds,
            half_epoch_views=count_epoch_views(half) if is_half else 0,
        ),
    )


def choose_settings(request: Request, catalogue: Catalogue, split: Split, *, large: bool) -> PlanSettings:
    """Choose what was not typed to fit the images: ResNet50 at 224 px, as in the paper, if `large`, else ResNet18 at
    64 px. Nothing is above the recipe's settings."""
    config, typed = request.config, request.typed_settings
    fitting = choose_default_settings(catalogue, split, gpu=large)
    k = config.probe["knn"]["k"] if "knn" in config.probe else None
    return PlanSettings(
        backbone=config.backbone.title if "backbone" in typed else "resnet50" if large else "resnet18",
        image_size=config.image_size if "image_size" in typed else fitting.image_size,
        batch_size=config.batch_size if "batch_size" in typed else min(config.batch_size, fitting.batch_size),
        k=k if k is None or "probe.knn.k" in typed else min(k, fitting.k),
    )


AUTO = "auto"
MAX_CACHED = 3  # of those that lie in a cache
IMAGENET_SIZE = 224
TORCHVISION_FILE = re.compile(r"(\w+)-[0-9a-f]{8}\.pth")
TIMM_FILE = re.compile(r"timm-(?!hf-hub-)(.+)\.safetensors")
HUB_FOLDER = "models--timm--"


def find_pretrained(asked: Sequence[str], data_dir: Path, backbone: str) -> list[PretrainedEncoder]:
    """List what `pretrained=` names, each as MODEL or MODEL@FILE; of "auto" what lies in a cache, else the ImageNet
    weights of the trainings' own architecture, which may be fetched.

    Raises `ConfigError` for an unknown model, or a file that is not there.
    """
    found = []
    for each in asked:
        if each == AUTO:
            cached = list(iter_cached(data_dir))[:MAX_CACHED]
            found += cached or [make_pretrained(backbone, None)]
            continue
        name, _, file = each.partition("@")
        if file and not Path(file).is_file():
            raise ConfigError(f"pretrained={each}: there is no file {file}; wanted MODEL@FILE")
        found.append(make_pretrained(backbone if name == "imagenet" else name, file or None))
    return list({each.name: each for each in found}.values())


def make_pretrained(name: str, file: str | None) -> PretrainedEncoder:
    if name in list_backbones():
        return PretrainedEncoder(name, of_timm=False, file=file, image_size=IMAGENET_SIZE)
    check_timm_name(name, "pretrained")
    own = import_timm().get_pretrained_cfg(name)
    return PretrainedEncoder(name, True, file, int(own.input_size[-1]) if own else IMAGENET_SIZE)


def iter_cached(data_dir: Path) -> Iterator[PretrainedEncoder]:
    """Yield the encoders whose weights lie in `data_dir`, or in torch's or the Hugging Face hub's own cache."""
    own, hub = data_dir / "weights", Path(torch.hub.get_dir()) / "checkpoints"
    for path in sorted([*own.glob("*"), *hub.glob("*.pth")]):
        backbone, model = TORCHVISION_FILE.fullmatch(path.name), TIMM_FILE.fullmatch(path.name)
        if backbone is not None and backbone[1] in list_backbones():
            yield make_pretrained(backbone[1], str(path))
        elif model is not None and is_timm_name(model[1]):
            yield make_pretrained(model[1], str(path))
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    for path in sorted(cache.glob(f"{HUB_FOLDER}*/snapshots/*/model.safetensors")):
        name = path.parents[2].name.removeprefix(HUB_FOLDER)
        if is_timm_name(name):
            yield make_pretrained(name, str(path))
